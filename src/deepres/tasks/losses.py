"""What a loss is: a network and a batch in, a mean to be minimised and sums to be counted out."""

from collections.abc import Callable

import torch
from torch import Tensor

from deepres.data.images import Batch

Counts = dict[str, Tensor]
"""Sums over images, by name: training adds them up over pieces, steps and processes. `wrong` counts wrong images."""

Forward = Callable[[Tensor], Tensor]
"""images (N, C, H, W) -> outputs (N, K): a network, or what stands in for it in training (compiled, wrapped)."""

Loss = Callable[[Forward, Batch], tuple[Tensor, Counts]]
"""loss(network, batch) -> (mean loss, counts), over the images of the batch."""


class OnceThere:
    """A tensor of the loss, brought to a device once: a captured step copies nothing from the host."""

    def __init__(self, tensor: Tensor) -> None:
        self._on = {tensor.device: tensor}

    def on(self, device: torch.device) -> Tensor:
        """The tensor on that device."""
        if device not in self._on:
            self._on[device] = next(iter(self._on.values())).to(device)
        return self._on[device]
