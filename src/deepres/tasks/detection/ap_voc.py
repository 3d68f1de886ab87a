"""PASCAL VOC's average precision of boxes, as its devkit counts: 11 recalls (2007), or all of them (from 2010 on)."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from deepres.tasks.bootstrap import Floats
from deepres.tasks.detection.detections import Detections, Truth
from deepres.tasks.detection.matches import Ints, Matches

OVERLAPS = (0.5,)
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


def voc_matches(
    found: Detections, truth: Truth, images: int, classes: int, overlaps: Sequence[float] = OVERLAPS
) -> tuple[Matches, ...]:
    """Of each class: a box looks at the object of its class that it overlaps most (intersection / union).

    Below the overlap asked for it is wrong. If that object is to be ignored (difficult), the box is neither right nor
    wrong; else the best box that looks at an object is right and the others are wrong. The devkit adds 1 to all sides,
    its corners being pixels inside; half-open corners, (xmin - 1, ymin - 1, xmax, ymax), give the same overlaps.

    The 11 recalls of 2007 are the floats k * .1 (`matches.of_11`), as the field computes them: a recall of exactly .3,
    .6 or .7 falls short of its own. Everingham et al. 2010, section 4.2, and the devkit's VOCevaldet.m.
    """
    box_class, box_image, scores = found.classes.numpy(), found.image.numpy(), found.scores.numpy()
    own_class, own_image = truth.classes.numpy(), truth.image.numpy()
    ignored = np.append(truth.ignored.numpy(), False)  # of no object: -1
    matches = []
    for number in range(classes):
        boxes, own = np.flatnonzero(box_class == number), np.flatnonzero(own_class == number)
        boxes = boxes[np.argsort(-scores[boxes], kind="stable")]
        most, nearest = np.zeros(len(boxes)), np.full(len(boxes), -1, np.int64)
        for here, there in _by_image(box_image[boxes], own_image[own]):
            shared = overlap(found.corners.numpy()[boxes[here]], truth.corners.numpy()[own[there]])
            most[here], nearest[here] = shared.max(1), own[there][shared.argmax(1)]
        hit = np.stack([np.where(most >= least, nearest, -1) for least in overlaps])
        left = (hit >= 0) & ignored[hit]
        for row, out in zip(hit, left, strict=True):
            _, first = np.unique(row, return_index=True)
            later = np.ones(len(row), bool)
            later[first] = False
            row[later & ~out] = -1
        rows = own[~ignored[own]]
        objects = np.bincount(own_image[rows], minlength=images)
        matches.append(Matches(boxes, box_image[boxes], scores[boxes], hit, left, objects, rows))
    return tuple(matches)


def overlap(boxes: Floats, others: Floats) -> Floats:
    """Intersection / union of corners (M, 4) and (G, 4): (M, G), 0 of boxes without an area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clip(0).prod(-1)
    areas = [(one[:, 2:] - one[:, :2]).prod(-1) for one in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0.0)


def _by_image(boxes: Ints, objects: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Of each picture that has both: the places of its boxes and of its objects."""
    order, own = np.argsort(boxes, kind="stable"), np.argsort(objects, kind="stable")
    both = np.intersect1d(boxes, objects)
    ends = [np.searchsorted(one[by], both, side) for one, by in ((boxes, order), (objects, own)) for side in SIDES]
    for first, last, low, high in zip(*ends, strict=True):
        yield order[first:last], own[low:high]
