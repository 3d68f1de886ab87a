"""Weights that a localiser asks beside its own: by their way from its run's folder, and by what their file holds."""

import os
from contextlib import suppress
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.files import digest, resolved
from deepres.nn.weights.checkpoints import asked_of, exists
from deepres.nn.weights.hub import weights_file
from deepres.tasks.localisation.task import Partner


def placed(weights: str) -> str:
    """The path of weights from anywhere, where they are a path; a name stays one."""
    name, _ = asked_of(weights)
    return str(resolved(Path(name))) + weights[len(name) :] if exists(name) else weights


def partner(weights: str | None, folder: Path) -> Partner | None:
    """What a run in `folder` writes down of them; None of weights that are named, not placed."""
    file = None if weights is None else weights_file(weights)
    if weights is None or file is None:
        return None
    place = resolved(Path(asked_of(weights)[0]))
    with suppress(ValueError):  # there is no way from one drive to another
        place = Path(os.path.relpath(place, resolved(folder)))
    return Partner(beside=place.as_posix(), digest=digest(file))


def found(weights: str | None, known: Partner | None, folder: Path) -> str | None:
    """Where they lie now, seen from the run in `folder`: beside it as ever, else where they lay then.

    Of two files the one that holds what it held; what lies nowhere keeps its place, and is refused when it is asked.
    """
    if weights is None or known is None:
        return weights
    name, _ = asked_of(weights)
    beside = os.path.normpath(resolved(folder) / known.beside)
    there = [str(resolved(Path(path))) for path in (beside, name) if exists(path)]
    if len(set(there)) > 1:
        there.sort(key=lambda path: _held(path) != known.digest)
    return there[0] + weights[len(name) :] if there else weights


def require_there(field: str, weights: str | None, known: Partner | None) -> None:
    """Refuse weights that are gone, or are others than the run began with.

    Raises:
        InputError: they are; the line says which, and where they are looked for.
    """
    if weights is None or (known is None and not Path(asked_of(weights)[0]).is_absolute()):
        return
    name, _ = asked_of(weights)
    if not exists(name):
        beside = "" if known is None else f", nor at {known.beside} from the run"
        raise InputError(f"{field}={weights}: no longer there{beside}; bring it back, or move both folders together")
    if known is not None and (now := _held(name)) != known.digest:
        raise InputError(
            f"{field}={weights}: not the weights that the run began with (digest {known.digest[:12]} then, {now[:12]} "
            "now); bring those back, or train anew"
        )


def _held(weights: str) -> str:
    file = weights_file(weights)
    return "" if file is None else digest(file)
