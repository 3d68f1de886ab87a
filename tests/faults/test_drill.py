"""The drills: what counts as wrong, and that each file of a run's folder and each group is in them."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def drill() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drill", HERE / "drill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["drill"] = module  # its classes are looked up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("code", "said", "ill"),
    [
        (0, "", False),
        (2, "deepres: no such file", False),
        (1, "deepres: a loader process died", False),
        (130, "deepres: interrupted", False),
        (1, "Traceback (most recent call last):", True),
        (2, "deepres: x\nTraceback (most recent call last):", True),
        (1, "", True),
        (70, "deepres: something that nobody foresaw", True),
        (-11, "", True),
        (124, "hangs", True),
    ],
)
def test_a_line_is_right_and_a_traceback_a_crash_or_a_hang_is_wrong(
    drill: ModuleType, code: int, said: str, ill: bool
) -> None:
    assert (drill._ill(code, said) is not None) == ill


def test_every_group_is_run_by_name_and_counts(drill: ModuleType, tmp_path: Path) -> None:
    known = {
        "kills",
        "pairs",
        "torchrun",
        "workers",
        "disks",
        "damage",
        "readers",
        "writers",
        "pictures",
        "arguments",
        "soak",
        "servers",
    }
    assert set(drill.GROUPS) == known
    group = drill.Drill(0.1, 0, tmp_path)
    assert [len(group.times(count)) for count in (1, 12, 100)] == [1, 1, 10]
    group.note("one", None)
    group.note("two", "a traceback")
    figures = group.figures(1.0)
    assert (figures["tried"], figures["right"], figures["wrong"]) == (2, 1, 1)
    assert figures["told"] == ["two: a traceback"]


def test_the_published_figures_hold_nothing_wrong() -> None:
    file = HERE.parents[1] / "evidence" / "drills.json"
    if not file.is_file():
        pytest.skip("the drills have not been published")
    groups = json.loads(file.read_text())["groups"]
    assert {name: figures["wrong"] for name, figures in groups.items()} == dict.fromkeys(groups, 0)


def test_make_knows_them() -> None:
    assert re.search(r"^drills: .*\n\t.*tests/faults/drill\.py", (HERE.parents[1] / "Makefile").read_text(), re.M)
