"""The training stream: one epoch's permutation after another, without end, cut into full batches.

Place s of the stream is image `permutation(seed, s // n, n)[s % n]`; step t draws places t*B … (t+1)*B - 1. Hence any
step's batch is known without drawing those before it, every batch is full (it may cross an epoch's end, also when
n < B), and every epoch holds each image once.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from deepres.data.rng import generator


class Draw(NamedTuple):
    """What one step draws: `indices` int64 (B,) into the set, `places` int64 (B,) in the stream."""

    indices: Tensor
    places: Tensor


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, n: int) -> Tensor:
    """The order of epoch `epoch` over `n` images, int64 (n,): a function of its three arguments. Do not write to it."""
    return torch.randperm(n, generator=generator(seed, "order", epoch))


def batch_at(
    step: int, batch_size: int, n: int, seed: int, *, shuffle: bool = True, rank: int = 0, world: int = 1
) -> Draw:
    """What step `step` draws from `n` images; process `rank` of `world` gets its contiguous slice of the global batch.

    Without `shuffle` every epoch has the set's own order. `batch_size` is the global one, a multiple of `world`.
    """
    assert n > 0
    assert batch_size % world == 0
    share = batch_size // world
    first = step * batch_size + rank * share
    places = torch.arange(first, first + share)
    if not shuffle:
        return Draw(places % n, places)
    parts = []
    for epoch in range(first // n, (first + share - 1) // n + 1):
        begin, end = max(first - epoch * n, 0), min(first + share - epoch * n, n)
        parts.append(permutation(seed, epoch, n)[begin:end])
    return Draw(torch.cat(parts), places)


def steps_in(epochs: int, n: int, batch_size: int) -> int:
    """Steps until `epochs` epochs are complete: ceil(epochs * n / B)."""
    return -(-epochs * n // batch_size)


def epoch_ends(epochs: int, n: int, batch_size: int) -> tuple[int, ...]:
    """After how many steps each epoch is complete: ceil((e + 1) * n / B) for e = 0, 1, …; equal ones where n < B."""
    return tuple(steps_in(epoch + 1, n, batch_size) for epoch in range(epochs))
