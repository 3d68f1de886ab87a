"""`--set` of every field of a run to what is no value of it: refused in one line, or a run that can be written down."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from arguments import NUMBERS

from deepres.base.errors import InputError
from deepres.base.records import edit, flat, parse
from deepres.cli.main import run as deepres
from deepres.data.facts import DatasetFacts
from deepres.recipes.boxes import boxes
from deepres.recipes.everyday import small
from deepres.recipes.run import Run

VALUES = (*NUMBERS, "[1,2", "{}", "a\x1b]0;x\x07", "\ud800", "é" * 300, "1e-400", "-0", "00", "true", "../x", "1" * 50)


def runs() -> dict[str, Run]:
    images = DatasetFacts(source="digits", num_classes=10, num_images=1000, channels=1, side=8)
    pictures = DatasetFacts(source="scenes", num_classes=3, num_images=100, channels=3, side=200, form="boxes")
    return {"classes": small(images), "boxes": boxes(pictures)}


RUNS = runs()
FIELDS = [(kind, name) for kind, run in RUNS.items() for name, _ in flat(json.loads(run.to_json()))]


def finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def edited_or_refused(run: Run, assignment: str) -> Run | InputError:
    try:
        return edit(run, [assignment])
    except InputError as refusal:
        return refusal


@pytest.mark.medium
@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{kind} {name}" for kind, name in FIELDS])
def test_a_field_is_what_it_can_be_or_refused_in_one_line(kind: str, name: str) -> None:
    for value in VALUES:
        edited = edited_or_refused(RUNS[kind], f"{name}={value}")
        if isinstance(edited, InputError):
            assert "\n" not in edited.message
            assert len(edited.message) < 1500
            assert name.split(".")[0] in edited.message
            continue
        text = edited.to_json()
        assert all(finite(each) for _, each in flat(json.loads(text)))
        assert parse(Run, text, "run.json") == edited


@pytest.mark.long
@pytest.mark.parametrize("value", ["nan", "1e400", "9" * 5000, "9" * 12, "-1", "0", "1e-300"])
def test_a_plan_of_it_is_shown_or_refused_in_one_line(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, name in FIELDS:
        if kind == "classes" and not name.startswith(("data.source", "model.kind")):
            code = deepres(["train", "digits", "--dry-run", "--set", f"{name}={value}"])
            said = capsys.readouterr()
            assert code in (0, 2), name
            assert sum(line.startswith("deepres: ") for line in said.err.splitlines()) == (code == 2), (name, said.err)
