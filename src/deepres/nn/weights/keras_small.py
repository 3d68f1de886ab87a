"""Networks that people write in Keras themselves: their tensors in torch's layouts, and what their layers say.

Kernels (h, w, in, out) become (out, in, h, w). Nothing is known of their names but that Keras numbers them as they are
made; so they are matched by structure (`structure.py`), and what the file says of each layer (stride, padding, epsilon,
activation) must be what the description says.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepres.arch.algebra import Node, at, children
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Activation, Conv, Norm
from deepres.base.errors import InputError
from deepres.nn.weights.formats import Checkpoint, Preprocessing
from deepres.nn.weights.structure import MatchedLayer

NamedArray = tuple[str, str, Any]
"""Layer, kind of tensor, values."""

_LEAVES = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}
_LEAVES |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
_BY_PLACE = {2: ("kernel", "bias"), 4: ("kernel", "bias"), 1: ("gamma", "beta", "moving_mean", "moving_variance")}
_HARMLESS = (
    "InputLayer",
    "Add",
    "Flatten",
    "Dropout",
    "GlobalAveragePooling2D",
    "AveragePooling2D",
    "Reshape",
    "Softmax",
)
_READ = ("Conv2D", "BatchNormalization", "Dense", "Activation", "ReLU", "Rescaling")
Layers = Mapping[str, Mapping[str, Any]]


class KerasTensors(dict[str, Tensor]):
    """A Keras file's tensors; `layers` is what it says of each layer by name, empty where it has weights alone."""

    layers: Layers


def read_small(where: str, found: Iterable[NamedArray], config: Mapping[str, Any] | None) -> Checkpoint:
    """The tensors `conv2d_3.weight` … in the order of the file's layers, or as Keras numbered them.

    Raises:
        InputError: a layer that is not described here, by name.
    """
    layers = _layers(config, where)
    tensors = KerasTensors()
    tensors.layers = layers
    order = {name: number for number, name in enumerate(layers)}
    for layer, leaf, values in sorted(found, key=lambda item: (order.get(item[0], 0), *_numbered(item[0]))):
        if leaf not in _LEAVES:
            raise InputError(
                f"{where}: {layer}/{leaf} is no tensor of a convolution, norm or dense layer; wanted only these"
            )
        kernel = torch.from_numpy(np.array(values, dtype=np.float32))
        turned = kernel.permute(3, 2, 0, 1) if kernel.dim() == 4 else kernel.T if kernel.dim() == 2 else kernel
        tensors[f"{layer}.{_LEAVES[leaf]}"] = turned.contiguous()
    if not tensors:
        raise InputError(f"{where}: no weights in it; save the model again")
    return Checkpoint(where, tensors, preprocessing=_preprocessing(layers, where))


def by_place(layer: str, values: list[Any]) -> list[NamedArray]:
    """The tensors of a layer that Keras 3 numbers instead of naming: kernel, bias; gamma, beta, mean, variance."""
    kinds = _BY_PLACE.get(np.ndim(values[0]), ())
    full = len(kinds) if np.ndim(values[0]) == 1 else 1
    if not full <= len(values) <= len(kinds):
        kinds = tuple(f"vars/{number}" for number in range(len(values)))  # no layer that is known; refused by that name
    return [(layer, kind, value) for kind, value in zip(kinds, values, strict=False)]


