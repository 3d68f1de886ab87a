"""Weights of Keras's first ResNets, which the 2015 authors released and Keras converted: files, names, layouts."""

import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepres.arch.architecture import Architecture, unit_names, with_classes
from deepres.arch.catalogue import lookup
from deepres.base.errors import InputError
from deepres.base.files import open_regular, read_bytes
from deepres.base.reading import json_object, parse_json, reading
from deepres.nn.weights.formats import Checkpoint, Preprocessing
from deepres.nn.weights.hdf5 import GROWS, SMALL, read_hdf5
from deepres.nn.weights.keras_small import NamedArray, by_place, read_small

SUFFIXES = (".h5", ".hdf5", ".keras")
TOPOLOGY = "model.json"
DEPTHS = (50, 101, 152)
AUTHORS = Preprocessing(
    crop=224, resize=256, mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255, 1 / 255, 1 / 255)
)
"""What the released networks want: 0 to 255 less the mean of each colour, nothing divided."""

_LEAVES = {
    **dict.fromkeys(("kernel", "W", "gamma"), "weight"),
    **dict.fromkeys(("bias", "b", "beta"), "bias"),
    **dict.fromkeys(("moving_mean", "running_mean"), "running_mean"),
    **dict.fromkeys(("moving_variance", "running_std"), "running_var"),
}
_KINDS = {"res": "conv", "bn": "norm", "conv": "conv"}
_WHOLE = {
    **dict.fromkeys(("conv1", "conv1_conv"), "stem.conv"),
    **dict.fromkeys(("bn_conv1", "conv1_bn"), "stem.norm"),
    **dict.fromkeys(("fc1000", "predictions", "probs"), "head.fc"),
}


def is_keras(path: Path) -> bool:
    """Whether the path is an HDF5 file, or the model.json of a TensorFlow.js layers model or its folder."""
    return path.suffix in SUFFIXES or (path.name == TOPOLOGY and path.is_file())


def read_keras(path: Path) -> Checkpoint:
    """ResNet-50, -101 or -152 of Keras's applications as `resnet50_caffe` …: what the weights were trained as.

    Any other network's layers are read as they are (`keras_small.py`).

    Kernels (h, w, in, out) become (out, in, h, w), BGR becomes RGB; a bias in front of a norm is taken off its running
    mean where the released network has none: norm(x + b; mean) = norm(x; mean - b). Keras itself computes something
    slightly different from the release: it pads the first pool on both sides, and early versions add 0.001 to
    variances. 1,000 classes are ImageNet's. A file without a head gives a network of 0 classes.

    Raises:
        InputError: a broken file; not one of these three networks; HDF5, and h5py is not installed.
    """
    with reading(path, "what Keras writes", "save the model again, or fetch it again"):
        return _read(path, str(path))


def _read(path: Path, where: str) -> Checkpoint:
    every, config = _content(path)
    found = list(every)
    if not any(_named(layer) for layer, _, _ in found if layer not in _WHOLE):
        return read_small(where, found, config)
    tensors = {}
    for layer, leaf, values in found:
        name = _named(layer)
        if name is None or leaf not in _LEAVES:
            raise InputError(
                f"{where}: {layer}/{leaf} is no layer of Keras's ResNet50, -101 or -152; wanted one of these"
            )
        tensors[f"{name}.{_LEAVES[leaf]}"] = _turned(torch.from_numpy(np.array(values, dtype=np.float32)))
    if "stem.conv.weight" not in tensors:
        raise InputError(f"{where}: no conv1 in it; wanted the weights of Keras's ResNet50, ResNet101 or ResNet152")
    tensors["stem.conv.weight"] = tensors["stem.conv.weight"].flip(1).contiguous()
    description = _description(tensors, where)
    keep = "stem.conv.bias" if description.name == "resnet50_caffe" else ""
    for name in [name for name in tensors if re.search(r"conv\d?\.bias$", name) and name != keep]:
        norm = re.sub(r"conv(\d?)\.bias$", r"norm\1.running_mean", name)
        if norm not in tensors:
            raise InputError(f"{where}: {name} without its norm's {norm}; fetch the whole file again")
        tensors[norm] = tensors[norm] - tensors.pop(name)
    for name in [name for name in tensors if name.endswith(".running_mean")]:
        tensors[name.replace("running_mean", "num_batches_tracked")] = torch.zeros((), dtype=torch.int64)
    from torchvision import models

    classes = models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"] if description.num_classes == 1000 else ()
    return Checkpoint(where, tensors, description, tuple(classes), preprocessing=AUTHORS)


def _content(path: Path) -> tuple[Iterator[NamedArray], Any]:
    """The tensors, and the configuration of the model where the file has it."""
    if path.suffix == ".keras":
        with (
            reading(path, "a whole Keras archive", "save the model again"),
            open_regular(path) as file,
            zipfile.ZipFile(file) as archive,
        ):
            for name in ("model.weights.h5", "config.json"):
                size, most = archive.getinfo(name).file_size, GROWS * path.stat().st_size
                if size > most:
                    raise ValueError(f"{name} would unpack to {size:,} bytes, {GROWS} times the file are {most:,}")
            config = parse_json(archive.read("config.json"), f"{path} config.json")
        return _hdf5(path, "model.weights.h5")[0], config
    if path.suffix in SUFFIXES:
        return _hdf5(path)
    facts = json_object(path, "TensorFlow.js layers model", "fetch it again")
    config = (facts.get("modelTopology") or {}).get("model_config")
    return _tensorflow_js(path, facts), config


