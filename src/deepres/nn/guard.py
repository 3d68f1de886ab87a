"""The variant guard: weights fit other networks name for name and shape for shape, and are silently wrong there.

A ResNet-50's weights with the stride in the 3x3 ("v1.5") load into one with the stride in the 1x1, into one with
blurred pooling; a plain network's load into a residual one with option A. So the description travels with all weights
that deepres writes, and a difference is refused. Weights that do not say are taken where only one network of the
catalogue has their tensors, where their names are a library's that has just one of these networks, or where the user
says which.
"""

from collections.abc import Iterator

from deepres.base.errors import InputError
from deepres.nn.foreign import CIFAR10, TIMM, kind_of
from deepres.nn.layouts import Stored
from deepres.spec import catalogue
from deepres.spec.densenet import DenseNetConfig
from deepres.spec.difference import difference, same_tensors
from deepres.spec.network import Network, unit_names
from deepres.spec.resnet import ResNetConfig

_AS_TIMM = ("timm", "torchvision", "transformers", "mmpretrain")


def require_variant(wanted: Network, stored: Stored, convention: str, variant: str | None = None) -> None:
    """Refuse weights that were trained as another network than `wanted`, or that do not say as which.

    `convention` is whose names the tensors have, `variant` the catalogue's name of the network that the user says they
    are of. What acts in training only, the number of classes and the input's size may differ.

    Raises:
        InputError: one line with the first differing layer and both values, or with the networks that they fit.
    """
    said = stored.description
    if variant is not None:
        claimed = catalogue.network(variant)
        if said is not None:
            _require_same(said, claimed, f"{stored.where}: the weights say {said.name}, not {variant}")
        said = claimed
    if said is not None:
        remedy = "leave the edits of the description out" if said.name == wanted.name else f"build {said.name}"
        _require_same(said, wanted, f"{stored.where}: weights of {said.name}, not of this {wanted.name}", remedy)
        return
    alike = lookalikes(wanted)
    if not alike:
        return
    known = library_variant(wanted, convention)
    if known is None:
        fits = ", ".join([wanted.name, *alike])
        raise InputError(
            f"{stored.where}: these tensors fit {fits} alike and the file does not say which it is; "
            f"say so with --variant (in Python variant=), such as --variant {wanted.name}"
        )
    _require_same(
        catalogue.network(known),
        wanted,
        f"{stored.where}: {convention} means {known} by these names, not this {wanted.name}",
        f"build {known}, or say --variant {wanted.name} (in Python variant=) if they were trained as that",
    )


def lookalikes(wanted: Network) -> tuple[str, ...]:
    """The catalogue's networks that have the same tensors and compute something else."""
    return tuple(name for name in _fitting(wanted) if difference(catalogue.network(name), wanted) is not None)


def library_variant(wanted: Network, convention: str) -> str | None:
    """The one network with `wanted`'s tensors that a library has under these names; None where it has none."""
    if convention == CIFAR10:
        known = [name for name in catalogue.names("resnet*_cifar") if name.removeprefix("resnet")[:-6].isdigit()]
    else:
        known = list(TIMM) if convention in _AS_TIMM else []
    kind = kind_of(wanted)
    return next((n for n in _fitting(wanted) if n in known and kind_of(catalogue.network(n)) == kind), None)


def _fitting(wanted: Network) -> Iterator[str]:
    units = len(unit_names(wanted))
    for name, entry in catalogue.CATALOGUE.items():
        config = entry.config
        if isinstance(config, ResNetConfig | DenseNetConfig) and sum(config.depths) != units:
            continue  # told apart without writing the description out
        if same_tensors(config.network(), wanted):
            yield name


def _require_same(there: Network, here: Network, refusal: str, remedy: str = "leave --variant out") -> None:
    found = difference(there, here)
    if found is not None:
        raise InputError(f"{refusal}: {found.name} is {found.first} there, {found.second} here; {remedy}")
