"""Weights of others under our names and ours under theirs: name tables by library, and what else differs."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from deepres.arch.algebra import Parallel, at, children
from deepres.arch.architecture import Architecture, feature_shapes
from deepres.arch.atoms import AvgPool, PadChannels
from deepres.arch.catalogue import lookup
from deepres.base.errors import InputError, unknown
from deepres.nn.build import build
from deepres.nn.weights.checkpoints import UnknownNamesError, by_names, stripped
from deepres.nn.weights.names import CIFAR10, CONVENTIONS, NameTable

TIMM: dict[str, str] = {
    **{f"resnet{d}": f"resnet{d}" for d in (18, 34, 50, 101, 152, 200)},
    **{f"seresnet{d}": f"seresnet{d}" for d in (18, 34, 50, 101, 152)},
    **{f"resnet{d}c": f"resnet{d}c" for d in (50, 101, 152)},
    **{f"resnet{d}d": f"resnet{d}d" for d in (18, 34, 50, 101, 152, 200)},
    **{f"resnetrs{d}": f"resnetrs{d}" for d in (50, 101, 152, 200, 270, 350, 420)},
    **{f"resnetv2_{d}": f"resnetv2_{d}" for d in (18, 34, 50, 101, 152)},
    **{f"resnetv2_{d}": f"resnetv2_{d}" for d in ("18d", "34d", "50d", "101d", "152d", "50t")},
    **{f"densenet{d}": f"densenet{d}" for d in (121, 161, 169, 201)},
    **{name: name for name in ("resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d")},
    **{name: name for name in ("wide_resnet50_2", "wide_resnet101_2")},
    **{name: name for name in ("resnet26", "resnet26d", "resnet50_gn", "resnext50d_32x4d")},
    **{name: name for name in ("seresnext50_32x4d", "seresnext101_32x4d", "seresnext101_32x8d", "seresnext101_64x4d")},
    **{name: name for name in ("seresnext26d_32x4d", "seresnext101d_32x8d", "seresnext26t_32x4d", "seresnet50t")},
    **{f"ecaresnet{d}": f"ecaresnet{d}" for d in ("26t", "50t", "50d", "101d", "200d", "269d", "light")},
    **{name: name for name in ("ecaresnext26t_32x4d", "ecaresnext50t_32x4d")},
    **{f"res2net50_{w}": f"res2net50_{w}" for w in ("26w_4s", "14w_8s", "26w_6s", "26w_8s", "48w_2s")},
    **{name: name for name in ("res2net101_26w_4s", "res2next50", "res2net50d", "res2net101d")},
    **{f"resnest{d}": f"resnest{d}" for d in ("14d", "26d", "50d", "101e", "200e", "269e")},
    **{f"resnest50d_{d}": f"resnest50d_{d}" for d in ("4s2x40d", "1s4x24d")},
    **{name: name for name in ("skresnet18", "skresnet34", "skresnet50", "skresnet50d", "skresnext50_32x4d")},
    **{f"seresnet{d}d": f"seresnet{d}d" for d in (152, 200, 269)},
    **{f"resnet{d}s": f"resnet{d}s" for d in (50, 101, 152)},
    **{f"resnet{d}t": f"resnet{d}t" for d in (10, 14, 26, 50)},
}
"""Our name -> the name under which timm has the very same network. Its `resnetblur50` has another pool than the paper's
and no filter in the shortcut."""


class UnknownOrderError(InputError):
    """Names that two libraries have, whose channels are in different orders."""


class Translated(NamedTuple):
    """Tensors under our names, the library whose names they had ("deepres": ours), and the prefix that fell away.

    `others` are the tensors that the network does not have, under the names that they had.
    """

    tensors: dict[str, Tensor]
    convention: str
    prefix: str = ""
    others: tuple[str, ...] = ()


def known_as(description: Architecture) -> str | None:
    """timm's name for this very network (any input, any number of classes); None where it has no such one."""
    name = TIMM.get(description.name)
    return name if name is not None and lookup.architecture(description.name).body == description.body else None


