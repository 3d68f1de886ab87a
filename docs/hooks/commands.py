"""The commands as a page, from what each says of itself: `deepres VERB --help` in full width."""

import re
from collections.abc import Iterator
from html import escape

import click

from deepres.cli.main import VERBS, deepres


def page() -> str:
    """One section a command: usage, what it does, a table of its flags."""
    lines = ["# Commands", "", "What `deepres COMMAND --help` says, on one page.", ""]
    for verb, command in every():
        lines += [f"## deepres {verb}", "", *_section(verb, command)]
    return "\n".join(lines) + "\n"


def every() -> Iterator[tuple[str, click.Command]]:
    """All commands by name, those of a group as `group command`."""
    assert isinstance(deepres, click.Group)
    for verb in VERBS:
        command = deepres.get_command(click.Context(deepres), verb)
        if isinstance(command, click.Group):
            yield from ((f"{verb} {name}", inner) for name, inner in sorted(command.commands.items()))
        elif command is not None:
            yield verb, command


def _section(verb: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=f"deepres {verb}")
    lines = ["```text", " ".join(["deepres", verb, *command.collect_usage_pieces(context)]), "```", ""]
    for paragraph in (command.help or "").split("\n\n"):
        plain = paragraph.removeprefix("\b\n")
        lines += ["```text", plain, "```", ""] if plain != paragraph else [_escaped(" ".join(paragraph.split())), ""]
    rows = [_row(each, context) for each in command.get_params(context) if isinstance(each, click.Option)]
    return [*lines, "| flag | what it does |", "| --- | --- |", *rows, ""]


def _row(option: click.Option, context: click.Context) -> str:
    names, text = option.get_help_record(context) or ("", "")
    spelled = escape(re.sub(r"\s+", " ", names)).replace("|", "&#124;&#8203;")
    return f"| <code>{spelled}</code> | {_escaped(text)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[")
