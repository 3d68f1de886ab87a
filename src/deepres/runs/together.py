"""How many images are answered together."""

from math import isqrt

import torch

from deepres.data.images import Images
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.views import Views

BATCH = 250
"""Images answered together, at most."""

PIXELS = 2**20
"""Pixels of one batch on a CPU, at most; ours: larger batches take more memory and no less time, see
`evidence/evaluation_batches.json`."""


def batch_size(side: int, device: torch.device) -> int:
    """How many images of side x side pixels are answered together: `BATCH`, on a CPU at most `PIXELS` pixels."""
    return max(1, min(BATCH, PIXELS // side**2)) if device.type == "cpu" else BATCH


def largest_side(images: Images, preparation: Preparation, showing: Views | None) -> int:
    """The largest side that the network gets to see, in pixels; of files that are kept as they are 32 is assumed."""
    if showing is not None:
        return showing.crop or max(showing.sides)
    if preparation.fit == "sides":
        height, width = preparation.input(0)
        return isqrt(height * width)
    own = 32 if images.pixels is None else max(images.pixels.shape[-2:])
    return preparation.size or own
