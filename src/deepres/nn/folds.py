"""A folder that holds the folds of a run, `fold-1` … `fold-K`, each with weights of its own: which they are."""

import json
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.files import read_text

FOLDS = "folds.json"
"""Says of a folder that it holds folds: `folds` of them, those `done`, and the plan."""


def holds_folds(folder: Path | str) -> bool:
    """Whether the folder holds folds."""
    return (Path(folder) / FOLDS).is_file()


def fold_folder(folder: Path, fold: int) -> Path:
    """Where a fold lies."""
    return folder / f"fold-{fold}"


def fold_folders(folder: Path | str) -> tuple[Path, ...]:
    """The folders of all folds, once all are trained.

    Raises:
        InputError: some are not, or the record is damaged.
    """
    path = Path(folder) / FOLDS
    try:
        facts = json.loads(read_text(path, "record of folds"))
        folds, done = int(facts["folds"]), {int(fold) for fold in facts["done"]}
    except (ValueError, KeyError, TypeError) as cause:
        raise InputError(f"{path}: no record of folds ({cause}); is the file whole?") from cause
    if done != set(range(1, folds + 1)):
        raise InputError(
            f"{folder}: {len(done)} of {folds} folds are trained; go on with deepres train --resume {folder}"
        )
    return tuple(fold_folder(Path(folder), fold) for fold in range(1, folds + 1))


def require_one(folder: Path | str) -> None:
    """Refuse a folder of folds where one network is wanted."""
    if holds_folds(folder):
        first = fold_folder(Path(folder), 1)
        raise InputError(f"{folder}: holds the folds of a run, each a network, and one is wanted; name {first}")
