"""Norm statistics in the first steps of a run from nothing: of the last batches, under the weights as they are."""

from collections import deque
from collections.abc import Collection

import torch
from torch import nn

from deepres.data.images import Batch
from deepres.nn.precise_bn import precise_bn
from deepres.train.distributed import Distributed
from deepres.train.precision import Precision

SETTLED = 100
"""Steps after which running statistics are trusted: ten times the memory of a norm in which the newest weighs 0.1."""

ENOUGH = 256
"""Images that statistics are averaged over."""


class Settling:
    """At the end of an epoch within the first `SETTLED` steps, norm statistics become averages over the last batches.

    Running statistics begin as mean 0 and variance 1, which weigh 0.9^6 = 0.53 after six steps, and the rest of them is
    of weights that have moved far since: each layer is a little wrong, and over 18 layers the held-out loss was 8,630
    where batch statistics gave 2.9. Leaving out the beginning alone still gave 5,331. So the last batches pass once
    more, `ENOUGH` images of them or an epoch's, cut as in their steps: a tenth to a third of those steps' time.

    In training norms use their batch, so weights learn as before, bit by bit. The batches are those of the newest
    steps and a function of the step; a run that is resumed draws them again (`first`). They stay in memory meanwhile.
    Where the first epoch is longer, the network has no such norms, or `total` (the steps of the run) is None since it
    began with trained weights, nothing is kept and nothing happens.
    """

    def __init__(self, network: nn.Module, batch_size: int, num_images: int, total: int | None) -> None:
        epoch = max(1, num_images // batch_size)
        ends = SETTLED + 1 if total is None else min(total, -(-num_images // batch_size))
        has = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        self._kept: deque[tuple[Batch, int]] = deque(maxlen=min(epoch, -(-ENOUGH // batch_size)))
        self._until = SETTLED if has and ends <= SETTLED else 0

    def first(self, step: int) -> int:
        """The step whose batch is the first that matters to what happens from `step` on."""
        return max(0, step + 1 - (self._kept.maxlen or 1)) if step < self._until else step

    def see(self, batch: Batch, pieces: int, step: int) -> None:
        """The batch of `step` and the number of pieces it is computed in."""
        if step < self._until:
            self._kept.append((batch, pieces))
        else:
            self._kept.clear()

    def settle(
        self, judged: nn.Module, frozen: Collection[str], precision: Precision, step: int, processes: Distributed
    ) -> None:
        """Average the statistics of `judged`, but for its `frozen` parts, after so many steps."""
        if step > self._until or not self._kept:
            return
        pieces = [piece for batch, number in self._kept for piece in batch.images.tensor_split(number)]
        with torch.no_grad(), precision.autocast():
            precise_bn(judged, (precision.images(piece) for piece in pieces), frozen)
        processes.mean([buffer for buffer in judged.buffers() if buffer.is_floating_point()])
