"""Readers of what runs of the other tasks wrote, a valid file for each: part of `fuzz.readers()`."""

import shutil
from collections.abc import Callable
from pathlib import Path

from fuzz import Reader
from runs_of_tasks import TASKS, pictures, run_of

from deepres.base.manifest import MANIFEST
from deepres.predict.predictor import Predictor
from deepres.recipes.run import load_run
from deepres.runs.finish import training_of
from deepres.tasks.paired import load_saved
from deepres.tasks.plans import plan_of

READ: dict[str, Callable[[Path], object]] = {
    "predictions.npz": lambda file: load_saved(file.parent),
    "config.json": lambda file: _answered(file.parent),
    "run.json": lambda file: (load_run(file.parent), plan_of(file.parent)),
    "history.jsonl": lambda file: training_of(file.parent),
    "summary.json": lambda file: training_of(file.parent),
}


def readers_of_tasks() -> list[Reader]:
    """Of files without a manifest, as a person might have edited them."""
    return [
        Reader(f"{name} of {task}", _of(task, name), read, 5 if name == "config.json" else 1, slow=True)
        for task in TASKS
        for name, read in READ.items()
    ]


def _of(task: str, name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        shutil.copytree(run_of(task), folder, dirs_exist_ok=True)
        (folder / MANIFEST).unlink()
        return folder / name

    return write


def _answered(folder: Path) -> None:
    predictor = Predictor.load(folder, "cpu")
    for answer in predictor.answers([pictures() / "photos" / "00.png"], 3):
        answer.line()
        answer.rows()
