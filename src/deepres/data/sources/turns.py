"""EXIF's turns: where boxes and points of the stored picture lie once it is upright."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ON_ITS_SIDE = (5, 6, 7, 8)
"""Turns that exchange width and height."""


def turned_upright(corners: NDArray[np.float64], size: tuple[int, int], turn: int) -> NDArray[np.float64]:
    """Corners (K, 4) of the stored picture of `size` (W, H) as they are once EXIF's `turn` has put it upright."""
    points = corners.reshape(-1, 2, 2) @ turn_of(size, turn).numpy()[:, :2].T + turn_of(size, turn).numpy()[:, 2]
    return np.concatenate([points.min(1), points.max(1)], 1)


def turn_of(size: tuple[int, int], turn: int) -> Tensor:
    """The map (2, 3) of points (x, y, 1), float64; of turn 1 it changes nothing."""
    width, height = size
    x, y = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
    if turn in (2, 3, 7, 8):  # what is left as stored ends up on the other side: right, or below where axes change
        x = [-1.0, 0.0, float(width)]
    if turn in (3, 4, 6, 7):
        y = [0.0, -1.0, float(height)]
    return torch.tensor([y, x] if turn in ON_ITS_SIDE else [x, y], dtype=torch.float64)
