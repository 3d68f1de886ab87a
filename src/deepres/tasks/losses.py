"""What a loss is: a network and a batch in, a mean to be minimised and sums to be counted out."""

from collections.abc import Callable

from torch import Tensor

from deepres.data.images import Batch

Counts = dict[str, Tensor]
"""Sums over images, by name: training adds them up over pieces, steps and processes. `wrong` counts wrong images."""

Forward = Callable[[Tensor], Tensor]
"""images (N, C, H, W) -> outputs (N, K): a network, or what stands in for it in training (compiled, wrapped)."""

Loss = Callable[[Forward, Batch], tuple[Tensor, Counts]]
"""loss(network, batch) -> (mean loss, counts), over the images of the batch."""
