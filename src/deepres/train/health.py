"""Whether a run is alive: its loss and its tensors are finite, and of a size that can be computed with."""

from collections.abc import Mapping
from math import isfinite

from torch import Tensor

from deepres.base.errors import InputError

LARGEST_LOSS = 1e4
"""Mean cross-entropy above which a network is lost (the right class gets e^-10000). Ours; badly scaled images that a
network without norms is given begin at some hundreds."""

LARGEST_VALUE = 1e12
"""Magnitude above which no weight, norm statistic or velocity can be computed with. Ours: squares and their sums leave
float32 at about 1e19, and a network that learns stays below 1e6."""


class DivergedError(InputError):
    """The loss or the weights are lost: not finite, or far beyond what can be learnt from.

    `images` are the places of the step's images, where one step is to blame.
    """

    def __init__(self, message: str, images: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.images = images


def lost(loss: float) -> bool:
    """Whether a network with this mean cross-entropy learns no more."""
    return not isfinite(loss) or loss > LARGEST_LOSS


def fault(tensors: Mapping[str, Tensor]) -> str | None:
    """`stem.conv.weight is not finite`, of the first tensor with which a network is lost; None where all are sound."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        largest = float(tensor.detach().abs().amax())  # a NaN among them comes out
        if not isfinite(largest):
            return f"{name} is not finite"
        if largest > LARGEST_VALUE:
            return f"{name} is as large as {largest:.0e}"
    return None
