"""Networks that are asked together about the same images, each prepared as it wants them, and their batches."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from deepres.data.images import Batch
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics


@dataclass(frozen=True, eq=False)
class Participant:
    """A network, what its pictures want, which of its outputs is the first one's output k, `order[k]`, and its task."""

    network: nn.Module
    preparation: Preparation
    statistics: Statistics
    order: tuple[int, ...]
    task: Any = None


@dataclass(frozen=True, eq=False)
class SizedBatch(Batch):
    """A batch whose pictures are there in other sizes, too, or prepared for other networks: `others`."""

    others: tuple[Batch, ...] = ()


def with_others(first: Iterable[Batch], others: Sequence[Iterable[Batch]]) -> Iterator[Batch]:
    """The batches of several loaders of the same pictures, one by one, as one batch each."""
    for batch, *more in zip(first, *others, strict=True):
        assert all(torch.equal(batch.indices, other.indices) for other in more)
        yield SizedBatch(batch.images, batch.targets, batch.indices, batch.pixels, batch.own, tuple(more))
