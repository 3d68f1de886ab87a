"""Many boxes of one picture -> few: scores and boxes of regions thinned, and each kept box moved by those around it.

P regions, C classes, M boxes.
"""

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from deepres.arch.regions import Regions
from deepres.tasks.detection.coding import clip, large_enough
from deepres.tasks.detection.regions import Found

THINNED_AT, VOTING_FROM = 0.3, 0.5
"""IoU over which a box goes when old and new ones are thinned, and from which on one votes (He et al. 2015, app. B)."""


def thinned(chances: Tensor, corners: Tensor, size: tuple[int, int], config: Regions, *, voting: bool) -> Found:
    """`RegionHead.answered` of scores (P, C) and boxes (P, C, 4) in px; `size` is the picture's own (H, W).

    With `voting` boxes are thinned at `THINNED_AT`, and then moved (`voted`).
    """
    place, classes = (chances > config.score_above).nonzero(as_tuple=True)
    boxes = clip(corners[place, classes], size)
    kept = large_enough(boxes, config.least_px)
    boxes, classes, likely = boxes[kept], classes[kept], chances[place, classes][kept]
    best = batched_nms(boxes, likely, classes, THINNED_AT if voting else config.overlap)[: config.most]
    found = Found(boxes[best], classes[best], likely[best])
    return found._replace(corners=voted(found, boxes, classes, likely)) if voting else found


def voted(kept: Found, boxes: Tensor, classes: Tensor, scores: Tensor) -> Tensor:
    """sum(s b) / sum(s) over the boxes b of its class with an IoU of `VOTING_FROM` or more with the kept one: (K, 4).

    `boxes` (M, 4), `classes` and `scores` (M,) are all that were there before thinning, the kept ones among them.
    Gidaris and Komodakis 2015, section 5; a kept box keeps its score.
    """
    near = (box_iou(kept.corners, boxes) >= VOTING_FROM) & (kept.classes[:, None] == classes)
    shares = torch.where(near, scores, 0.0)
    moves = (shares[:, :, None] * (boxes - kept.corners[:, None])).sum(1)
    return kept.corners + moves / shares.sum(1, keepdim=True).clamp(min=torch.finfo(shares.dtype).tiny)


def moved_boxes(chances: Tensor, corners: Tensor, size: tuple[int, int], config: Regions) -> Tensor:
    """Where each region was moved to, by the class that is likeliest for it: (P, C), (P, C, 4) -> (at most P, 4)."""
    likeliest = chances.argmax(1)
    boxes = clip(corners[torch.arange(len(corners), device=corners.device), likeliest], size)
    return boxes[large_enough(boxes, config.least_px)]


def union(parts: list[Tensor]) -> Tensor:
    """The boxes of all parts (…, 4) in their order, equal ones once."""
    boxes = torch.cat(parts)
    if len(parts) == 1:
        return boxes
    _, number = torch.unique(boxes, dim=0, return_inverse=True)
    order = torch.arange(len(boxes), device=boxes.device)
    first = order.new_full((int(number.max()) + 1 if len(number) else 0,), len(boxes))
    first = first.scatter_reduce(0, number, order, "amin")
    return boxes[first.sort().values]
