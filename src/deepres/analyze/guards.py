"""How an analysis asks a network about images: they fit, they lie on its device, it is left as it was found."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import length_hint

import torch
from torch import Tensor

from deepres.arch.algebra import shape
from deepres.arch.architecture import Architecture
from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.data.images import Batch
from deepres.nn.build import ResidualNetwork
from deepres.nn.hooks import left_as_found


def counted(batches: Iterable[Batch], on_progress: OnProgress | None) -> Iterator[Batch]:
    """The batches; after each one `on_progress` hears how many of how many are done."""
    total = length_hint(batches, 0)
    for done, batch in enumerate(batches, start=1):
        yield batch
        if on_progress is not None:
            on_progress(done, total)


def on_device(network: ResidualNetwork, x: Tensor) -> Tensor:
    """`x` in the type and on the device of the network's parameters."""
    return x.to(next(network.parameters()))


@contextmanager
def evaluating(network: ResidualNetwork) -> Iterator[None]:
    """Within it the network is in evaluation mode and nothing is differentiated; afterwards it is as it was found."""
    with left_as_found(network), torch.inference_mode():
        network.eval()
        yield


def smallest_side(description: Architecture) -> int:
    """The smallest S for which an S x S image passes through the whole network, by the description's shapes alone."""
    limit = max(description.input[1:])
    return 1 + bisect_left(range(1, limit + 1), True, key=lambda side: _passes(description, side, side))


def require_size(description: Architecture, channels: int, height: int, width: int, *, lost: int = 0) -> None:
    """Refuse images that do not pass through the network; `lost` px of their sides went into shifts.

    Raises:
        InputError: too small (the smallest size is named), or of other channels.
    """
    if channels != description.input[0]:
        wanted = description.input[0]
        raise InputError(
            f"images of {channels} channels: {description.name} takes {wanted}; prepare them with {wanted}"
        )
    if min(height, width) < 1 or not _passes(description, height, width):
        side = smallest_side(description) + lost
        remedy = "smaller shifts or larger images" if lost else "larger images"
        raise InputError(
            f"images of {width + lost} x {height + lost} px: too small for {description.name}"
            f"{f' shifted by up to {lost} px' if lost else ''}; wanted at least {side} x {side} px; give {remedy}"
        )


def some(images: int) -> int:
    """The number of images, which is not 0; InputError where it is."""
    if not images:
        raise InputError("no image was given, so there is nothing to measure; give at least one")
    return images


def _passes(description: Architecture, height: int, width: int) -> bool:
    try:
        shape(description.tree, (description.input[0], height, width))
    except InputError:
        return False
    return True