def to_ours(tensors: Mapping[str, Tensor], description: Architecture, where: str = "weights") -> Translated:
    """The tensors under the description's names, by the library whose names they match best; ours are passed on.

    The prefix of a wrapper (`module.`, `model._orig_mod.`, any other) falls away; the number of batches seen is 0 where
    not given.
    pytorch_resnet_cifar10's option A puts zeros on both sides of the real channels: its channels are permuted, the
    function stays. Names do not tell a stride in the 1x1 from one in the 3x3: that is what `weights.guard` is for.

    Raises:
        UnknownNamesError: no name is known; the message has the first one and the libraries tried.
        InputError: two sets of weights.
    """
    libraries = (*conventions_for(description), "deepres")
    tables = {convention: names_in(convention, description) for convention in libraries}
    best, prefix, count = by_names(tensors, {name: table.values() for name, table in tables.items()}, where)
    if not count:
        raise UnknownNamesError(
            f"{where}: {next(iter(tensors), 'nothing')} is no tensor of {description.name} in the names of "
            f"{', '.join(sorted(tables))}; choose the network that these weights belong to"
        )
    if (
        best != CIFAR10
        and CIFAR10 in tables
        and by_names(tensors, {CIFAR10: tables[CIFAR10].values()}, where)[2] == count
    ):
        raise UnknownOrderError(
            f"{where}: without its classifier this {description.name} may have either order of channels, zeros behind "
            f"the real ones or on both sides (as {CIFAR10}); bring the weights with the classifier's (fc or linear)"
        )
    ours_of = {theirs: ours for ours, theirs in tables[best].items()}
    given = stripped(tensors, prefix, where)
    ours = {ours_of.get(name, name): tensor for name, tensor in given.items()}
    others = tuple(
        name
        for name in tensors
        if name.removeprefix(prefix) not in ours_of and not name.endswith("num_batches_tracked")
    )
    for name in _tensor_names(description):
        if name.endswith(".num_batches_tracked") and name.replace("num_batches_tracked", "running_mean") in ours:
            ours.setdefault(name, torch.zeros((), dtype=torch.int64))
    fc = ours.get("head.fc.weight")
    if fc is not None and fc.dim() == 4 and best == "timm":
        ours["head.fc.weight"] = fc.flatten(1)
    if best == CIFAR10:
        ours = _permuted(ours, description, to_theirs=False)
    return Translated(ours, best, prefix, others)


def to_foreign(tensors: Mapping[str, Tensor], description: Architecture, convention: str = "timm") -> dict[str, Tensor]:
    """Our tensors under another library's names: the inverse of `to_ours`.

    Raises:
        InputError: no such library, or it has no network of this kind.
    """
    if convention not in CONVENTIONS:
        raise unknown("library", convention, CONVENTIONS)
    if convention not in conventions_for(description):
        raise InputError(
            f"{description.name}: {convention} has no such network, so no names for its tensors; choose another library"
        )
    names = names_in(convention, description)
    ours = dict(tensors)
    if convention == CIFAR10:
        ours = _permuted(ours, description, to_theirs=True)
    theirs = {names[name]: tensor for name, tensor in ours.items()}
    if convention == "timm" and kind_of(description) == "pre" and "head.fc.weight" in theirs:
        theirs["head.fc.weight"] = theirs["head.fc.weight"][:, :, None, None]
    return theirs


def conventions_for(description: Architecture) -> tuple[str, ...]:
    """The libraries whose names are known for every tensor of a network of this kind."""
    kind = kind_of(description)
    return tuple(name for name, kinds in CONVENTIONS.items() if kind in kinds and _covers(name, description))


def kind_of(description: Architecture) -> str:
    """resnet, resnet-a (zero-padded), resnet-d (pooled projection), pre (activated first), dense, vgg, plain.

    kernels, kernels-d: resnet and resnet-d with two kernels for one.
    """
    parts = dict(description.body)
    if "transition1" in parts:
        return "dense"
    if "final" in parts:
        return "pre"
    units = [unit for stage in parts.values() for _, unit in children(stage) if isinstance(unit, Parallel)]
    branches = [dict(unit.parts).get("branch") for unit in units]
    if units and all("conv" in dict(children(branch)) for branch in branches if branch):
        return "vgg"
    shortcuts = [dict(unit.parts).get("shortcut") for unit in units]
    if not any(shortcuts):
        return "plain"
    if any(isinstance(path, PadChannels) for path in shortcuts):
        return "resnet-a"
    pooled = any(isinstance(part, AvgPool) for path in shortcuts if path for _, part in children(path))
    kernels = any(name.startswith("kernels") for branch in branches if branch for name, _ in children(branch))
    return ("kernels" if kernels else "resnet") + ("-d" if pooled else "")