def _named(layer: str) -> str | None:
    """`res2a_branch2b`, or `conv2_block1_2_conv` as later versions say -> stage1.unit1.branch.conv2."""
    if layer in _WHOLE:
        return _WHOLE[layer]
    old = re.fullmatch(r"(res|bn)([2-5])([a-z])(\d*)_branch(1|2[abc])", layer)
    if old:
        kind, stage, letter, number, branch = old.groups()
        unit = int(number) + 1 if number else "abcdefghijklmnopqrstuvwxyz".index(letter) + 1
        place = "shortcut.{}" if branch == "1" else "branch.{}" + str("abc".index(branch[1]) + 1)
        return f"stage{int(stage) - 1}.unit{unit}." + place.format(_KINDS[kind])
    new = re.fullmatch(r"conv([2-5])_block(\d+)_([0-3])_(conv|bn)", layer)
    if new:
        stage, number, place, kind = new.groups()
        part = f"shortcut.{_KINDS[kind]}" if place == "0" else f"branch.{_KINDS[kind]}{place}"
        return f"stage{int(stage) - 1}.unit{number}.{part}"
    return None


def _turned(values: Tensor) -> Tensor:
    if values.dim() == 4:
        return values.permute(3, 2, 0, 1).contiguous()
    return values.T.contiguous() if values.dim() == 2 else values


def _description(tensors: Mapping[str, Tensor], where: str) -> Architecture:
    units = {".".join(name.split(".")[:2]) for name in tensors if name.startswith("stage")}
    for depth in DEPTHS:
        architecture = lookup.architecture(f"resnet{depth}_caffe")
        if set(unit_names(architecture)) == units:
            head = tensors.get("head.fc.weight")
            return with_classes(architecture, 0 if head is None else len(head))
    raise InputError(f"{where}: {len(units)} units of a ResNet; wanted Keras's ResNet50, ResNet101 or ResNet152")


def _tensorflow_js(path: Path, facts: Mapping[str, Any]) -> Iterator[NamedArray]:
    """Layer, kind and values: model.json lists names, shapes and the files that hold them one after the other."""
    with reading(path, "a whole TensorFlow.js layers model", "fetch it again"):
        for group in facts["weightsManifest"]:
            wanted = 4 * sum(_count(weight) for weight in group["weights"])
            content, start = b"".join(_part(path, part, wanted) for part in group["paths"]), 0
            for weight in group["weights"]:
                if weight["dtype"] != "float32" or "quantization" in weight:
                    raise InputError(f"{path}: {weight['name']} is quantized; take the float32 model")
                count = _count(weight)
                values = np.frombuffer(content, "<f4", count, start).reshape(weight["shape"])
                start += 4 * count
                layer, _, leaf = weight["name"].rpartition("/")
                yield layer, leaf, values


def _count(weight: Mapping[str, Any]) -> int:
    if not all(isinstance(side, int) and side >= 0 for side in weight["shape"]):
        raise ValueError(f"a shape {weight['shape']}")
    return math.prod(weight["shape"])


def _part(path: Path, name: str, wanted: int) -> bytes:
    """One of the files that the model names, which lie beside it and hold no more than its tensors."""
    file = path.parent / name
    if Path(name).name != name or not file.is_file():
        raise InputError(f"{path}: names {name!r}, which is no file beside it; fetch the whole folder again")
    if file.stat().st_size > max(wanted, SMALL):
        raise InputError(f"{file}: {file.stat().st_size:,} bytes, its tensors are {wanted:,}; fetch it again")
    return read_bytes(file)


def _hdf5(path: Path, member: str = "") -> tuple[Iterator[NamedArray], Any]:
    """Data sets `conv1/conv1/kernel:0`, `conv1/conv1_W_1:0` of the first files, `layers/conv2d/vars/0` of Keras 3."""
    held = read_hdf5(path, member)
    config = None if held.config is None else parse_json(held.config, f"{path} model_config")
    return _from_hdf5(held.arrays, held.called), config


def _from_hdf5(found: list[tuple[str, Any]], called: Mapping[str, str]) -> Iterator[NamedArray]:
    numbered: dict[str, list[Any]] = {}
    for name, values in found:
        place = re.fullmatch(r"((?:layers|_layer_checkpoint_dependencies)/[^/]+/vars)/\d+", name)
        if place:
            numbered.setdefault(place[1], []).append(values)
            continue
        layer, _, last = name.partition(":")[0].removeprefix("model_weights/").rpartition("/")
        layer = layer.split("/")[0]
        leaf = re.sub(r"_\d+$", "", last.removeprefix(f"{layer}_"))
        yield layer, leaf, values
    for name, every in numbered.items():
        yield from by_place(called.get(name, name.split("/")[1]), every)
