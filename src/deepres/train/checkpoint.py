"""States on disk: each a folder that is whole or absent, verified by digests; the newest whole one resumes the run."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from safetensors.torch import load, save
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.base.files import digest, explained, folder_atomic, write_atomic
from deepres.base.records import Record
from deepres.train.health import DivergedError, fault
from deepres.train.state import Progress, State

KEPT = 2  # the newest state, and the one before it in case the newest is damaged


class Manifest(Record):
    """`state.json`: the numbers of the state and the SHA-256 of every file that belongs to it."""

    progress: Progress
    files: dict[str, str]


def save_state(state: State, folder: Path) -> Path:
    """Write `folder/step-N/`, then drop all but the newest two states and the weights of epochs that they refer to.

    Raises:
        InputError: the place cannot be written or is full; what was there before is untouched.
        DivergedError: a tensor is not finite or beyond all sizes; nothing is written.
    """
    target = folder / f"step-{state.progress.step:09d}"
    tensors: dict[str, Mapping[str, Tensor]] = {
        "weights.safetensors": state.network.state_dict(),
        "optimiser.safetensors": state.optimiser.state_dict(),
    }
    if state.average is not None:
        tensors["average.safetensors"] = state.average.state_dict()
    for name, named in tensors.items():
        _require_sound(named, f"the state after step {state.progress.step}", name)
    files = {}
    with folder_atomic(target) as new:
        for name, named in tensors.items():
            (new / name).write_bytes(_bytes(named))
            files[name] = digest(new / name)
        for epoch in (state.progress.best, state.progress.kept):
            if epoch is not None:
                name = _best_name(epoch.step)
                files[f"../{name}"] = digest(folder / name)
        (new / "state.json").write_text(Manifest(progress=state.progress, files=files).to_json())
    _drop_old(folder)
    return target


def save_best(network: nn.Module, folder: Path, step: int) -> None:
    """Write the weights of an epoch that may be chosen; the states that follow refer to them.

    Raises:
        DivergedError: a tensor is not finite or beyond all sizes; nothing is written.
    """
    _require_sound(network.state_dict(), f"the weights after step {step}", "the best epoch's")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / _best_name(step), _bytes(network.state_dict()))


def load_best(network: nn.Module, folder: Path, step: int) -> None:
    """Put the weights of the epoch that ended with `step` into the network."""
    network.load_state_dict(load((folder / _best_name(step)).read_bytes()))


def drop_newest(folder: Path) -> bool:
    """Drop the newest state, from which the run was lost; the last one that there is, and one that ended a run, stay.

    Returns:
        Whether it was dropped.
    """
    states = sorted(folder.glob("step-*"))
    if len(states) < 2 or _ended(states[-1]):
        return False
    with explained(folder):
        shutil.rmtree(states[-1])
    return True


def load_newest(state: State, folder: Path) -> list[str]:
    """Put the newest whole state under `folder` into `state`.

    Returns:
        One line for each newer state that is damaged or holds what no network can live with, and was passed over.

    Raises:
        InputError: there is no whole state; the message says what is wrong with each.
    """
    damaged: list[str] = []
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            manifest = _verified(path)
        except _DamagedError as cause:
            damaged.append(f"{path}: {cause}")
            continue
        named = {name: load((path / name).read_bytes()) for name in manifest.files if not name.startswith("../")}
        unsound = next((f"{name}: {what}" for name in named if (what := fault(named[name]))), None)
        if unsound is not None:
            damaged.append(f"{path}: {unsound}")
            continue
        state.network.load_state_dict(named["weights.safetensors"])
        state.optimiser.load_state_dict(named["optimiser.safetensors"])
        if state.average is not None:
            state.average.load_state_dict(named["average.safetensors"])
        state.progress = manifest.progress
        return damaged
    told = "; ".join(damaged) or "no state was saved there"
    raise InputError(f"{folder}: nothing to resume from ({told}); start the run anew without --resume")


class _DamagedError(Exception):
    pass


def _verified(path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate(json.loads((path / "state.json").read_text()))
    except (OSError, ValueError, ValidationError) as cause:
        raise _DamagedError(f"its state.json cannot be read ({str(cause).splitlines()[0]})") from cause
    for name, expected in manifest.files.items():
        if not (path / name).is_file():
            raise _DamagedError(f"{Path(name).name} is missing")
        if digest(path / name) != expected:
            raise _DamagedError(f"{Path(name).name} is not what was written (truncated or changed)")
    return manifest


def _drop_old(folder: Path) -> None:
    states = sorted(folder.glob("step-*"))
    needed = set()
    for path in states[-KEPT:]:
        try:
            needed |= {Path(name).name for name in json.loads((path / "state.json").read_text())["files"]}
        except (OSError, ValueError, KeyError):
            return  # a damaged state: drop nothing
    with explained(folder):
        for path in states[:-KEPT]:
            shutil.rmtree(path)
        for path in folder.glob("best-*.safetensors"):
            if path.name not in needed:
                path.unlink()


def _require_sound(tensors: Mapping[str, Tensor], what: str, file: str) -> None:
    wrong = fault(tensors)
    if wrong is not None:
        raise DivergedError(f"{what}: {wrong} ({file.removesuffix('.safetensors')})")


def _ended(path: Path) -> bool:
    try:
        return _verified(path).progress.finished
    except _DamagedError:
        return False


def _best_name(step: int) -> str:
    return f"best-{step:09d}.safetensors"


def _bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
