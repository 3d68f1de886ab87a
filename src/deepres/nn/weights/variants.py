"""The variant guard: weights fit other networks name for name and shape for shape, and are silently wrong there.

A ResNet-50's weights with the stride in the 3x3 ("v1.5") load into one with the stride in the 1x1, into one with
blurred pooling; a plain network's load into a residual one with option A. So the description travels with all weights
that deepres writes, and a difference is refused. Weights that do not say are taken where only one network, of the
catalogue and of the libraries whose names they have, has their tensors, or where the user says which.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files

from torch import Tensor

from deepres.arch.architecture import Architecture, unit_names, with_classes
from deepres.arch.catalogue import lookup
from deepres.arch.detector import naming
from deepres.arch.families.densenet import DenseNetConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.readings.diff import difference, what_shapes_tensors
from deepres.base.errors import InputError
from deepres.nn.build import build
from deepres.nn.weights.convert import TIMM, conventions_for, kind_of, to_foreign
from deepres.nn.weights.formats import Checkpoint

LIBRARIES = "namesakes.json"
"""Signature of tensors -> the libraries' residual networks that have them, written by `evidence/namesakes.py`."""
_KNOWN = {"timm": set(TIMM.values()), "torchvision": set(lookup.CATALOGUE)}
"""Library -> its networks that are described here, under its names."""


def require_variant(
    wanted: Architecture, stored: Checkpoint, convention: str, variant: str | None = None, called: str | None = None
) -> None:
    """Refuse weights that were trained as another network than `wanted`, or that do not say as which.

    `convention` is whose names the tensors have, `variant` the catalogue's name of the network that the user says they
    are of, `called` what `wanted` is called with its edits. What acts in training only, the number of classes and the
    input's size may differ.

    Raises:
        InputError: one line with the first differing layer and both values, or with the networks that they fit.
    """
    said = None if stored.description is None else naming(stored.description, stored.where)
    if variant is not None:
        claimed = described(variant, stored.where)
        if said is not None:
            _require_same(said, claimed, f"{stored.where}: the weights say {said.name}, not {variant}")
        said = claimed
    if said is not None:
        remedy = "leave the edits of the description out" if said.name == wanted.name else f"build {said.name}"
        _require_same(said, wanted, f"{stored.where}: weights of {said.name}, not of this {wanted.name}", remedy)
        return
    alike = [*lookalikes(wanted, convention), *namesakes(wanted, convention)]
    if alike:
        own = called or wanted.name
        raise InputError(
            f"{stored.where}: these tensors fit {', '.join([own, *alike])} alike and the file does not say "
            f"which it is; say so with --variant (in Python variant=), such as --variant {own}"
        )


def lookalikes(wanted: Architecture, convention: str = "deepres") -> tuple[str, ...]:
    """The catalogue's networks that have the same tensors, under names of that library, and compute something else."""
    others = ((name, lookup.architecture(name)) for name in _fitting(wanted))
    return tuple(
        name
        for name, other in others
        if difference(other, wanted) is not None and (convention == "deepres" or kind_of(other) == kind_of(wanted))
    )


def namesakes(wanted: Architecture, convention: str) -> tuple[str, ...]:
    """The libraries' networks with `wanted`'s tensors, of these names, that no description here is known to equal.

    Such as `timm's resnetaa50` for resnet50: its downsampling is smoothed.
    """
    if convention not in _KNOWN:
        return ()
    whole = with_classes(wanted, 1000).replace(input=(3, *wanted.input[1:]))
    if convention not in conventions_for(whole):
        return ()
    shared = _libraries().get(signature(to_foreign(build(whole).state_dict(), whole, convention)), [])
    pairs = [name.split() for name in shared]
    return tuple(f"{library}'s {name}" for library, name in pairs if name not in _KNOWN[library])


def signature(tensors: Mapping[str, Tensor]) -> str:
    """Twelve hexadecimal digits of the names and shapes of all weights: what a state dict shows of its network."""
    shapes = sorted((name, *t.shape) for name, t in tensors.items() if not name.endswith("num_batches_tracked"))
    return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:12]


@lru_cache(maxsize=1)
def _libraries() -> dict[str, list[str]]:
    text = files("deepres.nn.weights").joinpath(LIBRARIES).read_text(encoding="utf-8")
    found: dict[str, list[str]] = json.loads(text)["networks"]
    return found


def described(variant: str, where: str) -> Architecture:
    """The catalogue's network of that name.

    Raises:
        InputError: a library's network that is not described here; no such name.
    """
    theirs = [name for names in _libraries().values() for name in names if name.split()[1] == variant]
    if theirs and variant not in lookup.CATALOGUE:
        raise InputError(
            f"{where}: {theirs[0].split()[0]}'s {variant} is not among deepres's networks, and none of them computes "
            "the same; use it in {theirs[0].split()[0]}"
        )
    return lookup.architecture(variant)


def _fitting(wanted: Architecture) -> Iterator[str]:
    units, tensors = len(unit_names(wanted)), what_shapes_tensors(wanted)
    for name, entry in lookup.CATALOGUE.items():
        config = entry.config
        if isinstance(config, ResNetConfig | DenseNetConfig) and sum(config.depths) != units:
            continue  # told apart without writing the description out
        if _tensors_of(name) == tensors:
            yield name


@lru_cache(maxsize=128)
def _tensors_of(name: str) -> dict[str, dict[str, object]]:
    return what_shapes_tensors(lookup.architecture(name))


def _require_same(there: Architecture, here: Architecture, refusal: str, remedy: str = "leave --variant out") -> None:
    found = difference(there, here)
    if found is not None:
        raise InputError(f"{refusal}: {found.name} is {found.first} there, {found.second} here; {remedy}")
