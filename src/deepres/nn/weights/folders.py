"""A folder of weights: which tool wrote it, and the tensors that lie in it under one of the usual names."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.reading import json_object, reading
from deepres.nn.weights.checkpoints import exists
from deepres.nn.weights.folder_timm import timm_folder
from deepres.nn.weights.folder_transformers import require_known, transformers_folder
from deepres.nn.weights.formats import CONFIG, Checkpoint, our_folder

FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""In this order, as timm and transformers take them; where a folder has two, they are two forms of one network."""
_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".th")
_OF_TRAINING = ("optimizer", "scheduler", "scaler", "rng_state", "training_args", "trainer_state")
_ALONE = "give a run folder, or the weights alone with the network's name"
INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def said_by(folder: Path) -> Checkpoint:
    """What the `config.json` of a folder says of the weights beside it, which are not read yet.

    Raises:
        InputError: no such file, or it describes no network that is known here, or has a field that is not.
    """
    path = folder / CONFIG
    try:
        config = json_object(path, "model description; is this a run folder?", _ALONE)
        with reading(path, "a description that deepres, timm or transformers wrote", _ALONE):
            if "deepres" in config:
                return our_folder(config, path, str(folder))
            if "architecture" in config:
                return timm_folder(config, folder)
            require_known(config["architectures"], str(path))
            return transformers_folder(config, folder)
    except InputError as cause:
        if str(folder) in cause.message:
            raise
        raise InputError(f"{path}: {cause.message}") from cause


def tensors_beside(folder: Path, read: Callable[[Path], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """The tensors in the folder, of one file or of those that an index names; `read` reads one file.

    Raises:
        InputError: no file of a usual name; an index that names files or tensors which are not there.
    """
    for name in FILES:
        if (folder / name).is_file():
            return read(folder / name)
    for name in INDICES:
        if (folder / name).is_file():
            return _indexed(folder / name, read)
    raise InputError(
        f"{folder}: no weights in it, wanted {', '.join(FILES)} or an index of several files{_lying(folder)}"
    )


def undescribed(folder: Path) -> InputError:
    """The refusal of a folder without a `config.json`; what lies in it is named with the way to give it."""
    if (folder / ".metadata").is_file() and any(folder.glob("*.distcp")):
        return InputError(
            f"{folder}: shards of torch.distributed.checkpoint; make one file of them with python -m "
            f"torch.distributed.checkpoint.format_utils dcp_to_torch {folder} weights.pth, and give that"
        )
    return InputError(
        f"{folder}: no {CONFIG} in it; is this a run folder? give one, or a file of weights{_lying(folder)}"
    )


def _lying(folder: Path) -> str:
    lying = sorted(path.name for path in folder.glob("*") if path.suffix in _ENDINGS and path.stem not in _OF_TRAINING)
    return f"; there is {', '.join(lying[:5])}: give that file, and the network with --model" if lying else ""


def _indexed(path: Path, read: Callable[[Path], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    facts = json_object(path, "index of tensors", "fetch it again")
    with reading(path, "an index of tensors", "fetch it again"):
        places = {str(name): str(file) for name, file in facts["weight_map"].items()}
    tensors: dict[str, Tensor] = {}
    for file in dict.fromkeys(places.values()):
        if Path(file).name != file or not exists(str(path.parent / file)):
            raise InputError(f"{path}: names {file}, which does not lie beside it; wanted the names of files alone")
        found = read(path.parent / file)
        tensors.update({name: tensor for name, tensor in found.items() if places.get(name) == file})
    missing = [name for name in places if name not in tensors]
    if missing:
        raise InputError(f"{path}: {missing[0]} is not in {places[missing[0]]}; fetch the files again")
    return tensors
