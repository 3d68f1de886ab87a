"""What users of other tools ask for, and what these tools have: answered here, in part or not, each row with its proof.

`python evidence/peers_demands.py` checks evidence/peers_demands.json and counts its rows anew. Each row names in `by`
what shows it: commands with their flags, names of the library, fields of a run, files. What is not there is listed,
and the exit code is 1. `lacks` says what is missing, of rows that are `in part` or `not`.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

import deepres
from deepres.base.errors import DeepresError
from deepres.cli.main import deepres as program
from deepres.data.sources.config import DataConfig
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.studies.study import studies
from deepres.train.config import TrainConfig

ROOT = Path(__file__).parents[1]
FILE = Path(__file__).with_suffix(".json")
STATES = ("answered", "in part", "not")
FIELDS = {"data": DataConfig, "augmentation": Augmentation, "preparation": Preparation, "train": TrainConfig}


def lacking(by: str) -> list[str]:
    """What `by` names and what is not there; its parts lie between `, ` or `; `."""
    return [part for part in re.split(r"[,;] ", by) if part and not _is_there(part)]


def _is_there(part: str) -> bool:
    if part.startswith("deepres "):
        return _is_command(part.split()[1:])
    if part.startswith("deepres."):
        return part.removeprefix("deepres.").partition("(")[0] in deepres.__all__
    section, _, field = part.partition(".")
    return field in FIELDS[section].model_fields if section in FIELDS else (ROOT / part).is_file()


def _is_command(words: list[str]) -> bool:
    """Whether there is a verb that has all of these flags, and knows the network, study or analysis behind it."""
    command: click.Command | None = program
    try:
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
    except (DeepresError, IndexError):
        return False
    if command is None:
        return False
    flags = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}
    named = words[0] if words and not words[0].startswith("-") else None
    known = {"describe": deepres.list_models(), "reproduce": studies()}.get(str(command.name), command.help or "")
    return (named is None or named in known) and flags.issuperset(word for word in words if word.startswith("-"))


def faults(facts: dict[str, Any]) -> list[str]:
    """One line for each row that names what is not there, or whose state does not go with what it says."""
    found = []
    for row in (*facts["demands"], *facts["features"]):
        what, stands, by = row.get("demand") or row["feature"], row["stands"], row["by"]
        found += [f"{what}: {part} is not there" for part in lacking(by)]
        if stands not in STATES or (stands == "not") == bool(by) or (stands == "answered") == ("lacks" in row):
            found.append(f"{what}: '{stands}' does not go with what it names and lacks")
    return found


def counted(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts with the number of their rows, and how many stand how."""
    groups = {name: Counter(row["stands"] for row in facts[name]) for name in ("demands", "features")}
    counts = {name: {state: group[state] for state in STATES} for name, group in groups.items()}
    return facts | {"n": sum(group.total() for group in groups.values()), "counts": counts}


def main() -> None:
    """Check, count, write."""
    facts = json.loads(FILE.read_text())
    if found := faults(facts):
        sys.exit("\n".join(found))
    FILE.write_text(json.dumps(counted(facts), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
