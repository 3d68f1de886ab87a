"""A folder that holds the folds of a run, `fold-1` … `fold-K`, each with weights of its own: which they are."""

from hashlib import sha256
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.manifest import FOLDS, MANIFEST, RUN, name_of, require_own
from deepres.base.reading import json_object, reading


def holds_folds(folder: Path | str) -> bool:
    """Whether the folder holds folds: its `folds.json` has how many `folds`, those `done`, and the plan."""
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
    require_own(Path(folder), FOLDS)
    facts = json_object(path, "record of folds")
    with reading(path, "a record of folds"):
        folds, done = int(facts["folds"]), {int(fold) for fold in facts["done"]}
    if len(done) != folds or done != set(range(1, folds + 1)):
        raise InputError(
            f"{folder}: {len(done)} of {folds} folds are trained; go on with deepres train --resume {folder}"
        )
    for fold in range(1, folds + 1):
        require_own_fold(Path(folder), fold)
        if not (own := fold_folder(Path(folder), fold)).is_dir():
            raise InputError(f"{own}: missing; deepres train --resume {folder} trains it anew; or bring it back")
    return tuple(fold_folder(Path(folder), fold) for fold in range(1, folds + 1))


def fold_name(folder: Path, fold: int) -> str | None:
    """What the run of a fold is called in its manifest; None where that of the folds is not there."""
    name = name_of(folder)
    return sha256(f"{name} fold {fold}".encode()).hexdigest()[: len(name)] if name else None


def require_own_fold(folder: Path, fold: int) -> None:
    """Refuse a fold that is another run's.

    Raises:
        InputError: it is; the line names its manifest.
    """
    own = fold_folder(folder, fold)
    found, wanted = name_of(own), fold_name(folder, fold)
    if wanted is not None and found != wanted and (found or (own / RUN).is_file()):
        raise InputError(f"{own / MANIFEST}: not of fold {fold} of the run in {folder}; bring that fold back")


def require_one(folder: Path | str) -> None:
    """Refuse a folder of folds where one network is wanted."""
    if holds_folds(folder):
        first = fold_folder(Path(folder), 1)
        raise InputError(f"{folder}: holds the folds of a run, each a network, and one is wanted; name {first}")
