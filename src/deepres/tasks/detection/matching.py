"""Which boxes are learnt as which object, which as background, which not at all; seeded draws among them.

A anchors or regions, K objects, I ignored boxes (VOC's difficult, COCO's crowd); corners (x1, y1, x2, y2).
"""

import torch
from torch import Tensor
from torchvision.ops import box_iou

from deepres.data.rng import generator

NEGATIVE = -1
NEITHER = -2
INSIDE = 0.5
"""Share of a box within an ignored one from which on it is neither."""
_AT_ONCE = 2**24  # pairs of boxes


def match(boxes: Tensor, objects: Tensor, ignored: Tensor, above: float, negative: tuple[float, float]) -> Tensor:
    """Of each box the object that it stands for, else NEGATIVE or NEITHER: int64 (A,).

    It stands for the object of the largest IoU where that is `above` or more, or where no other box has a larger one
    with some object (every object keeps its best boxes, all that are equal). Negative where the largest lies in
    `negative`, the upper end not counted. A box that lies in an ignored one by `INSIDE` of its own area is neither,
    unless it is an object's best. A box without area is no object.
    """
    largest, matched = boxes.new_zeros(len(boxes)), boxes.new_zeros(len(boxes), dtype=torch.int64)
    best = boxes.new_zeros(len(boxes), dtype=torch.bool)
    step = max(1, _AT_ONCE // max(1, len(boxes)))
    for first in range(0, len(objects) if len(boxes) else 0, step):
        overlaps = box_iou(objects[first : first + step], boxes)
        most, which = overlaps.max(0)
        matched = torch.where(most > largest, which + first, matched)
        largest = torch.maximum(most, largest)
        of_object = overlaps.max(1, keepdim=True).values
        best |= ((overlaps == of_object) & (of_object > 0)).any(0)
    low, high = negative
    found = torch.where((largest >= low) & (largest < high), NEGATIVE, NEITHER)
    found = torch.where(largest >= above, matched, found)
    if len(ignored):
        found[covered(boxes, ignored) >= INSIDE] = NEITHER
    return torch.where(best, matched, found)


def covered(boxes: Tensor, ignored: Tensor) -> Tensor:
    """The largest share of each box's area that lies in one ignored box: (A,)."""
    low = torch.maximum(boxes[:, None, :2], ignored[:, :2])
    high = torch.minimum(boxes[:, None, 2:], ignored[:, 2:])
    shared = (high - low).clamp(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1, keepdim=True)
    shares: Tensor = (shared / area.clamp(min=1e-12)).amax(1)
    return shares


def draw(matched: Tensor, number: int, positive_share: float, seed: int, what: str) -> Tensor:
    """Places of at most `number` boxes to learn from, in order, at most `positive_share` of them positive: int64 (D,).

    Uniform without replacement; negatives fill up what positives leave. Drawn on the CPU from `seed` and `what` alone,
    so that neither the batch nor the number of processes changes it.
    """
    positive, negative = (matched >= 0).nonzero()[:, 0], (matched == NEGATIVE).nonzero()[:, 0]
    dice = generator(seed, what)
    most = min(len(positive), int(number * positive_share))
    drawn = [positive[torch.randperm(len(positive), generator=dice)[:most].to(positive.device)]]
    drawn.append(negative[torch.randperm(len(negative), generator=dice)[: number - most].to(negative.device)])
    return torch.cat(drawn).sort().values
