"""What training minimises: Huber's loss of standardised numbers."""

import torch
import torch.nn.functional as F
from torch import Tensor

from deepres.data.images import Batch
from deepres.data.on_device import finer
from deepres.data.targets import tensor_of
from deepres.tasks.losses import Counts, Forward, Loss


def huber(mean: tuple[float, ...], std: tuple[float, ...], delta: float) -> Loss:
    """mean over images and columns of e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2) (Huber 1964).

    e = outputs - (y - mean) / std, so that columns of all units weigh alike. Computed in float32 whatever the network's
    precision. `distance` counts mean |e| over the columns of each image, in standard deviations.
    """

    def loss(network: Forward, batch: Batch) -> tuple[Tensor, Counts]:
        outputs = network(batch.images).float()
        wanted = standardised(tensor_of(batch.targets), mean, std).float().to(outputs.device)
        value = F.huber_loss(outputs, wanted, delta=delta)
        return value, {"distance": finer((outputs.detach() - wanted).abs()).mean(1).sum()}

    return loss


def standardised(targets: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(y - mean) / std, (N, K), in the targets' own precision."""
    return (targets - _like(mean, targets)) / _like(std, targets)


def in_units(outputs: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """mean + std z, (…, K) float64: the inverse of `standardised`."""
    z = finer(outputs)
    return z * _like(std, z) + _like(mean, z)


def _like(values: tuple[float, ...], other: Tensor) -> Tensor:
    return torch.tensor(values, dtype=other.dtype, device=other.device)
