"""What any network of ours tells of itself, whatever it answers: description, classes, which parts are heads."""

from typing import Protocol, cast

from torch import nn

from deepres.arch.detector import Description


class Model(Protocol):
    """A module whose children are the parts of its `description`, by their names there.

    `head_names` are the children that are new where a backbone's weights are taken: they learn alone while the rest
    stands still. `num_classes` are those that its outputs are of.
    """

    @property
    def description(self) -> Description: ...

    @property
    def num_classes(self) -> int: ...

    @property
    def head_names(self) -> tuple[str, ...]: ...


def told_by(network: nn.Module) -> Model:
    """The network as one that tells of itself; AssertionError where it does not."""
    assert hasattr(network, "head_names"), type(network)
    return cast("Model", network)


def body_names(network: nn.Module) -> tuple[str, ...]:
    """The children that are no heads, from the input on."""
    heads = told_by(network).head_names
    return tuple(name for name, _ in network.named_children() if name not in heads)
