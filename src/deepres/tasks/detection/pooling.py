"""RoIAlign as sums of rows: each bin of a region is a weighted mean of places of its map (He et al. 2017, section 3).

`torchvision.ops.roi_align` computes the same from maps whose channels lie apart; where they lie side by side (as
convolutions like them) a bin is a few whole rows, which are added five times as fast. R regions, P bins a side, S
samples a bin and side.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def align(
    levels: Sequence[Tensor],
    regions: Tensor,
    level: Tensor,
    strides: Sequence[int],
    pool: int,
    samples: int,
    shift: float,
) -> Tensor:
    """Regions (R, 5), picture and corners in px, of `levels` (N, C, h, w), each of its own `level` (R,): (R, C, P, P).

    A bin is the mean of `samples` x `samples` points between its borders, each interpolated from the four places around
    it; points beyond the map's border by one place or more are 0. `shift` is .5 where a place's middle is its pixel's,
    0 where its corner is: then regions are one place wide at least.
    """
    channels = levels[0].shape[1]
    rows = torch.cat([each.permute(0, 2, 3, 1).reshape(-1, channels) for each in levels])
    sizes = torch.tensor([each.shape[-2:] for each in levels], device=rows.device)
    starts = torch.tensor([0, *(each.numel() // channels for each in levels[:-1])], device=rows.device).cumsum(0)
    height, width = sizes[level].unbind(1)
    corners = regions[:, 1:] / torch.tensor(strides, device=rows.device, dtype=regions.dtype)[level][:, None] - shift
    sides = corners[:, 2:] - corners[:, :2]
    sides = sides if shift else sides.clamp(min=1)
    y, of_y = _along(corners[:, 1], sides[:, 1], height, pool, samples)
    x, of_x = _along(corners[:, 0], sides[:, 0], width, pool, samples)
    first = starts[level] + regions[:, 0].long() * height * width
    line = first[:, None, None] + y * width[:, None, None]
    places = (line[:, :, None, :, None] + x[:, None, :, None, :]).reshape(-1, 4 * samples**2)
    shares = (of_y[:, :, None, :, None] * of_x[:, None, :, None, :]).reshape(-1, 4 * samples**2)
    found = F.embedding_bag(places, rows, mode="sum", per_sample_weights=shares.to(rows.dtype))
    return found.view(regions.shape[0], pool, pool, channels).permute(0, 3, 1, 2)


def _along(start: Tensor, side: Tensor, length: Tensor, pool: int, samples: int) -> tuple[Tensor, Tensor]:
    """Of each bin along one axis the places that its points lie between, and their shares: twice (R, P, 2 S)."""
    points = (torch.arange(pool * samples, device=start.device, dtype=start.dtype) + 0.5) / samples
    at = start[:, None] + points * (side / pool)[:, None]
    last = (length - 1)[:, None].to(start.dtype)
    inside = (at >= -1) & (at <= last + 1)
    at = at.clamp(min=0)
    low = torch.minimum(at.floor(), last)
    part = torch.where(low >= last, torch.zeros_like(at), at - low)
    places = torch.stack([low, torch.minimum(low + 1, last)], dim=2).long()
    shares = torch.stack([1 - part, part], dim=2) * (inside.to(at.dtype)[:, :, None] / samples)
    return places.view(-1, pool, 2 * samples), shares.view(-1, pool, 2 * samples)