def names_in(convention: str, description: Architecture) -> dict[str, str]:
    """Our name of each tensor -> the library's; tensors that it has no name for keep ours, as do all in "deepres"."""
    kind = kind_of(description)
    if convention == "deepres":
        return {name: name for name in _tensor_names(description)}
    if kind == "vgg":
        return _vgg_names(description)
    found = {}
    for name in _tensor_names(description):
        module, _, leaf = name.rpartition(".")
        found[name] = f"{_renamed(module, CONVENTIONS[convention][kind]) or module}.{leaf}"
    return found


def _covers(convention: str, description: Architecture) -> bool:
    kind = kind_of(description)
    if kind == "vgg":
        return convention == "torchvision" and "hidden" in dict(children(description.head))
    modules = {name.rpartition(".")[0] for name in _tensor_names(description)}
    return all(_renamed(module, CONVENTIONS[convention][kind]) for module in modules)


def _renamed(module: str, table: NameTable) -> str | None:
    for ours, theirs in table:
        found = _pattern(ours).fullmatch(module)
        if found:
            numbers = {name: int(value) for name, value in found.groupdict().items()}
            fields = {**numbers, **{f"{n}0": v - 1 for n, v in numbers.items()}, "s2": numbers.get("s", 0) + 1}
            return theirs.format(**fields)
    return None


@lru_cache(maxsize=256)
def _pattern(ours: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\d+)", re.escape(ours)))


def _vgg_names(description: Architecture) -> dict[str, str]:
    """torchvision counts convolutions, norms, activations and pools alike: `features.7`."""
    place, places = 0, {}
    for part, stage in description.body:
        for unit, layers in [("", stage)] if part == "stem" else children(stage):
            if isinstance(layers, Parallel):
                layers = dict(layers.parts)["branch"]
            prefix = f"{part}.{unit}.branch" if unit else part
            kinds = [name for name, _ in children(layers) if name in ("conv", "norm")]
            for offset, name in enumerate(kinds):
                places[f"{prefix}.{name}"] = f"features.{place + offset}"
            place += len(kinds) + 1 if kinds else 1  # and its activation; or a pool
    places |= {"head.hidden.fc1": "classifier.0", "head.hidden.fc2": "classifier.3", "head.fc": "classifier.6"}
    found = {}
    for name in _tensor_names(description):
        module, _, leaf = name.rpartition(".")
        found[name] = f"{places.get(module, module)}.{leaf}"
    return found


@lru_cache(maxsize=4)
def _tensor_names(description: Architecture) -> tuple[str, ...]:
    return tuple(build(description).state_dict())


def _permuted(tensors: dict[str, Tensor], description: Architecture, *, to_theirs: bool) -> dict[str, Tensor]:
    """Channels of each stage's maps in our order, the real ones first, then those that were zero; or back."""
    given, order = None, torch.arange(0)

    def turned(tensor: Tensor, order: Tensor, axis: int) -> Tensor:
        """What does not fit stays as it is: whoever loads it says so."""
        fits = tensor.dim() > axis and tensor.shape[axis] == len(order)
        return tensor.index_select(axis, order.argsort() if to_theirs else order) if fits else tensor

    tensors = dict(tensors)
    for stage, shape in feature_shapes(description).items():
        if given is None:
            given, order = shape[0], torch.arange(shape[0])
            continue
        before, new = order, shape[0] - given
        pad = at(description.tree, f"{stage}.unit1.shortcut")
        if isinstance(pad, PadChannels) and pad.zeros == "behind":
            left = torch.arange(new // 2)
            right = torch.arange(shape[0] - (new - new // 2), shape[0])
            order = torch.cat([before + new // 2, left, right])
        for name in [name for name in _tensor_names(description) if name.startswith(f"{stage}.") and name in tensors]:
            _, unit, _, layer, _ = name.split(".")
            entering = before if unit == "unit1" else order
            if layer == "conv1":
                tensors[name] = turned(tensors[name], entering, 1)
            elif layer in ("conv2", "norm2"):
                tensors[name] = turned(tensors[name], order, 0)
        given = shape[0]
    if "head.fc.weight" in tensors:
        tensors["head.fc.weight"] = turned(tensors["head.fc.weight"], order, 1)
    return tensors
