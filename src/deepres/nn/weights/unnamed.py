"""The layers of a file of tensors, whatever their names; and what names say of the order of two layers."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from deepres.base.errors import InputError

_LEAF = re.compile(
    r"(?:(.*)[./])?(weight|bias|gamma|beta|kernel|running_mean|running_var|moving_mean|moving_var(?:iance)?"
    r"|_mean|_variance|num_batches_tracked)"
)
_FLAT = re.compile(r"(.+)_(weight|bias|gamma|beta|running_mean|running_var|moving_mean|moving_var(?:iance)?)")
_LEAVES = {
    **dict.fromkeys(("gamma", "kernel"), "weight"),
    **dict.fromkeys(("_mean", "moving_mean"), "running_mean"),
    **dict.fromkeys(("_variance", "moving_var", "moving_variance"), "running_var"),
    "beta": "bias",
}
_ASIDE = re.compile(r"down|short|skip|proj|ident|match|adjust|bypass|resiz|sc$|^sc|residual_conv|res_conv|conv_res")
TRACKED = "num_batches_tracked"


class Layer(NamedTuple):
    """A layer with weights: of ours (`place` body, branch or shortcut, in `unit`) or of a file's (`place` empty).

    `kind` is "weighted" or "norm", `shape` its weight's: of a convolution (out, in, h, w), of a classifier with 1, 1,
    of a filter along the channels (1, 1, kernel).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    leaves: tuple[str, ...]
    unit: str = ""
    place: str = "body"


def layers_in(tensors: Mapping[str, Tensor], where: str = "weights") -> tuple[list[Layer], bool]:
    """The layers of a file in its order (sorted by name: in the natural order), and whether it is sorted.

    Raises:
        InputError: a tensor that belongs to no convolution, norm or classifier; it is named.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        module, leaf = split(name, where)
        parts.setdefault(module, {})[leaf] = tensor
    layers = [_layer(module, leaves, where) for module, leaves in parts.items()]
    names: dict[object, list[str]] = {}
    for name, tensor in tensors.items():
        names.setdefault(tensor.dtype, []).append(name)
    sorted_ = len(layers) > 1 and all(part == sorted(part) for part in names.values())  # safetensors: each dtype apart
    return (sorted(layers, key=lambda layer: natural(layer.name)) if sorted_ else layers), sorted_


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key by which `layer2` comes before `layer10`."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.findall(r"\d+|[^\d./]+", name)]


def stem_of(layers: list[Layer]) -> Layer | None:
    """The convolution that sees the image: the only one of at most four channels, else the first above 1x1."""
    wide = [layer for layer in layers if len(layer.shape) == 4 and layer.shape[2:] > (1, 1)]
    few = [layer for layer in wide if layer.shape[1] <= 4]
    return few[0] if len(few) == 1 else next(iter(wide), None)


def classes_in(tensors: Mapping[str, Tensor]) -> int | None:
    """The rows of the only classifier, or of the last in a file that keeps the order; None where neither is there."""
    found = [t for name, t in tensors.items() if t.dim() == 2 and name.endswith(("weight", "kernel"))]
    ordered = list(tensors) != sorted(tensors)
    return len(found[-1]) if len(found) == 1 or (found and ordered) else None


def split(name: str, where: str) -> tuple[str, str]:
    """`layer1.0.bn1.gamma` -> its layer and torch's word for the tensor, ("layer1.0.bn1", "weight")."""
    found = _LEAF.fullmatch(name) or _FLAT.fullmatch(name)
    if found is None:
        raise InputError(
            f"{where}: {name} is no weight, bias or statistic of a convolution, norm or classifier; wanted only these"
        )
    return found[1] or "", _LEAVES.get(found[2], found[2])


def _layer(name: str, leaves: Mapping[str, Tensor], where: str) -> Layer:
    weight = leaves.get("weight")
    kept = tuple(sorted(leaf for leaf in leaves if leaf != TRACKED))
    if weight is not None and weight.dim() in (2, 4):
        return Layer(name, "weighted", (*weight.shape, 1, 1)[:4], kept)
    if weight is not None and weight.dim() == 3 and weight.shape[:2] == (1, 1):
        return Layer(name, "weighted", tuple(weight.shape), kept)
    if weight is not None and weight.dim() == 1:
        return Layer(name, "norm", tuple(weight.shape), kept)
    raise InputError(f"{where}: {name} ({', '.join(leaves)}) is no convolution, norm or classifier; wanted only these")


def comes_before(a: Layer, b: Layer, x: str, y: str) -> bool | None:
    """Whether the names say that x comes before y; None where they say nothing."""
    if a.unit == b.unit and "shortcut" in (a.place, b.place) and a.place != b.place:
        aside = [bool(_ASIDE.search(name.lower())) for name in _apart(x, y)]
        return None if aside[0] == aside[1] else aside[0] == (a.place == "shortcut")
    one, other = _apart(x, y)
    if re.sub(r"\d+", "#", one) == re.sub(r"\d+", "#", other):
        return natural(one) < natural(other)
    if re.fullmatch(r"(.*[^a-z])?[a-z]", one) and re.fullmatch(r"(.*[^a-z])?[a-z]", other) and one[:-1] == other[:-1]:
        return one < other
    if "" in (a.unit, b.unit) and a.unit != b.unit:
        depths = [len(re.split(r"[./]", name)) for name in (x, y)]
        return True if (depths[0] < depths[1]) == (a.unit == "") else None
    return None


def _apart(x: str, y: str) -> tuple[str, str]:
    """The first parts in which two names differ."""
    one, other = re.split(r"[./]", x), re.split(r"[./]", y)
    for first, second in zip(one, other, strict=False):
        if first != second:
            return first, second
    return one[-1], other[-1]
