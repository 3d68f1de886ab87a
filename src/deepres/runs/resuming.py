"""Going on with a run: what may have changed since it was stopped, and what is said of it."""

from collections.abc import Sequence
from pathlib import Path

from deepres.base import records
from deepres.base.errors import InputError
from deepres.base.manifest import require_own
from deepres.base.wording import counted
from deepres.data.sources.open import Source
from deepres.data.sources.splits import SPLITS, DatasetRecord
from deepres.recipes.run import Run, load_run
from deepres.train.loop import lr_at
from deepres.train.state import Progress

ORIGIN = "data.json"
MAY_CHANGE = (
    *("epochs", "iterations", "schedule", "clip_norm", "patience"),
    *("save_every_seconds", "memory", "compile", "log"),
)
DATA_MAY_CHANGE = ("source", "root", "workers", "prefetch_factor", "on_bad_image")


def edited(folder: Path, edits: Sequence[str]) -> tuple[Run, Run]:
    """The run as it is written down, and as it is to go on.

    Raises:
        InputError: no run there, an unknown field, or an edit that would make it another run.
    """
    before = load_run(folder)
    run = records.edit(before, edits)
    _require_same_plan(before, run)
    return before, run


def _require_same_plan(before: Run, run: Run) -> None:
    """Only what decides how long, how fast and from where may change; anything else would be another run."""
    kept = before.replace(
        train=before.train.replace(**{name: getattr(run.train, name) for name in MAY_CHANGE}),
        data=before.data.replace(**{name: getattr(run.data, name) for name in DATA_MAY_CHANGE}),
        license=run.license,
    )
    if run.teacher is not None and before.teacher is not None:  # the same ones may lie elsewhere: digests tell
        kept = kept.replace(teacher=before.teacher.replace(weights=run.teacher.weights))
    if kept != run:
        names = [f"train.{name}" for name in MAY_CHANGE] + [f"data.{name}" for name in DATA_MAY_CHANGE]
        may = ", ".join([*names, "license", *([] if before.teacher is None else ["teacher.weights"])])
        raise InputError(
            f"--resume: a run keeps what it began with; only {may} may change; start "
            "a new run for another plan, with --weights to begin where this one ended"
        )


def require_same_images(source: Source, folder: Path) -> None:
    """Refuse images that are not those that the run in `folder` began with."""
    require_own(folder, ORIGIN)
    then, now = records.load(DatasetRecord, folder / ORIGIN, "record of the images"), source.origin
    if any(getattr(then, split) != getattr(now, split) for split in SPLITS):
        raise InputError(
            f"{source.name}: the images are not those that the run in {folder} began with; "
            "bring those back, or start a new run"
        )


def require_steps_left(before: Run, run: Run, progress: Progress, num_images: int, folder: Path) -> None:
    """Refuse what would change the record of a run and nothing else: it has ended, or is made shorter than it is.

    Raises:
        InputError: another length, rate or clipping, and no step is left that it could be of.
    """
    early = run.train.patience is not None and progress.epochs_since_best >= run.train.patience
    if progress.step < progress.length(run.train.steps(num_images)) and not (progress.finished and early):
        return
    of_steps = ("epochs", "iterations", "schedule", "clip_norm")
    changed = [name for name in of_steps if getattr(before.train, name) != getattr(run.train, name)]
    if changed:
        longer = (
            "make it longer with --epochs"
            if not early
            else f"go on with --set train.patience={progress.epochs_since_best + 5}"
        )
        raise InputError(
            f"--resume {folder}: train.{changed[0]}: the run has trained {counted(progress.step, 'step')}, and none is "
            f"left that this could be of; {longer}, or leave it out"
        )


def new_rates(before: Run, run: Run, progress: Progress, num_images: int) -> str | None:
    """What is said of a run of another length, whose schedule is stretched over it; None where no rate moves."""
    old, new, step = before.train, run.train, progress.step
    was, total = old.steps(num_images), new.steps(num_images)
    if old.schedule != new.schedule or was == total or not 0 < step < total:
        return None
    last = lr_at(old.schedule, old.schedule.schedule(), progress, min(step, was - 1), was)
    now = lr_at(new.schedule, new.schedule.schedule(), progress, step, total)
    if now == last:
        return None
    still = " --set train.schedule.warmup_fraction=0" if new.schedule.warmup_fraction else ""
    return (
        f"the schedule is stretched over {total:,} steps: the rate, {last:.3g} until now, goes on at {now:.3g}; "
        f"to hold it: --set train.schedule.kind=constant --set train.schedule.lr={last:.3g}{still}"
    )


def by_patience(run: Run, progress: Progress) -> str:
    """That and why a run ended before its last step."""
    best = "" if progress.best is None else f", the best was epoch {progress.best.epoch}"
    return (
        f"stopped by train.patience={run.train.patience} after epoch {progress.epoch}: "
        f"{counted(progress.epochs_since_best, 'epoch')} without a better held-out error{best}"
    )
