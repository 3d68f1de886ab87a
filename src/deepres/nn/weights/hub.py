"""Weights by name: a path, a tag of timm's (`resnet50.a1_in1k`), one of torchvision's (`IMAGENET1K_V2`), a hub folder.

What was fetched before is taken from the caches of huggingface_hub and of torch.hub; what cannot be fetched can be
brought: the error says which file, and where it belongs.
"""

import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue import lookup
from deepres.base.errors import InputError, unknown
from deepres.base.files import cache_folder, digest
from deepres.base.normalisation import NAMED, per_channel
from deepres.nn.weights.checkpoints import ALL, asked_of, exists
from deepres.nn.weights.convert import TIMM
from deepres.nn.weights.files import WEIGHTS, read_stored, read_tensors
from deepres.nn.weights.folder_transformers import PREPROCESSORS
from deepres.nn.weights.folders import FILES
from deepres.nn.weights.folds import require_one
from deepres.nn.weights.formats import CONFIG, Checkpoint, Preprocessing
from deepres.nn.weights.keras import SUFFIXES, TOPOLOGY

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

_PUBLISHED = {
    "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8": ("resnet20_cifar", "imagenet"),
    "014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4": ("resnet44_cifar", "imagenet"),
    "0102ab60a739c2c207ed1926c69fdc0a0b95210e5a68335001baecc496509c86": ("resnet20_cifar_b", "0.5"),
}
"""SHA-256 of files that were measured here -> their network, and what its training script normalised by: that of
pytorch_resnet_cifar10 has ImageNet's numbers on CIFAR, distiller's has 0.5."""
_HUB = ("hf-hub:", "hf_hub:")
_LOCAL = "local-dir:"
"""What timm calls a folder."""
_FILES = (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt", ".pth.tar", ".pt.tar", TOPOLOGY, *SUFFIXES)


def find_weights(weights: str | Path, model: str | None = None) -> Checkpoint:
    """The weights of that path or name, with what is known of them; `model` tells a bare `IMAGENET1K_V2` of which.

    A path that exists is taken as one; `FILE::KEY` is one of several sets in it, `FILE::-PATTERN` the file without some
    tensors. Names: `resnet50.a1_in1k` (timm), `IMAGENET1K_V2` or `ResNet50_Weights.IMAGENET1K_V2` (torchvision),
    `hf-hub:organisation/name`.

    Raises:
        InputError: neither a path nor a name; or it cannot be fetched: the line says what to bring and where to.
    """
    name, choice = asked_of(str(weights).removeprefix(_LOCAL))
    path = Path(name)
    if exists(name):
        require_one(path)
        stored = read_stored(path, choice)
        return recognised(stored, path) if path.is_file() and stored.preprocessing is None else stored
    if choice != ALL:
        raise InputError(f"weights {weights}: {name} is no file; sets are chosen, and tensors left out, in a file")
    brought = brought_folder(name.removeprefix(_HUB[0]).removeprefix(_HUB[1]))
    if exists(str(brought)) and brought.is_dir():
        return read_stored(brought)
    if name.startswith(_HUB):
        return read_stored(_from_hub(name.split(":", 1)[1], brought))
    if _is_timms(name):
        return read_stored(_from_hub(f"timm/{name}", brought))
    if _is_torchvisions(name):
        return _torchvisions(name, model)
    raise InputError(
        f"weights {name}: no such file or folder, and no name of weights; wanted a path, timm's such as "
        "resnet50.a1_in1k, torchvision's such as IMAGENET1K_V2, or hf-hub:organisation/name"
    )


def recognised(stored: Checkpoint, path: Path) -> Checkpoint:
    """A file of torchvision's, pytorch_resnet_cifar10's or distiller's, known by its digest, with what it is.

    Its classes stay unnamed, as those of any bare file.
    """
    found = digest(path)
    described, preprocessing = stored.description, None
    if found in _PUBLISHED:
        name, images = _PUBLISHED[found]
        described = lookup.architecture(name)
        mean, std = per_channel(*NAMED[images], described.input[0], stored.where)
        preprocessing = Preprocessing(crop=32, resize=32, mean=mean, std=std)
    from torchvision import models

    for model in _torchvision_models():
        for chosen in models.get_model_weights(model):
            if found.startswith(chosen.url.rpartition("-")[2].partition(".")[0]):
                described, preprocessing = lookup.architecture(model), _shown(chosen)
    if preprocessing is None:
        return stored
    return replace(
        stored, description=described, preprocessing=preprocessing.replace(note="known by the file's digest")
    )


def is_weights(text: str) -> bool:
    """Whether an argument that may be weights or images is weights: by what lies there, else by its name."""
    text, _ = asked_of(text)
    path = Path(text)
    if exists(text) and path.is_dir():
        return any((path / name).is_file() for name in (CONFIG, WEIGHTS, TOPOLOGY))
    return (
        text.endswith(_FILES)
        or text.startswith(_HUB)
        or (not exists(text) and (brought_folder(text).is_dir() or _is_timms(text) or _is_torchvisions(text)))
    )


def weights_file(weights: Path | str) -> Path | None:
    """The file or folder that holds the weights; None for weights that are named, not placed."""
    path = Path(asked_of(str(weights))[0])
    lying = path.parent if path.name == TOPOLOGY else path  # of a TensorFlow.js model the weights lie beside it
    file = path / WEIGHTS if (path / WEIGHTS).is_file() else lying
    return file if file.exists() else None


def brought_folder(name: str) -> Path:
    """Where `config.json` and `model.safetensors` brought by hand are looked for: below `cache_folder()`."""
    return cache_folder() / "weights" / name


def _is_timms(name: str) -> bool:
    architecture, dot, tag = name.partition(".")
    return (
        bool(dot) and architecture in TIMM.values() and bool(re.fullmatch(r"[a-z0-9_]+", tag)) and tag != "safetensors"
    )


def _is_torchvisions(name: str) -> bool:
    return "_Weights." in name or bool(re.fullmatch(r"IMAGENET1K_[A-Z0-9_]+|DEFAULT", name))


def _from_hub(repository: str, brought: Path) -> Path:
    try:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError as cause:
        raise InputError(
            f"{repository}: fetching needs huggingface_hub; pip install 'deepres[hub]', "
            f"or put {CONFIG} and {WEIGHTS} into {brought}"
        ) from cause

    def found(file: str) -> Path:
        try:
            return Path(str(hf_hub_download(repository, file, local_files_only=True)))
        except OSError:
            _require_host(constants.ENDPOINT)
            return Path(str(hf_hub_download(repository, file)))

    def fetch() -> Path:
        try:
            found(WEIGHTS)
        except EntryNotFoundError:
            found(FILES[1])  # of repositories that have no safetensors
        config = found(CONFIG)
        for file in PREPROCESSORS if '"architectures"' in config.read_text() else ():  # a repository of transformers
            with suppress(OSError, EntryNotFoundError):  # without either the weights are asked for it, as bare ones
                found(file)
        return config.parent

    where = f"https://huggingface.co/{repository}"
    return _fetched(fetch, repository, f"{CONFIG} and {WEIGHTS} of {where} belong into {brought}")


def _require_host(address: str) -> None:
    """Fail at once where there is no network: the hub's own client tries six times."""
    if not getproxies():
        socket.getaddrinfo(urlsplit(address).hostname, 443)


def _torchvisions(name: str, model: str | None) -> Checkpoint:
    if "." in name:
        family = name.partition(".")[0]
        model = next((ours for ours in _torchvision_models() if _enum(ours) == family), None)
        if model is None:
            raise unknown(
                "torchvision's weights", name, [f"{_enum(ours)}.IMAGENET1K_V1" for ours in _torchvision_models()]
            )
    elif model is None:
        raise InputError(f"weights {name}: of which network? name it (--model, such as resnet50)")
    elif model not in _torchvision_models():
        raise unknown(f"torchvision has no weights {name} of {model}; network", model, _torchvision_models())
    from torchvision import models

    tag = name.rpartition(".")[2]
    known = models.get_model_weights(model)
    if tag not in known.__members__:
        raise unknown(f"torchvision's weights of {model}", tag, list(known.__members__))
    chosen = known[tag]
    file = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rpartition("/")[2]
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        digest = file.stem.rpartition("-")[2]

        def fetch() -> Path:
            torch.hub.download_url_to_file(chosen.url, str(file), hash_prefix=digest)
            return Path(file)

        _fetched(fetch, name, f"{chosen.url} belongs to {file}")
    description: Architecture = lookup.architecture(model)
    categories = tuple(chosen.meta["categories"])
    return Checkpoint(f"{model} {tag}", read_tensors(file), description, categories, preprocessing=_shown(chosen))


def _shown(chosen: "WeightsEnum") -> Preprocessing:
    shown = chosen.transforms()
    return Preprocessing(
        crop=shown.crop_size[0],
        resize=shown.resize_size[0],
        mean=tuple(shown.mean),
        std=tuple(shown.std),
        interpolation=shown.interpolation.value,
    )


def _torchvision_models() -> list[str]:
    from torchvision import models

    return [name for name in lookup.CATALOGUE if name in models.list_models()]


def _enum(model: str) -> str:
    from torchvision import models

    return type(next(iter(models.get_model_weights(model)))).__name__


def _fetched(fetch: Callable[[], Path], name: str, bring: str) -> Path:
    try:
        return fetch()
    except (OSError, ValueError, RuntimeError, URLError) as cause:
        reason = str(cause).strip().splitlines()[0][:120] if str(cause).strip() else type(cause).__name__
        raise InputError(f"weights {name}: cannot be fetched ({reason}); bring them: {bring}") from cause
