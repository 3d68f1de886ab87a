"""Where runs lie: the folder that a new one gets, and the one that was written to last."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from deepres.base.errors import InputError
from deepres.base.files import explained
from deepres.base.manifest import RUN
from deepres.nn.weights.folds import holds_folds

if TYPE_CHECKING:
    from deepres.recipes.run import Run
    from deepres.train.distributed import Distributed

RUNS = "runs"
"""The folder that runs get theirs in, where nothing is said."""


def holds_any(folder: Path) -> bool:
    """Whether a run lies in the folder, or the folds of one."""
    return (folder / RUN).exists() or holds_folds(folder)


def newest(runs: Path) -> Path:
    """The run under `runs` that was written to last."""
    found = [path.parent for name in ("run.json", "folds.json") for path in runs.glob(f"*/{name}")]
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
