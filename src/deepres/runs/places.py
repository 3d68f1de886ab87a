"""Where runs lie: the folder that a new one gets, and the one that was written to last."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from deepres.base.errors import InputError
from deepres.base.files import explained
from deepres.base.manifest import RUN, STAGES
from deepres.nn.weights.folds import holds_folds

if TYPE_CHECKING:
    from deepres.recipes.run import Run
    from deepres.train.distributed import Distributed

RUNS = "runs"
"""The folder that runs get theirs in, where nothing is said."""


def holds_any(folder: Path) -> bool:
    """Whether a run lies in the folder, or the folds or stages of one."""
    return (folder / RUN).exists() or holds_folds(folder) or (folder / STAGES).is_file()


def begun_in(resume: str) -> Path:
    """The folder of the run that `--resume` names: itself, a state of it or a file in one; else the newest.

    Raises:
        InputError: an older state than the newest, from which alone a run goes on; a file of weights.
    """
    if resume in ("", "auto"):
        return newest(Path(RUNS))
    given = Path(resume)
    if holds_any(given) or not given.exists():
        return given
    folder = given if given.is_dir() else given.parent
    if folder.name == "state":
        return folder.parent
    if folder.parent.name == "state" and holds_any(folder.parent.parent):
        run = folder.parent.parent
        last = max(path.name for path in folder.parent.glob("step-*"))
        if folder.name != last:
            raise InputError(
                f"--resume {resume}: {last} is newer, and a run goes on from its newest state: --resume {run}"
            )
        return run
    if given.is_file() and holds_any(folder):
        return folder
    if given.is_file():
        raise InputError(
            f"--resume {resume}: no state of a run of deepres; to begin a new run with its weights: --weights {resume}"
        )
    return given


def newest(runs: Path) -> Path:
    """The run under `runs` that was written to last."""
    found = [path.parent for name in ("run.json", "folds.json", STAGES) for path in runs.glob(f"*/{name}")]
    if not found:
        raise InputError(f"--resume: no run under {runs}/; name its folder: --resume DIR")
    return max(
        found, key=lambda folder: max(path.stat().st_mtime for path in (folder, *folder.glob("**/state/step-*")))
    )


@contextmanager
def output_of(given: Path | None, run: "Run", processes: "Distributed") -> Iterator[Path]:
    """The run's folder: the one given, else one under runs/ that is nobody else's; gone again if nothing is put in."""
    folder = processes.on_rank_zero(lambda: given or _claimed(Path(RUNS), run.data.source))
    try:
        yield folder
    finally:
        if given is None and processes.first:
            for empty in (folder, folder.parent):
                with suppress(OSError):
                    empty.rmdir()


def _claimed(runs: Path, source: str) -> Path:
    """`runs/SOURCE-1`, or the first number that is free, made: of several starts each gets its own."""
    stem = Path(source).stem or "run"
    with explained(runs):
        runs.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            with suppress(FileExistsError):
                (runs / f"{stem}-{number}").mkdir()
                break
    return runs / f"{stem}-{number}"
