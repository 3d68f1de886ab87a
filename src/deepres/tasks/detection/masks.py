"""Masks of S x S values a region: what is learnt of an object within a box, and an answer pasted back into its picture.

Aligned, value (i, j) stands for the middle of cell (i, j) of the box, half a pixel being where a pixel's middle is; not
aligned, as torchvision has it, targets lie half a pixel off and are pasted to whole pixels. P regions, M boxes.
"""

from collections.abc import Iterator
from math import ceil, floor

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import roi_align

from deepres.data.masks import Masks
from deepres.data.run_lengths import RunLengths, of_bitmap, of_part

INSIDE = 0.5
"""A pixel belongs to an object from this probability on."""

_AT_ONCE = 2**24  # pixels of masks that are pasted at once


def wanted(masks: Masks, boxes: Tensor, matched: Tensor, size: tuple[int, int], side: int, *, aligned: bool) -> Tensor:
    """The share of an object in each cell of a box: boxes (P, 4), `matched` (P,) its object -> (P, side, side).

    The object is rasterised in the picture of `size` (H, W) and cut out by RoIAlign (He et al. 2017, section 3.1).
    """
    found = boxes.new_zeros(len(boxes), side, side)
    for place in sorted(set(matched.tolist())):
        own = (matched == place).nonzero()[:, 0]
        pixels = torch.from_numpy(np.ascontiguousarray(masks.bitmap(place, size))).to(boxes.device)
        regions = torch.cat([boxes.new_zeros(len(own), 1), boxes[own]], 1)
        found[own] = roi_align(pixels.to(boxes.dtype)[None, None], regions, side, 1.0, -1, aligned)[:, 0]
    return found


def pasted(values: Tensor, corners: Tensor, size: tuple[int, int], *, aligned: bool) -> Tensor:
    """(M, S, S) within boxes (M, 4) -> (M, H, W) of a picture of `size`, below half of any value outside of its box.

    Aligned: values are interpolated between the middles of cells; those of the outermost fall to 0 within a cell, so
    that at the border of the box half is left.
    """
    if aligned:
        whole = (slice(0, size[0]), slice(0, size[1]))
        return torch.stack([_one(*each, *whole) for each in zip(values, corners, strict=True)])
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    found: Tensor = paste_masks_in_image(values[:, None], corners, size)
    return found[:, 0]


def runs_of(values: Tensor, corners: Tensor, size: tuple[int, int], *, aligned: bool) -> Iterator[RunLengths]:
    """The pixels of a probability of `INSIDE` or more, box by box, as run lengths of a picture of `size` (H, W).

    Aligned, none lies outside of its box, where nothing is computed.
    """
    if aligned:
        for own, box in zip(values, corners, strict=True):
            x1, y1, x2, y2 = box.tolist()
            rows, columns = (slice(*_within(*each)) for each in ((y1, y2, size[0]), (x1, x2, size[1])))
            pixels = (_one(own, box, rows, columns) >= INSIDE).cpu().numpy()
            yield of_part(pixels, rows.start, columns.start, size)
        return
    step = max(1, _AT_ONCE // max(1, size[0] * size[1]))
    for first in range(0, len(values), step):
        own = slice(first, first + step)
        for pixels in (pasted(values[own], corners[own], size, aligned=False) >= INSIDE).cpu().numpy():
            yield of_bitmap(pixels)


def _one(values: Tensor, box: Tensor, rows: slice, columns: slice) -> Tensor:
    x1, y1, x2, y2 = box.tolist()
    return _weights(y1, y2, rows, values) @ values @ _weights(x1, x2, columns, values).T


def _within(low: float, high: float, pixels: int) -> tuple[int, int]:
    """The pixels whose middle may lie from `low` to `high`: the first, and behind the last."""
    return min(max(0, floor(low)), pixels), min(max(0, ceil(high)), pixels)


def _weights(low: float, high: float, pixels: slice, values: Tensor) -> Tensor:
    """How much of each of the S values lies in each of these pixels along one axis: (pixels, S)."""
    cells = values.shape[-1]
    middles = torch.arange(pixels.start, pixels.stop, device=values.device, dtype=torch.float64) + 0.5
    at = (middles - low) / max(high - low, 1e-9) * cells - 0.5
    shares = (1 - (at[:, None] - torch.arange(cells, device=values.device, dtype=torch.float64)).abs()).clamp(min=0)
    return shares.to(values.dtype)
