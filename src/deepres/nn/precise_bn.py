"""Norm statistics as true averages over batches (the practice of He et al. 2015), in place of running ones."""

from collections.abc import Collection, Iterable
from itertools import chain

import torch
from torch import Tensor, nn

from deepres.nn.hooks import modes_kept


@torch.no_grad()
def precise_bn(network: nn.Module, batches: Iterable[Tensor], frozen: Collection[str] = ()) -> int:
    """Replace each norm's running mean and variance by their plain averages over `batches` (N, C, H, W).

    A running statistic weighs the newest batches most, and holds values from before the last steps; the average gives
    each batch the same weight under the final parameters. Parameters and training modes stay as they are, so do counts
    of batches, and the statistics of the parts in `frozen`.

    Returns:
        The number of batches averaged.

    Raises:
        ValueError: there were none.
    """
    norms = [
        module
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and name.partition(".")[0] not in frozen
    ]
    kept = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms if norm.num_batches_tracked is not None]
    iterator = iter(batches)
    first = next(iterator, None)
    if first is None:
        raise ValueError("no batches to average the norm statistics over; give at least one")
    count = 0
    with modes_kept(network):
        network.eval()
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # torch: cumulative average
                norm.train()
            for images in chain([first], iterator):
                network(images)
                count += 1
        finally:
            for norm, (momentum, seen) in zip(norms, kept, strict=True):
                norm.momentum = momentum
                assert norm.num_batches_tracked is not None
                norm.num_batches_tracked.copy_(seen)
    return count
