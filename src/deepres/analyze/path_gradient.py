"""One pass through the whole network, and the gradient at its images along any single path of it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepres.analyze.units import RowModule, row_modules, shortcut_and_branch
from deepres.data.images import Batch
from deepres.data.targets import tensor_of
from deepres.nn.build import ResidualNetwork
from deepres.nn.hooks import left_as_found

NormStatistics = Literal["batch", "running"]
"""Which mean and variance batch norms use: those of the batch, as in training, or the running ones."""


class TracedPass:
    """A batch's pass through the whole network, from which the gradient at the images follows along any path.

    Each module's own graph is kept apart, so that a path goes back through its own branches only and needs no pass of
    its own. Use it within `measuring`; labels are int64 (N,).
    """

    def __init__(self, network: ResidualNetwork, batch: Batch) -> None:
        like = next(network.parameters())
        self.links: list[_Link] = []
        with torch.enable_grad():
            x = batch.images.to(like)
            for place in row_modules(network):
                self.links.append(_link(place, x))
                x = self.links[-1].gave.detach()
            self.logits, answer = x, x.detach().requires_grad_()
            loss = F.cross_entropy(answer, tensor_of(batch.targets).to(like.device))
            (self.start,) = torch.autograd.grad(loss, answer)

    def along(self, through: Collection[str]) -> Tensor:
        """d loss / d images (N, C, H, W) along the path through the branches of those units alone."""
        gradient = self.start
        for link in reversed(self.links):
            gradient = link.back(gradient, link.beside if link.name not in through else link.through)
        return gradient

    def whole(self) -> Tensor:
        """d loss / d images (N, C, H, W) along all paths together."""
        gradient = self.start
        for link in reversed(self.links):
            one = link.back(gradient, link.through)
            gradient = one if link.beside is link.through else one + link.back(gradient, link.beside)
        return gradient


@contextmanager
def measuring(network: ResidualNetwork, statistics: NormStatistics) -> Iterator[None]:
    """Within it, only batch norms behave as `statistics` says, all else as in evaluation; afterwards all is as it was.

    Also running statistics, and also after an exception.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    with left_as_found(network):
        try:
            network.eval().requires_grad_(False)
            for norm in norms:
                norm.train(statistics == "batch")
            yield
        finally:
            for buffer, value in before:
                buffer.copy_(value)


class _Link:
    """One module's graph from a leaf `x`: y = act(beside + through); of a module without a choice both are one."""

    def __init__(self, name: str, x: Tensor, beside: Tensor, through: Tensor, joined: Tensor, gave: Tensor) -> None:
        self.name, self.x, self.beside, self.through, self.joined, self.gave = name, x, beside, through, joined, gave

    def back(self, gradient: Tensor, way: Tensor) -> Tensor:
        """The gradient at `x` of the one at `gave`, by `act` and then that way alone."""
        for gave, given in ((self.gave, self.joined), (way, self.x)):
            if gave is not given:
                (gradient,) = torch.autograd.grad(gave, given, gradient, retain_graph=True)
        return gradient


def _link(place: RowModule, x: Tensor) -> _Link:
    x = x.detach().requires_grad_()
    if place.kind != "residual":
        y = place.module(x)
        return _Link(place.name, x, y, y, y, y)
    beside, through = shortcut_and_branch(place, x)
    joined = (beside + through).detach().requires_grad_()
    return _Link(place.name, x, beside, through, joined, place.module.get_submodule("act")(joined))
