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


def batch_at(step: int, batch_size: int, n: int, seed: int) -> Draw:
    """What step `step` draws from `n` images; processes share the batch out (`data/loading/loader.py`)."""
    assert n > 0
    first = step * batch_size
    parts = []
    for epoch in range(first // n, (first + batch_size - 1) // n + 1):
        begin, end = max(first - epoch * n, 0), min(first + batch_size - epoch * n, n)
        parts.append(permutation(seed, epoch, n)[begin:end])
    return Draw(torch.cat(parts), torch.arange(first, first + batch_size))


def repeated(draw: Draw, step: int, times: int) -> Draw:
    """Each image of the draw so many times in a row, each at a place of its own, by which it is augmented.

    Berman et al. 2019 (arXiv 1902.05509), section 3.2; Hoffer et al. 2020 (arXiv 1901.09335).
    """
    count = times * len(draw.indices)
    return Draw(draw.indices.repeat_interleave(times), torch.arange(step * count, (step + 1) * count))
