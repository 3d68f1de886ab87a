"""The boxes that proposals start from: of each size and ratio around each place of each map."""

import torch
from torch import Tensor

from deepres.arch.regions import Anchors


def around_a_place(sizes: tuple[float, ...], ratios: tuple[float, ...], rounded: bool, like: Tensor) -> Tensor:
    """Boxes around (0, 0) of area size^2 and height / width = ratio, ratio by ratio: (ratios sizes, 4)."""
    high = torch.sqrt(like.new_tensor(ratios, dtype=torch.float32))
    side = like.new_tensor(sizes, dtype=torch.float32)
    widths, heights = ((1 / high)[:, None] * side).flatten(), (high[:, None] * side).flatten()
    boxes = torch.stack([-widths, -heights, widths, heights], dim=1) / 2
    return (boxes.round() if rounded else boxes).to(like.dtype)


def anchors(config: Anchors, padded: tuple[int, int], maps: list[Tensor]) -> list[Tensor]:
    """Of each map (N, C, h, w) its anchors (h w A, 4) in px, row by row, those of one place side by side.

    Neighbours are floor(H / h) and floor(W / w) px apart, `padded` being the (H, W) of the batch: as torchvision has
    it, and exact but for the last level of pictures whose padded side is an odd multiple of the stride before it.
    """
    found = []
    for sizes, level in zip(config.sizes, maps, strict=True):
        height, width = level.shape[-2:]
        rows = torch.arange(height, device=level.device, dtype=level.dtype) * (padded[0] // height)
        columns = torch.arange(width, device=level.device, dtype=level.dtype) * (padded[1] // width)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        places = torch.stack([x, y, x, y], dim=2).reshape(-1, 1, 4)
        found.append((places + around_a_place(sizes, config.ratios, config.rounded, level)).reshape(-1, 4))
    return found
