"""What trains and what stays: frozen parts, whose norms keep their statistics."""

from collections.abc import Iterable

from torch import nn

from deepres.base.errors import unknown


def freeze(network: nn.Module, parts: Iterable[str]) -> None:
    """Training mode, but for `parts`: their parameters take no gradient, and their norms use and keep their statistics.

    Raises:
        InputError: the network has no part of that name; the nearest are offered.
    """
    children = dict(network.named_children())
    network.train().requires_grad_(True)
    for name in parts:
        if name not in children:
            raise unknown("train.frozen", name, children)
        children[name].eval().requires_grad_(False)
