"""`deepres VERB …`: finds the verb's file when it is named, and turns every refusal into one line and an exit code."""

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from time import monotonic

import click

from deepres.base.errors import DeepresError, InputError, unknown
from deepres.base.events import speaks
from deepres.base.version import VERSION
from deepres.base.wording import is_text, quoted, shown
from deepres.cli.net import caught
from deepres.cli.spelled import respelt
from deepres.cli.streams import GONE, LOST, ReaderGoneError, leave_unwritten, open_closed, safe_streams

VERBS = {
    "train": "train a network on images, of classes or with boxes, or continue a run",
    "eval": "measure a trained network: its figure with interval, classes, report (alias: val)",
    "compare": "say which of several runs is better, and whether the difference is real",
    "analyze": "take a trained network apart: units left out, paths, where it looks",
    "reproduce": "train a paper's table or figure again and compare with the printed numbers",
    "slim": "make a trained network smaller and faster, and say what it loses",
    "predict": "say what is on images, or where; needs nothing but the folder of a run",
    "serve": "let trained networks answer over HTTP and in a browser",
    "export": "write a trained network as a file that answers without deepres",
    "models": "list the networks with their papers and costs",
    "describe": "show one network: layers, cost, receptive field, memory",
    "weights": "look into a file of weights, or convert it",
    "data": "check, show, split or pack images before training",
    "bench": "measure how fast this machine trains and answers, and what limits it",
    "doctor": "show versions and hardware; prove that resuming is exact",
}
ALIASES = {"val": "eval", "validate": "eval", "test": "eval", "fit": "train", "infer": "predict", "benchmark": "bench"}
RENAMED = {("train", "--fast"): "--compile", ("predict", "--fast"): "--precision"}
"""Flags of before, by verb."""


class Verbs(click.Group):
    """A group whose commands are imported when they are called: help needs no torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in VERBS:
            raise unknown("command", cmd_name, VERBS)
        command: click.Command = import_module(f"deepres.cli.{_FILES.get(name, name)}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


_FILES = {"eval": "evaluate"}


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(VERSION, prog_name="deepres")
def deepres() -> None:
    """The residual family of networks: train them, measure them, use them.

    \b
    deepres train path/to/photos          a folder with one folder of pictures per class
    deepres predict runs/photos-1 cat.jpg
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    0 done, 1 the run failed, 2 the input was wrong, 70 nobody foresaw it (net.py), 74 stdout could not be written,
    128 + n stopped by signal n.
    """
    open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show ends no verb
    code = caught(lambda: run(list(sys.argv[1:] if arguments is None else arguments), _age()))
    leave_unwritten()
    sys.exit(code)


def run(arguments: list[str], age: float = 0.0) -> int:
    """Run the command line and return the exit code; a refusal is one line on stderr.

    `age` in seconds is what of the command's time has gone already.
    """
    with safe_streams() as out:
        code = _run(arguments, age)
        out.finish()
        if code == 0 and out.lost not in ("", GONE):
            return _refuse(f"stdout cannot be written ({out.lost}); what it should show is lost, files are whole", LOST)
    return code


def _run(arguments: list[str], age: float) -> int:
    began = monotonic() - age
    try:
        _require_text(arguments)
        _require_working_folder()
        ended = deepres.main(
            args=respelt(deepres, arguments), prog_name="deepres", standalone_mode=False, obj=began, color=True
        )
    except DeepresError as refusal:
        if refusal.shared and not speaks(os.environ):
            return refusal.exit_code
        return _refuse(refusal.message, refusal.exit_code, refusal.table)
    except click.exceptions.NoArgsIsHelpError as refusal:
        click.echo(refusal.format_message())
        return 0
    except click.UsageError as refusal:
        verb = refusal.ctx.command_path if refusal.ctx is not None else "deepres"
        if not speaks(os.environ):
            return 2
        return _refuse(f"{_renamed(refusal) or _clean(refusal.format_message())}; see {verb} --help", 2)
    except PermissionError as cause:  # asked whether a file is there, the system did not say
        where = "a file" if cause.filename is None else cause.filename
        return _refuse(
            f"{where}: may not be used or looked at ({cause.strerror}); mend its permissions, and those of the folders "
            "above it",
            2,
        )
    except click.exceptions.Exit as wanted:
        return wanted.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _refuse("interrupted", 130)
    except ReaderGoneError:  # the reader, such as `head`, has seen enough
        return 0
    except OSError as cause:
        if cause.errno not in (errno.ENAMETOOLONG, errno.ELOOP) or cause.filename is None:
            raise
        return _refuse(f"{quoted(os.fsdecode(cause.filename))[:80]}: no name of a file ({cause.strerror})", 2)
    return ended if isinstance(ended, int) else 0


def _age() -> float:
    """Seconds since this process began; 0 where the system does not tell."""
    try:
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, float(Path("/proc/uptime").read_text().split()[0]) - began)
    except (AttributeError, OSError, ValueError, IndexError):
        return 0.0


def _require_text(arguments: Sequence[str]) -> None:
    """Refuse what is empty (a variable that is not set), and paths that no record can hold; predict records none."""
    for place, each in enumerate(arguments):
        flag, said, value = each.partition("=") if each.startswith("--") else ("", "", each)
        # an image without a name is told of with the others
        image = not flag and arguments[0] == "predict" and place > 1 and not arguments[place - 1].startswith("-")
        if not value.strip() and (said or not flag) and not image:
            after = f"{flag}=" if said else " ".join(["deepres", *arguments[:place]][-2:])
            raise InputError(f"{after} '{shown(value)}': an empty argument (a variable that is not set?); leave it out")
    strange = [each for each in arguments if not is_text(each)]
    if strange and arguments[0] != "predict":
        raise InputError(f"{quoted(strange[0])}: this is no UTF-8, and could not be written down; rename it")


def _require_working_folder() -> None:
    """Refuse a working folder that was removed: libraries end there in words of their own."""
    try:
        Path.cwd()
    except OSError as cause:
        raise InputError(f"the working folder is gone ({cause.strerror}); change into one that is there: cd") from cause


def _renamed(refusal: click.UsageError) -> str:
    """What a flag of before is called now; nothing where it is none."""
    if not isinstance(refusal, click.NoSuchOption) or refusal.ctx is None:
        return ""
    new = RENAMED.get((str(refusal.ctx.info_name), refusal.option_name))
    return "" if new is None else f"{refusal.option_name} is called {new} now"


def _clean(message: str) -> str:
    return " ".join(message.split()).rstrip(".")


def _refuse(message: str, code: int, table: Sequence[str] = ()) -> int:
    click.echo("\n".join([f"deepres: {' '.join(message.splitlines())}", *table]), err=True)
    return code
