"""Which of the catalogue's networks the layers of a file fit, whatever their names."""

from collections import Counter
from collections.abc import Iterator, Mapping

from torch import Tensor

from deepres.arch.architecture import Architecture, with_classes, with_input
from deepres.arch.catalogue import lookup
from deepres.base.errors import InputError
from deepres.nn.weights.structure import layers_of, match
from deepres.nn.weights.unnamed import Layer, classes_in, layers_in, stem_of

LayerCounts = Counter[tuple[str, tuple[int, ...], tuple[str, ...]]]


def fitting(tensors: Mapping[str, Tensor]) -> list[str]:
    """The catalogue's names of all networks that the layers fit, by `structure.match`; several fit alike.

    Numbers of classes and of input channels are taken from the file.

    Raises:
        InputError: a tensor that belongs to no layer.
    """
    given, _ = layers_in(tensors)
    wanted = _layer_counts(given)
    return [
        name
        for name, architecture in _candidates(given, classes_in(tensors))
        if _layer_counts(layers_of(architecture)) == wanted and _fits(tensors, architecture)
    ]


def as_given(architecture: Architecture, tensors: Mapping[str, Tensor]) -> Architecture:
    """The network with the file's number of classes and of input channels."""
    return _shaped(architecture, classes_in(tensors), channels_in(tensors))


def channels_in(tensors: Mapping[str, Tensor]) -> int | None:
    """The channels that the file's first convolution sees; None where there is none, or it is no such file."""
    try:
        return _channels(layers_in(tensors)[0])
    except InputError:
        return None


def _candidates(given: list[Layer], classes: int | None) -> Iterator[tuple[str, Architecture]]:
    """Those with as many layers, told by their depths before a description is written out."""
    weighted = sum(layer.kind == "weighted" for layer in given)
    for name, entry in lookup.CATALOGUE.items():
        depths = getattr(entry.config, "depths", None)
        if depths is None or sum(depths) <= weighted <= 8 * sum(depths) + 8:
            yield name, _shaped(entry.config.architecture(), classes, _channels(given))


def _layer_counts(layers: list[Layer]) -> LayerCounts:
    return Counter((layer.kind, layer.shape, layer.leaves) for layer in layers)


def _channels(given: list[Layer]) -> int | None:
    stem = stem_of(given)
    return None if stem is None else stem.shape[1]


def _shaped(architecture: Architecture, classes: int | None, channels: int | None) -> Architecture:
    if classes is not None and architecture.num_classes != classes:
        architecture = with_classes(architecture, classes)
    if channels in (1, 2, 3, 4) and architecture.input[0] != channels:
        architecture = with_input(architecture, (channels, *architecture.input[1:]))
    return architecture


def _fits(tensors: Mapping[str, Tensor], architecture: Architecture) -> bool:
    try:
        match(tensors, architecture)
    except InputError:
        return False
    return True


def nearest(tensors: Mapping[str, Tensor]) -> Architecture:
    """The catalogue's network that shares most layers, by kind and shape, with a file that none fits."""
    given, _ = layers_in(tensors)
    facts = _layer_counts(given)
    found = (architecture for _, architecture in _candidates(given, classes_in(tensors)))
    return max(
        found,
        key=lambda architecture: _shared(facts, _layer_counts(layers_of(architecture))),
        default=lookup.architecture("resnet18"),
    )


def _shared(one: LayerCounts, other: LayerCounts) -> int:
    """Layers in common, less those that either has alone."""
    return 2 * (one & other).total() - (one | other).total()
