"""The plan of a run in folds, `RUN/folds.json`: which are trained, what may change as they go on."""

from collections.abc import Sequence
from pathlib import Path

from deepres.base import records
from deepres.base.errors import InputError
from deepres.base.files import make_folder
from deepres.base.manifest import FOLDS, begin, holds_run, require_own, writing
from deepres.base.reading import json_object
from deepres.base.records import Record
from deepres.recipes.run import Run, require_format
from deepres.runs.resuming import DATA_MAY_CHANGE

MAY_CHANGE = (
    *(f"data.{name}" for name in DATA_MAY_CHANGE),
    "train.memory",
    "train.compile",
    "train.save_every_seconds",
    "train.log",
    "license",
)


class Folds(Record):
    """The plan of a run in folds: `run` is that of the first, the others differ in `data.fold`; `done` are trained."""

    folds: int
    run: Run
    done: tuple[int, ...] = ()


def begin_folds(plan: Folds, folder: Path) -> None:
    """Make the folder, bind the plan to it."""
    make_folder(folder)
    begin(folder, ())
    save_plan(plan, folder)


def plan_in(folder: Path) -> Folds:
    """The plan of the folds in the folder.

    Raises:
        InputError: none there, or it is not as it was written.
    """
    require_own(folder, FOLDS)
    path = folder / FOLDS
    fields = json_object(path, "record of folds")
    require_format(fields.get("run", {}), path)
    return records.build(Folds, fields, str(path))


def save_plan(plan: Folds, folder: Path) -> None:
    """Write it down, bound to the folder."""
    with writing(folder) as new:
        plan.save(new / FOLDS)


def require_none(folder: Path) -> None:
    """Refuse to begin where a run lies."""
    if holds_run(folder) or (folder / FOLDS).exists():
        raise InputError(
            f"{folder}: holds a run already; continue it with --resume {folder}, or choose another --output"
        )


def require_same_plan(folder: Path, edits: Sequence[str]) -> None:
    """Refuse edits that would make folds of different plans."""
    for edit in edits:
        if edit.partition("=")[0].strip() not in MAY_CHANGE:
            raise InputError(
                f"--resume {folder}: {edit}: folds keep what they began with, all of them the same; only "
                f"{', '.join(MAY_CHANGE)} may change"
            )
