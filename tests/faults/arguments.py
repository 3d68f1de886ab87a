"""Every argument of every verb given what is no path, no name and no number: read from the verbs, so that none is missed.

Each value is put in place of one argument of a command that is otherwise right. It may be refused in one line or be
taken; no traceback, nothing that steers a terminal, no input replaced, and of what was refused nothing is left behind.
"""

import contextlib
import errno
import io
import os
import signal
import socket
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from deepres.cli.main import deepres, run
from deepres.slim.work import CANDIDATES

SECONDS = 60
"""Of a command on some small pictures: after so long it hangs."""

RIGHT: dict[tuple[str, ...], list[str]] = {
    ("train",): ["train", "{photos}", "--dry-run"],
    ("eval",): ["eval", "{run}", "{photos}", "--force", "--device", "cpu"],
    ("compare",): ["compare", "{run}", "{other}"],
    ("analyze",): ["analyze", "responses", "{run}", "--images", "2", "--device", "cpu", "--output", "{out}"],
    ("reproduce",): ["reproduce", "resnet/table6", "--dry-run"],
    ("predict",): ["predict", "{run}", "{photo}", "--device", "cpu", "--precision", "float32"],
    ("models",): ["models", "resnet20*"],
    ("describe",): ["describe", "resnet20_cifar"],
    ("weights", "inspect"): ["weights", "inspect", "{run}"],
    ("weights", "convert"): ["weights", "convert", "{run}", "{out}"],
    ("data", "check"): ["data", "check", "{photos}"],
    ("data", "show"): ["data", "show", "{photos}", "--output", "{out}.html"],
    ("data", "split"): ["data", "split", "{photos}", "--output", "{out}"],
    ("data", "pack"): ["data", "pack", "{photos}", "{out}"],
    ("bench",): ["bench", "resnet20_cifar", "--seconds", "0.1", "--batch-size", "2", "--device", "cpu"],
    ("doctor",): ["doctor"],
    ("serve",): ["serve", "{out}"],
    ("export",): ["export", "{run}", "--format", "pt2", "--input", "fitted", "--no-check", "--output", "{out}"],
    ("slim",): [
        "slim",
        "{run}",
        "--output",
        "{out}",
        "--drop-blocks",
        "1",
        "--max-loss",
        "100",
        "--accept-uncertain",
        "--finetune-epochs",
        "0",
        "--device",
        "cpu",
    ],
}
"""A command that works, of each verb; `{out}` is free. What would never end is given a run that is not there."""

NUMBERS = ("nan", "inf", "-inf", "1e400", "-1", "0", "9" * 5000, "1_0", "0x10", "\u0661", "\u00b2", "1,2", "none", "")


class Trial(NamedTuple):
    """What is given, and where."""

    name: str
    words: list[str]


def strange(home: Path) -> dict[str, str]:
    """Values that no argument means, or that a careless one would open, follow, write to or show; by name."""
    return {
        "nobody's home": "~nobody-of-that-name/x",
        "300 letters": "x" * 300,
        "300 letters below": f"a/{'é' * 200}/b",
        "no UTF-8": os.fsdecode(b"caf\xe9"),
        "an escape": "\x1b]0;owned\x07",
        "two lines": "a\nb",
        "a device": "/dev/full",
        "an endless device": "/dev/zero",
        "a pipe": str(home / "pipe"),
        "a socket": str(home / "socket"),
        "a link to itself": str(home / "loop"),
        "below a file": str(home / "photos" / "cat" / "0.png" / "x"),
        "a picture": str(home / "photos" / "cat" / "0.png"),
        "weights of a run": str(home / "run" / "model.safetensors"),
        "a folder": str(home / "photos"),
        "a run": str(home / "run"),
        "nowhere": "nowhere/at/all",
        "braces": "{0}%s",
        "a pattern": "[",
        "a dash": "-",
        "an address": "http://127.0.0.1:1/x.png",
        "a file's address": "file:///etc/passwd",
        "a member": f"{home / 'run'}::x",
        "blanks": " . ",
        "a sign": "=",
    }


