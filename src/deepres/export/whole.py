"""Network, normalisation and what its outputs mean as one module: pixels in, probabilities or numbers out."""

from typing import Any

import torch
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.nn.build import ResidualNetwork
from deepres.nn.inference import folded
from deepres.predict.predictor import Predictor


class Whole(nn.Module):
    """y = activated(network((image / 255 - mean) / std)): uint8 (N, C, H, W) of the network's size -> float32 (N, K).

    Norms are folded into convolutions. `activated` is the task's: softmax(z / T), sigmoid(z), mean + std z.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, task: Any, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image: Tensor) -> Tensor:
        """uint8 (N, C, H, W) -> float32 (N, K)."""
        x = (image.to(torch.float32) / 255 - self.mean) / self.std
        y: Tensor = self.task.activated(self.network(x))
        return y.to(torch.float32)


def whole(predictor: Predictor) -> Whole:
    """All that a predictor does to a fitted picture, on the CPU, to rounding.

    Raises:
        InputError: a detector; several networks as one.
    """
    network, preparation, statistics = predictor.network, predictor.preparation, predictor.statistics
    if predictor.others:
        raise InputError("several networks, one a fold, make no single file; export one of them, such as RUN/fold-1")
    if not isinstance(network, ResidualNetwork):
        raise InputError(f"{network.description.name}: finds boxes; wanted --format onnx or pt2, --input fitted")
    channels = preparation.channels
    mean, std = torch.zeros(channels, 1, 1), torch.ones(channels, 1, 1)
    if preparation.normalise == "per_channel":
        mean, std = (values.detach().cpu().float()[:, None, None] for values in (statistics.mean, statistics.std))
    if preparation.normalise == "per_pixel":
        assert statistics.mean_image is not None
        mean = statistics.mean_image.detach().cpu().float()
    return Whole(folded(network).cpu(), predictor.task, mean.clone(), std.clone()).eval()