def require_as_said(rows: Iterable[MatchedLayer], tensors: KerasTensors, description: Architecture, where: str) -> None:
    """Refuse a description that differs from what the file says of a layer.

    Raises:
        InputError: the layer, what it has there and here, and the field to set.
    """
    if not tensors.layers:
        return
    for row in rows:
        said, ours = tensors.layers.get(row.theirs, {}), at(description.tree, row.ours)
        for fact, there, here, remedy in _facts(said, ours):
            if there != here:
                name = description.name
                raise InputError(f"{where}: {row.theirs} has {fact} {there}, {row.ours} of {name} {here}; {remedy}")
    wanted = {node.function for node in _activations(description.tree)}
    for name, said in tensors.layers.items():
        function = "relu" if said["class_name"] == "ReLU" else said.get("activation", "linear")
        if function not in ("linear", "softmax", *wanted):
            told = f"{name} is {function}, {description.name} has {', '.join(sorted(wanted))}"
            raise InputError(f"{where}: {told}; wanted --set model.style.activation={function}")
        size = _input(said)
        if size is not None and size != description.input:
            told = (
                f"made for {'x'.join(map(str, size))}, {description.name} for {'x'.join(map(str, description.input))}"
            )
            raise InputError(f"{where}: {told}; wanted --set model.input={','.join(map(str, size))}")


def _facts(said: Mapping[str, Any], ours: Node) -> list[tuple[str, object, object, str]]:
    """Fact, as the file has it, as we have it, what to set."""
    if isinstance(ours, Norm):
        return [("epsilon", said.get("epsilon"), ours.eps, f"set model.style.eps={said.get('epsilon')}")]
    if not isinstance(ours, Conv):
        return []
    one = ours.kernel == 1
    symmetric = "same" if ours.stride == 1 and 2 * ours.padding == ours.kernel - 1 else f"{ours.padding} on every side"
    padding = "same" if ours.padding == "same" else "valid" if ours.padding == 0 and not one else symmetric
    other = "choose the network that it was made as"
    return [
        ("strides", _one(said.get("strides")), ours.stride, other),
        ("dilation", _one(said.get("dilation_rate", 1)), ours.dilation, other),
        ("groups", said.get("groups", 1), ours.groups, other),
        ("padding", "any" if one else said.get("padding"), "any" if one else padding, "set model.style.padding=same"),
    ]


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) and len(set(value)) == 1 else value


def _activations(node: Node) -> list[Activation]:
    below = [found for _, child in children(node) for found in _activations(child)]
    return [node, *below] if isinstance(node, Activation) else below


def _layers(config: Mapping[str, Any] | None, where: str) -> dict[str, dict[str, Any]]:
    """What a model's configuration says of each layer, by name."""
    if config is None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for layer in config["config"]["layers"]:
        kind, fields = layer["class_name"], layer["config"]
        if kind not in (*_READ, *_HARMLESS):
            raise InputError(
                f"{where}: the layer {fields.get('name', kind)}, a {kind}, is not described here; wanted a residual "
                f"network of {', '.join(_READ[:3])} and what joins them"
            )
        found[fields["name"]] = {**fields, "class_name": kind}
    return found


def _input(said: Mapping[str, Any]) -> tuple[int, ...] | None:
    shape = said.get("batch_shape") or said.get("batch_input_shape")
    return None if shape is None or None in shape[1:] or len(shape) != 4 else (shape[3], shape[1], shape[2])


def _preprocessing(layers: Layers, where: str) -> Preprocessing | None:
    """A layer `Rescaling` computes p scale + offset of pixels p from 0 to 255; None where there is none."""
    found = [said for said in layers.values() if said["class_name"] == "Rescaling"]
    size = next((size for said in layers.values() if (size := _input(said))), None)
    if not found or size is None:
        return None
    scale, offset = found[0].get("scale"), found[0].get("offset", 0.0)
    if len(found) > 1 or not all(isinstance(value, int | float) for value in (scale, offset)) or not scale:
        raise InputError(f"{where}: Rescaling by {scale} and {offset}; wanted one, by two numbers")
    mean, std = (-offset / (255 * scale),) * size[0], (1 / (255 * scale),) * size[0]
    return Preprocessing(crop=size[1], resize=size[1], mean=mean, std=std)


def _numbered(name: str) -> tuple[str, int]:
    """`conv2d_12` -> ("conv2d", 12): Keras counts each kind as it is made, the first without a number."""
    found = re.fullmatch(r"(.*?)(?:_(\d+))?", name)
    assert found is not None
    return found[1], int(found[2] or 0)
