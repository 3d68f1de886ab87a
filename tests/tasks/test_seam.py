"""What carries a task out knows its Protocol alone: no file outside tasks/ names one, but for the words of the CLI."""

import re
from pathlib import Path
from typing import get_args

import pytest

from deepres.base.errors import InputError
from deepres.data.forms import FormName
from deepres.data.targets import FORMS
from deepres.tasks.kinds import DEFAULT_TASK, TASKS, task_for, task_in, task_named
from deepres.tasks.task import require

PACKAGE = Path(__file__).parents[2] / "src" / "deepres"
RUNS_ROOMS = ("base", "arch", "nn", "data", "train", "recipes", "predict")
"""Rooms that no task may be named in, not even the one that everybody has."""

TOOLS_OF_ONE_CLASS = {
    "analyze/ablation.py",
    "cli/compare.py",
    "report/comparison.py",
    "runs/bench.py",
    "runs/ensemble.py",
    "runs/introduce.py",
    "slim/gate.py",
    "studies/report.py",
    "studies/verdict.py",
}
"""Files of tools that are for one class an image alone (`Task.tools`) and import what that folder has; none may join, and who leaves is named no more."""


def _files() -> dict[str, str]:
    found = (path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".jinja"))
    return {
        name: path.read_text()
        for path in found
        if not (name := path.relative_to(PACKAGE).as_posix()).startswith("tasks/")
    }


OF_ITS_PARTS = {
    "detection": {"export/whole_detector.py", "export/parity_boxes.py", "predict/exported/answerer.py"},
}
"""Task -> files that write its network part by part for another runtime, or read what comes back."""


OF_THE_NAME = {
    "localisation": {
        "analyze/localisation.py",
        "cli/analyze.py",
        "predict/maps.py",
        "recipes/by_name.py",
        "recipes/papers_localisation.py",
        "report/analysis.py",
        "runs/analysis/images.py",
        "runs/analysis/located.py",
        "runs/analysis/run.py",
        "runs/plan.py",
        "studies/study.py",
        "studies/verdict.py",
    }
}
"""Task -> files that mean an analysis or an error of its name, or the paper's networks, which are a recipe's subject."""


OF_HUBS = {"nn/weights/card.py"}
"""What hubs call tasks."""


@pytest.mark.parametrize("kind", [kind for kind in TASKS if kind != DEFAULT_TASK.kind])
@pytest.mark.medium
def test_no_file_outside_tasks_names_a_task(kind: str) -> None:
    word = re.compile(rf"(?<!logistic ){kind}", re.IGNORECASE)
    named = {name for name, text in _files().items() if word.search(text)}
    assert named - OF_ITS_PARTS.get(kind, set()) - OF_THE_NAME.get(kind, set()) - OF_HUBS == {
        "cli/train.py"
    }  # its help


def test_one_class_an_image_is_imported_by_its_own_tools_alone() -> None:
    asked = {name for name, text in _files().items() if f"tasks.{DEFAULT_TASK.kind}" in text}
    assert asked == TOOLS_OF_ONE_CLASS
    assert not {name for name in asked if name.startswith(tuple(f"{room}/" for room in RUNS_ROOMS))}


def test_no_file_outside_tasks_asks_which_task_it_is() -> None:
    asks = re.compile(r"task\.kind\s*(==|!=|in\b)|isinstance\([^)]*\btask\b")
    assert {name for name, text in _files().items() if asks.search(text)} == set()


@pytest.mark.parametrize("kind", TASKS)
def test_a_task_is_a_value_that_stands_in_a_run_and_comes_back(kind: str) -> None:
    task = task_named(kind)
    assert task_in(task.model_dump(mode="json"), "run.json") == task
    assert task_for(task.form).form == task.form
    assert task.unread("a.jpg", "a.jpg: empty").line() == "a.jpg: empty"


def test_each_form_of_targets_has_a_task() -> None:
    assert set(FORMS) == set(get_args(FormName)) >= {kind.form for kind in TASKS.values()}


def test_an_unknown_task_and_a_tool_that_is_not_for_it_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean regression"):
        task_named("regresion")
    with pytest.raises(InputError, match="run: its task is regression, and analyze is for"):
        require(task_named("regression"), "analyze", "run")
    with pytest.raises(InputError, match=r"task.*kind"):
        task_in({"kind": "segmentation"}, "run.json")
