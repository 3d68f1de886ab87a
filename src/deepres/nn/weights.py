"""Weights in and out: safetensors beside a `config.json` in timm's hub layout; nothing is ever unpickled."""

import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

import deepres
from deepres.base.errors import InputError
from deepres.base.files import read_text, write_atomic
from deepres.base.records import build as build_record
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.init import initialise
from deepres.spec.network import Network

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def save_network(
    folder: Path, network: ResidualNetwork, classes: tuple[str, ...], preparation: Mapping[str, Any]
) -> None:
    """Write `model.safetensors` and `config.json`: all that building, naming and preparing an image needs.

    `preparation` is kept as it is under the key `deepres`, which timm leaves alone.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_atomic(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    config = {
        "architecture": network.description.name,
        "num_classes": network.num_classes,
        "num_features": network.num_features,
        "global_pool": "avg",
        "label_names": list(classes),
        "deepres": {
            "version": deepres.__version__,
            "network": network.description.model_dump(mode="json"),
            "preparation": dict(preparation),
        },
    }
    write_atomic(folder / CONFIG, json.dumps(config, indent=1) + "\n")


def load_network(folder: Path) -> tuple[ResidualNetwork, tuple[str, ...], dict[str, Any]]:
    """The network that `save_network` wrote, in evaluation mode, with its class names and its preparation.

    Raises:
        InputError: a file is missing, broken, or not from deepres.
    """
    path = folder / CONFIG
    try:
        config = json.loads(read_text(path, "model description; is this a run folder?"))
        facts = config["deepres"]
        description = build_record(Network, facts["network"], str(path))
        classes, preparation = tuple(config["label_names"]), dict(facts["preparation"])
    except (json.JSONDecodeError, KeyError, TypeError) as cause:
        raise InputError(f"{path}: not a description that deepres wrote ({cause!r}); give a run folder") from cause
    network = build(description)
    load_state(network, read_tensors(folder / WEIGHTS), str(folder / WEIGHTS))
    return network.eval(), classes, preparation


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file, or of a torch checkpoint read with `weights_only`.

    Of a checkpoint's dictionaries the weights are found under the usual keys, and the prefixes `module.` and
    `_orig_mod.` fall away.

    Raises:
        InputError: the file is absent, truncated, not a weight file, or a pickle that would run code.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a model.safetensors, a torch checkpoint or a run folder")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (safetensors.SafetensorError, OSError, ValueError) as cause:
            raise InputError(f"{path}: not a whole safetensors file ({cause}); copy or save it again") from cause
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # torch comments on old pickle protocols; what cannot be read is refused below
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as cause:
        raise InputError(
            f"{path}: refused, it is no plain checkpoint of tensors (a pickle can run code when read); "
            "save its state_dict as .safetensors"
        ) from cause
    except (RuntimeError, OSError, EOFError, ValueError) as cause:
        raise InputError(
            f"{path}: not a whole torch checkpoint ({str(cause).splitlines()[0]}); copy it again"
        ) from cause
    return _state_dict(found, path)


def load_state(network: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put `tensors` into the network, all or none.

    Raises:
        InputError: the numbers of classes differ, or tensors are missing, unexpected or of another shape.
    """
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in tensors]
    unexpected = [name for name in tensors if name not in wanted]
    other = [name for name in wanted if name in tensors and wanted[name].shape != tensors[name].shape]
    if other and not missing and not unexpected and all(name.startswith("head.") for name in other):
        have, want = (len(t[other[0]]) for t in (tensors, wanted))
        raise InputError(
            f"{where}: these weights know {have} classes, the network has {want}; build it with num_classes={have}"
        )
    faults = (("missing", missing), ("unexpected", unexpected), ("of another shape", other))
    if any(names for _, names in faults):
        told = "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in faults if names)
        raise InputError(
            f"{where}: the weights do not fit the network: {told}; choose the network they were saved from"
        )
    if any(tensor.is_meta for tensor in wanted.values()):
        initialise(network, seed=0)
    network.load_state_dict(dict(tensors))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _state_dict(found: object, path: Path) -> dict[str, Tensor]:
    for key in ("state_dict_ema", "state_dict", "model_ema", "model", "net", "ema"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise InputError(f"{path}: no dictionary of tensors in it; save the network's state_dict")
    return {str(name).replace("module.", "", 1).replace("_orig_mod.", "", 1): found[name] for name in found}
