"""Boxes as offsets from other boxes, and back (Girshick et al. 2014, appendix C); boxes cut at the picture's border.

Boxes are (x1, y1, x2, y2), half open, in px; B of them.
"""

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

FURTHEST = log(1000 / 16)
"""Offsets of width and height are cut here: a box of 16 px becomes 1,000 px at most."""


def encode(boxes: Tensor, references: Tensor, deviations: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """(dx, dy, dw, dh) = ((x - x_r) / w_r, (y - y_r) / h_r, log(w / w_r), log(h / h_r)) times `deviations`, by centres.

    (B, 4), (B, 4) -> (B, 4)
    """
    sides_r = references[:, 2:] - references[:, :2]
    sides = boxes[:, 2:] - boxes[:, :2]
    centres_r, centres = references[:, :2] + 0.5 * sides_r, boxes[:, :2] + 0.5 * sides
    scale = boxes.new_tensor(deviations)
    return torch.cat([scale[:2] * (centres - centres_r) / sides_r, scale[2:] * torch.log(sides / sides_r)], dim=1)


def decode(offsets: Tensor, references: Tensor, deviations: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """The boxes that `encode` was given, dw and dh cut at `FURTHEST`: (B, 4), (B, 4) -> (B, 4)."""
    sides = references[:, 2:] - references[:, :2]
    centres = references[:, :2] + 0.5 * sides
    scale = offsets.new_tensor(deviations)
    moved = offsets[:, :2] / scale[:2] * sides + centres
    half = 0.5 * (torch.exp((offsets[:, 2:] / scale[2:]).clamp(max=FURTHEST)) * sides)
    return torch.cat([moved - half, moved + half], dim=1)


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Corners within a picture of `size` (height, width): (B, 4) -> (B, 4)."""
    height, width = size
    x, y = boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1)


def large_enough(boxes: Tensor, least_px: float) -> Tensor:
    """Which boxes have sides of `least_px` or more: bool (B,)."""
    return (boxes[:, 2:] - boxes[:, :2] >= least_px).all(1)