def prepared(home: Path) -> Path:
    """Put what no argument should open into the folder that `writers.home_in` made."""
    os.mkfifo(home / "pipe")
    (home / "loop").symlink_to("loop")
    before = Path.cwd()
    os.chdir(home)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
    os.chdir(before)
    return home


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All verbs, those of a group by both words."""
    context = click.Context(deepres)
    for name in deepres.list_commands(context):
        command = deepres.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from (((name, inner), each) for inner, each in command.commands.items())
        else:
            yield (name,), command


def trials(
    home: Path, values: Mapping[str, str] | None = None, verbs: Collection[tuple[str, ...]] = RIGHT
) -> Iterator[Trial]:
    """Each of the values (the strange ones) in place of each argument and behind each flag that takes one."""
    strangers = values is None
    values = strange(home) if values is None else values
    for verb, command in commands():
        if verb not in verbs:
            continue
        right = [word.format(**_places(home)) for word in RIGHT[verb]]
        at = [place for place in range(len(verb), len(right)) if _is_argument(command, right, place)]
        at = [] if verb == ("serve",) and strangers else at
        for name, value in values.items():
            for place in at:
                words = [*right[:place], value, *right[place + 1 :]]
                yield Trial(f"{' '.join(verb)}, word {place}: {name}", words)
        for flag, numeric in _flags(command):
            for name, value in zip(NUMBERS, NUMBERS, strict=True) if numeric and strangers else values.items():
                yield Trial(f"{' '.join(verb)} {flag}: {name[:20]}", [*_without(right, flag), f"{flag}={value}"])


def _places(home: Path) -> dict[str, str]:
    made = {name: str(home / name) for name in ("photos", "run", "other", "out")}
    return made | {"photo": str(home / "photos" / "cat" / "0.png")}


def _takes(command: click.Command) -> dict[str, click.Option]:
    found = {}
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.is_flag and not parameter.count:
            found |= {name: parameter for name in parameter.opts if name.startswith("--")}
    return found


def _flags(command: click.Command) -> Iterator[tuple[str, bool]]:
    """Each flag that takes a value, and whether that is a number."""
    for name, parameter in _takes(command).items():
        yield name, not isinstance(parameter.type, click.Path | click.Choice | click.types.StringParamType)


def _is_argument(command: click.Command, words: Sequence[str], place: int) -> bool:
    flags = {name for option in _takes(command).values() for name in option.opts}
    return not words[place].startswith("-") and words[place - 1] not in flags


def _without(words: Sequence[str], flag: str) -> list[str]:
    if flag not in words:
        return list(words)
    at = words.index(flag)
    return [*words[:at], *words[at + 2 :]]


def tried(trial: Trial, home: Path) -> str | None:
    """What is wrong with what comes of it, in the folder `home`, which is afterwards as it was."""
    before = _held(home)
    code, out, errors, failed = _ended(trial.words)
    after = _held(home)
    new = _remove_new(after, before)
    if failed:
        return failed
    lines = [line for line in errors.splitlines() if line.startswith("deepres: ")]
    if any(_steers(letter) for letter in out + errors):
        return f"steers: {next(line for line in (out + errors).splitlines() if any(map(_steers, line)))!r}"
    if code not in (0, 1, 2):
        return f"exit code {code}: {errors[-300:]!r}"
    if code == 2 and len(lines) != 1:
        return f"exit code 2 and {len(lines)} lines: {errors[-300:]!r}"
    if changed := [path for path, held in before.items() if after.get(path) != held]:
        return f"replaced: {changed[0]}"
    new = [
        path for path in new if not any(part.endswith(CANDIDATES) for part in path.parts)
    ]  # what slim has measured, for the next call
    return f"left behind: {new[0]}" if code == 2 and new else None


class _Lost(io.StringIO):
    """A stdout that takes nothing: of a full disk, or nobody reads it."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        if text:
            raise self._error
        return 0


def unread(home: Path) -> Iterator[tuple[str, str | None]]:
    """Each verb where stdout takes nothing, and what is wrong with how it ends."""
    lost = {"a full disk": (OSError(errno.ENOSPC, "No space left on device"), 74), "no reader": (BrokenPipeError(), 0)}
    for verb, right in RIGHT.items():
        if verb == ("serve",):
            continue
        words = [word.format(**_places(home)) for word in right]
        for name, (error, wanted) in lost.items():
            before = _held(home)
            code, _, errors, failed = _ended(words, _Lost(error))
            _remove_new(_held(home), before)
            told = failed or (None if code in (0, wanted) else f"exit code {code}, wanted {wanted}: {errors[-300:]!r}")
            yield f"{' '.join(verb)}, stdout: {name}", told


def _remove_new(after: Mapping[Path, object], before: Collection[Path]) -> list[Path]:
    new = sorted(set(after) - set(before))
    for path in reversed(new):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    return new


def _held(home: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of each file; of folders, which change with what is in them, nothing."""
    found = {}
    for path in home.rglob("*"):
        told = path.lstat()
        found[path] = (0, 0) if path.is_dir() and not path.is_symlink() else (told.st_size, told.st_mtime_ns)
    return found


class _HangsError(BaseException):
    """No handler of errors takes it for its own."""


def _ended(words: Sequence[str], out: io.StringIO | None = None) -> tuple[int, str, str, str | None]:
    out, errors = out or io.StringIO(), io.StringIO()

    def late(*_: Any) -> None:
        raise _HangsError

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = run(list(words))
    except _HangsError:
        return 124, "", "", f"hangs: {traceback.format_exc(limit=-3)[-400:]}"
    except Exception:
        return 70, "", "", f"traceback: {traceback.format_exc()[-600:]}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return code, out.getvalue(), errors.getvalue(), None


def _steers(letter: str) -> bool:
    return letter not in "\n\t" and (ord(letter) < 32 or 127 <= ord(letter) < 160)
