"""What stands in each region, and where exactly: maps pooled by regions, judged, thinned (Girshick 2015, section 2)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, roi_align, roi_pool

from deepres.arch.detector import Detector
from deepres.arch.regions import MaskHead, Regions
from deepres.nn.build import modules
from deepres.tasks.detection.coding import clip, decode, large_enough
from deepres.tasks.detection.pooling import align
from deepres.tasks.detection.proposals import exact

CANONICAL_SIDE, CANONICAL_STRIDE = 224, 16
"""A region of 224 px is looked at in the map of stride 16 (Lin et al. 2017, eq. 1)."""


class Found(NamedTuple):
    """What was found on one picture, the likeliest first: `corners` (M, 4) px, `classes` int64 (M,), `scores` (M,).

    `masks` (M, S, S) are how likely each cell of a box belongs to its object, of a network that draws them.
    """

    corners: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor | None = None

    def at(self, rows: Tensor) -> "Found":
        """These, by their places or by True and False."""
        masks = None if self.masks is None else self.masks[rows]
        return Found(self.corners[rows], self.classes[rows], self.scores[rows], masks)


class RegionHead(nn.Module):
    """Regions of the levels' maps, pooled to one size; and what is read off the features that become of them.

    Column 0 of the scores is the background's, column c + 1 class c's; offsets are 4 for each column.
    """

    def __init__(self, description: Detector) -> None:
        super().__init__()
        self.config, self.strides = description.regions, description.strides
        places = {place.name.removeprefix("regions."): place for place in description.places}
        for name, node in description.region_parts.items():
            self.add_module(name, modules(node, places[name].given[0]))

    def pooled(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """`pooled` by what the description says of regions."""
        return pooled(levels, boxes, self.strides, self.config)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(R, D) -> scores (R, 1 + classes) before the softmax, offsets (R, 1 + classes, 4), float32 at least."""
        scores, offsets = self._said("classes", features), self._said("boxes", features)
        return scores, offsets.view(scores.shape[0], scores.shape[1], 4)

    def answered(self, scores: Tensor, offsets: Tensor, boxes: Tensor, size: tuple[int, int]) -> Found:
        """What the (P, …) said of one picture's regions come to; `size` is the picture's own (H, W)."""
        config = self.config
        chances = scores.softmax(1)[:, 1:]
        place, classes = (chances > config.score_above).nonzero(as_tuple=True)
        corners = clip(decode(offsets[place, classes + 1], boxes[place], config.deviations), size)
        kept = large_enough(corners, config.least_px)
        corners, classes, chance = corners[kept], classes[kept], chances[place, classes][kept]
        best = batched_nms(corners, chance, classes, config.overlap)[: config.most]
        return Found(corners[best], classes[best], chance[best])

    def _said(self, name: str, features: Tensor) -> Tensor:
        said: Tensor = self.get_submodule(name)(features.to(self.get_parameter(f"{name}.weight").dtype))
        return exact(said)


def pooled(
    levels: Sequence[Tensor], boxes: Sequence[Tensor], strides: Sequence[int], config: Regions | MaskHead
) -> Tensor:
    """The regions of all pictures, picture by picture: (R, C, pool, pool); float32 at least where it is learnt."""
    number = torch.tensor([len(own) for own in boxes], device=levels[0].device)
    picture = torch.arange(len(boxes), device=levels[0].device).repeat_interleave(number)
    corners = torch.cat(list(boxes))
    regions = torch.cat([picture[:, None].to(corners.dtype), corners], dim=1)
    level = level_of(corners, strides)
    by_maximum = isinstance(config, Regions) and config.pooled == "max"
    if not by_maximum and config.samples:
        rows = [exact(each) if each.requires_grad else each for each in levels[: len(strides)]]
        shift = 0.5 if config.aligned else 0.0
        return align(rows, regions, level, strides, config.pool, config.samples, shift)
    parts, places = [], []
    for place, stride in enumerate(strides):
        chosen = (level == place).nonzero()[:, 0]
        x = exact(levels[place])
        own = regions[chosen].to(x.dtype)
        if by_maximum:
            found: Tensor = roi_pool(x, own, config.pool, 1 / stride)
        else:
            found = roi_align(x, own, config.pool, 1 / stride, -1, config.aligned)
        parts.append(found if levels[place].requires_grad else found.to(levels[place].dtype))
        places.append(chosen)
    return torch.cat(parts)[torch.cat(places).argsort()]


def level_of(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """floor(log2(sqrt(w h) / 224)) levels from the one of stride 16, the nearest that there is: int64 (B,)."""
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
    level = torch.floor(torch.log2(sides / CANONICAL_SIDE * (CANONICAL_STRIDE / strides[0])) + 1e-6)
    return level.clamp(0, len(strides) - 1).long()
