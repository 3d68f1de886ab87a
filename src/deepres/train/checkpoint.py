"""States on disk: each a folder that is whole or absent, verified by digests; the newest whole one resumes the run."""

import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.base.files import digest, explained, folder_atomic, read_bytes, write_atomic
from deepres.base.manifest import RUN, STATE, name_of, read_sealed, sealed
from deepres.base.records import Record, build
from deepres.train.health import DivergedError, fault
from deepres.train.state import Progress, State

KEPT = 2  # the newest state, and the one before it in case the newest is damaged


class Contents(Record):
    """`state.json`: the numbers of the state, the SHA-256 of every file that belongs to it, and of which run it is.

    States of older versions, and of runs without a manifest, do not name their run.
    """

    progress: Progress
    files: dict[str, str]
    run: str = ""


def save_state(state: State, folder: Path) -> Path:
    """Write `folder/step-N/`, then drop all but the newest two states and the weights of epochs that they refer to.

    It bears the name of the run in whose folder `folder` lies (base/manifest.py).

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
    files, run = {}, name_of(folder.parent)
    with folder_atomic(target) as new:
        for name, named in tensors.items():
            (new / name).write_bytes(_bytes(named))
            files[name] = digest(new / name)
        for epoch in (state.progress.best, state.progress.kept):
            if epoch is not None:
                name = _best_name(epoch.step)
                files[f"../{name}"] = state.digests.get(epoch.step) or digest(folder / name)
        contents = Contents(progress=state.progress, files=files, run=run)
        (new / STATE).write_text(sealed(contents.model_dump(mode="json")), encoding="utf-8")
    _drop_old(folder, run)
    return target


def save_best(network: nn.Module, folder: Path, step: int) -> str:
    """Write the weights of an epoch that may be chosen; the states that follow refer to them by the digest returned.

    Raises:
        DivergedError: a tensor is not finite or beyond all sizes; nothing is written.
    """
    _require_sound(network.state_dict(), f"the weights after step {step}", "the best epoch's")
    folder.mkdir(parents=True, exist_ok=True)
    content = _bytes(network.state_dict())
    write_atomic(folder / _best_name(step), content)
    return sha256(content).hexdigest()


def load_best(network: nn.Module, folder: Path, step: int, expected: str | None = None) -> None:
    """Put the weights of the epoch that ended with `step`, of the digest that is `expected`, into the network.

    Raises:
        InputError: they are not those that were written.
    """
    path = folder / _best_name(step)
    try:
        content = read_bytes(path)
        if expected not in (None, sha256(content).hexdigest()):
            raise InputError(f"{path}: not what was written (truncated or changed); bring it back, or train anew")
        tensors = load(content)
    except (OSError, SafetensorError) as cause:
        raise InputError(f"{path}: cannot be read ({cause}); bring it back, or train anew") from cause
    if _shapes(tensors) != _shapes(network.state_dict()):
        raise InputError(f"{path}: of another network than {RUN} describes; bring it back, or train anew")
    network.load_state_dict(tensors)


def drop_newest(folder: Path) -> bool:
    """Drop the newest state, from which the run was lost; the last one that there is, and one that ended a run, stay.

    Returns:
        Whether it was dropped.
    """
    states = _own_states(folder, name_of(folder.parent))
    if len(states) < 2 or _ended(states[-1]):
        return False
    with explained(folder):
        shutil.rmtree(states[-1])
    return True


def load_newest(state: State, folder: Path) -> list[str]:
    """Put the newest whole state under `folder` into `state`.

    Returns:
        One line for each newer state that is damaged, another run's, or holds what no network can live with, and was
        passed over.

    Raises:
        InputError: there is no whole state; the message says what is wrong with each.
    """
    damaged: list[str] = []
    run = name_of(folder.parent)
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            contents = _verified(path, run)
            named = {name: load(read_bytes(path / name)) for name in contents.files if not name.startswith("../")}
            _require_fitting(state, named)
        except _DamagedError as cause:
            damaged.append(f"{path}: {cause}")
            continue
        except (OSError, SafetensorError) as cause:
            damaged.append(f"{path}: cannot be read ({cause})")
            continue
        state.network.load_state_dict(named["weights.safetensors"])
        state.optimiser.load_state_dict(named["optimiser.safetensors"])
        if state.average is not None:
            state.average.load_state_dict(named["average.safetensors"])
        state.progress = contents.progress
        epochs = {epoch.step for epoch in (state.progress.best, state.progress.kept) if epoch is not None}
        state.digests = {step: contents.files[f"../{_best_name(step)}"] for step in epochs}
        return damaged
    told = "; ".join(damaged) or "no state was saved there"
    raise InputError(f"{folder}: nothing to resume from ({told}); start the run anew without --resume")


class _DamagedError(Exception):
    pass


def _verified(path: Path, run: str = "") -> Contents:
    """What a state says of itself, once its files are what it says, and it is of `run` where that has a name."""
    try:
        facts, whole = read_sealed(path / STATE)
        contents = build(Contents, facts, STATE)
    except InputError as cause:
        raise _DamagedError(
            f"its {STATE} cannot be read ({cause.message.removeprefix(f'{path / STATE}: ')})"
        ) from cause
    if run and contents.run != run:
        raise _DamagedError(f"its {STATE} is of another run")
    if not whole and (contents.run or run):
        raise _DamagedError(f"its {STATE} is not what was written (damaged or changed)")
    for name, expected in contents.files.items():
        if not (path / name).is_file():
            raise _DamagedError(f"{Path(name).name} is missing")
        if digest(path / name) != expected:
            raise _DamagedError(f"{Path(name).name} is not what was written (truncated or changed)")
    return contents


def _require_fitting(state: State, named: Mapping[str, Mapping[str, Tensor]]) -> None:
    """The state's tensors are those of the run's network, and such as one can live with."""
    wanted: dict[str, Mapping[str, Tensor]] = {
        "weights.safetensors": state.network.state_dict(),
        "optimiser.safetensors": state.optimiser.state_dict(),
        **({} if state.average is None else {"average.safetensors": state.average.state_dict()}),
    }
    for name, tensors in wanted.items():
        given = named.get(name, {})
        if _shapes(tensors) != _shapes(given):
            raise _DamagedError(f"{name}: of another network than {RUN} describes")
        if (what := fault(given)) is not None:
            raise _DamagedError(f"{name}: {what}")


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _own_states(folder: Path, run: str) -> list[Path]:
    """The states in order, without those of which it can be told that they are of another run."""
    found = []
    for path in sorted(folder.glob("step-*")):
        try:
            foreign = bool(run) and read_sealed(path / STATE)[0].get("run") != run
        except InputError:
            foreign = False
        if not foreign:
            found.append(path)
    return found


def _drop_old(folder: Path, run: str) -> None:
    states = _own_states(folder, run)
    needed = set()
    for path in states[-KEPT:]:
        try:
            needed |= {Path(name).name for name in build(Contents, read_sealed(path / STATE)[0], STATE).files}
        except InputError:
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
