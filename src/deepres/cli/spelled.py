"""Command lines as other tools spell them -> ours: their flags, `key=value`, files of settings (`-c run.yaml`)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from deepres.base.errors import InputError, unknown
from deepres.recipes.spellings import SPELLINGS, OtherWord

_ASSIGNED = re.compile(r"([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_ON, _OFF = ("true", "yes", "on", "1"), ("false", "no", "off", "0", "none", "null", "")
_AS_PATHS = ("serve", "reproduce")
"""Verbs whose own arguments are `NAME=VALUE`, or are never settings."""


def respelt(command: click.Command, arguments: Sequence[str]) -> list[str]:
    """The arguments of the program, the words of its verb as the verb's own flags have them.

    Raises:
        InputError: a flag of others that means nothing here: one line says what does; a file of settings that cannot
            be read, or sets what there is not.
    """
    words, path = list(arguments), []
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return list(arguments)
        command = found
        path.append(words.pop(0))
    if isinstance(command, click.Group) or any(word in ("-h", "--help") for word in words):
        return list(arguments)
    verb = " ".join([*(part for part in path[:-1]), command.name or ""])
    return [*path, *_Words(verb, command).all(words)]


class _Words:
    def __init__(self, verb: str, command: click.Command) -> None:
        self.verb = verb
        self.options = {
            name: option
            for option in command.params
            if isinstance(option, click.Option)
            for name in (*option.opts, *option.secondary_opts)
        }
        rows = [row for row in SPELLINGS.get(verb, ()) if not row.to.startswith("-") or row.to in self.options]
        self.table = {name: row for row in rows for name in row.names}
        self.first: list[str] = []
        self.last: list[str] = []
        self.set: list[str] = []

    def all(self, words: list[str]) -> list[str]:
        said = list(self.each(words))
        _require_one_value(said, self.options)
        return [*self.set, *self.first, *said, *self.last]

    def each(self, words: list[str]) -> Iterator[str]:
        """The words one after the other; what a file sets goes before all of them."""
        while words:
            word = words.pop(0)
            if word == "--":
                yield from (word, *words)
                return
            flag, equals, value = word.partition("=")
            ours = self.option(flag)
            if not word.startswith("-") or word == "-":
                yield from self.argument(word)
            elif ours is not None:
                taken = [value] if equals else [words.pop(0)] if _takes(self.options[ours], words) else []
                if not self.settings(ours, taken):
                    yield from ([f"{ours}={value}"] if equals else [ours, *taken])
            elif (row := self.table.get(_plain(flag))) is not None:
                if equals and row.switch is not None:
                    yield from self.assigned(_plain(flag), value, flag)
                    continue
                wanted = row.switch is None and not row.answer
                if wanted and not equals and not words:
                    raise InputError(f"{flag}: wanted a value behind it")
                yield from self.meant(row, flag, value if equals else words.pop(0) if wanted else None)
            else:
                yield word

    def option(self, flag: str) -> str | None:
        """Our own flag of that name, also with underscores; None: there is none."""
        return next((name for name in (flag, flag.replace("_", "-")) if name in self.options), None)

    def argument(self, word: str) -> list[str]:
        """An argument, or `key=value` of something that can be set; what lies on the disk is an argument."""
        assigned = _ASSIGNED.fullmatch(word)
        if assigned is None or self.verb in _AS_PATHS or not self.table or Path(word).exists():
            return [word]
        return self.assigned(assigned[1], assigned[2], assigned[1])

    def assigned(self, key: str, value: str, where: str) -> list[str]:
        """The words that set `key`, of `key=value` or of a file."""
        plain = key.replace("_", "-").lower()
        if "." in key and "--set" in self.options:
            return ["--set", f"{key}={value}"]
        if (row := self.table.get(plain)) is not None:
            if row.switch is None and not row.answer:
                return self.meant(row, where, value)
            if row.switch is not None and value.lower() not in (*_ON, *_OFF):
                raise InputError(f"{where}={value}: wanted true or false")
            return [] if value.lower() in _OFF else self.meant(row, where, None)
        ours = self.option(f"--{plain}") or (self.option(f"-{plain}") if len(plain) == 1 else None)
        if ours is None:
            names = [name.lstrip("-") for name in self.options if name.startswith("--")]
            known = [*names, *(name for name in self.table if len(name) > 1)]
            raise unknown("setting", where, known, see=f"deepres {self.verb} --help, and --dry-run for fields")
        if not self.options[ours].is_flag:
            return [] if self.settings(ours, [value]) else [ours, value]
        if value.lower() not in (*_ON, *_OFF):
            raise InputError(f"{where}={value}: wanted true or false")
        return [ours] if value.lower() in _ON else []

    def meant(self, row: OtherWord, typed: str, value: str | None) -> list[str]:
        """What a row of the table makes of what was typed."""
        if row.answer:
            raise InputError(f"{typed}: {row.answer}")
        given = "" if value is None else value
        if (refusal := row.refused.get(given.lower(), "")) or (
            row.refused.get("*") and given.lower() not in (*row.values, *row.values.values())
        ):
            raise InputError(f"{typed} {given}: {refusal or row.refused['*']}")
        ours = row.values.get(given.lower(), given) if value is not None else str(row.switch)
        if not ours:
            return []
        if row.to in ("RUN", "SOURCE"):
            (self.first if row.to == "RUN" else self.last).append(ours)
            return []
        if row.to.startswith("-"):
            return [row.to] if self.options[row.to].is_flag else [row.to, ours]
        return ["--set", f"{row.to}={ours}"]

    def settings(self, flag: str, taken: Sequence[str]) -> bool:
        """Whether the flag names a file of settings: then they are set, before all that is typed."""
        from deepres.recipes.written import is_whole, is_written, read_written

        if "--config" not in self.options or flag not in ("--config", "-c", "--recipe") or not taken:
            return False
        if flag == "--recipe" and not is_written(taken[0]):
            return False
        fields = read_written(taken[0])
        if is_whole(fields):
            self.set += ["--recipe", taken[0]]
        else:
            self.set += [word for name, value in _flat(fields) for word in self.from_file(name, value, taken[0])]
        return True

    def from_file(self, name: str, value: Any, file: str) -> list[str]:
        """The words of one field of a file; what is off or empty there sets nothing, but for fields of ours."""
        text = _text(value)
        if name in _FLAGS and value is not None:
            return [_FLAGS[name], text]
        if "." not in name and (value is None or value is False or text == ""):
            return []
        if name in ("source", "format"):
            self.last += [text] if name == "source" else []
            return []
        try:
            return self.assigned(name, text.lower() if value is True else text, name)
        except InputError as refusal:
            raise InputError(f"{file}: {refusal.message}") from refusal


_FLAGS = {
    "train.epochs": "--epochs",
    "train.batch_size": "--batch-size",
    "train.schedule.lr": "--lr",
    "train.balance": "--balance",
    "train.memory": "--memory",
    "train.compile": "--compile",
    "train.log": "--log",
    "train.optimizer.weight_decay": "--weight-decay",
    "data.workers": "--workers",
    "data.on_bad_image": "--on-bad-image",
}
"""Fields that have flags: of a file they are given as these, so that a flag that is typed wins."""


def _require_one_value(said: Sequence[str], options: Mapping[str, click.Option]) -> None:
    """Refuse a flag and a `--set` of its field that are typed with two values: which of them counts, no one says.

    Raises:
        InputError: the line has both.
    """
    typed: dict[str, str] = {}
    fields = dict[str, str]()
    for word, behind in zip(said, [*said[1:], ""], strict=False):
        flag, equals, value = word.partition("=")
        name = max(options[flag].opts, key=len) if flag in options else flag
        field, _, wanted = (value if equals else behind).partition("=")
        if name == "--set" and field in _FLAGS:
            fields[_FLAGS[field]] = f"{field}={wanted}"
        elif name in _FLAGS.values():
            typed[name] = value if equals else behind
    for flag, value in typed.items():
        if flag in fields and not _is_same(fields[flag].partition("=")[2], value):
            raise InputError(
                f"{flag} {value} and --set {fields[flag]}: two values for one field; leave one of them out"
            )


def _is_same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one == other


def _plain(flag: str) -> str:
    return flag.lstrip("-").replace("_", "-")


def _takes(option: click.Option, words: Sequence[str]) -> bool:
    """Whether the next word is the option's value."""
    if option.is_flag or not words:
        return False
    return "--resume" not in option.opts or not words[0].startswith("-")  # whose value may be left out


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)
