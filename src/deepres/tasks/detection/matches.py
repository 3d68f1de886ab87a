"""Which boxes hit which objects -> precision, recall, average precision; also of pictures that are drawn again.

AP = sum_i P_i (m(R_i) - m(R_(i-1))) over the boxes i that hit, best score first, where R_i is the recall down to i, P_i
the highest precision there or below, and m(R) the share of recalls up to R, which is all that tells the measures apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepres.tasks.bootstrap import Bools, Floats, Statistic

Ints = NDArray[np.int64]
PrecisionArea = Callable[[Floats], Floats]
"""m(R): how much of all recalls, 0 to 1, lies at R or below it."""

ENTRIES = 2**18
"""Boxes that are right times draws, held at once."""

_AT_101, _AT_11 = np.append(np.linspace(0.0, 1.0, 101), np.inf), np.append(np.arange(11) * 0.1, np.inf)


def of_101(recall: Floats) -> Floats:
    """COCO: 101 recalls, 0, .01, … 1."""
    return _up_to(recall, _AT_101)


def of_11(recall: Floats) -> Floats:
    """VOC 2007: 11 recalls, the floats k * .1 of the field, so that a recall of .3, .6 or .7 falls short of its own."""
    return _up_to(recall, _AT_11)


def of_all(recall: Floats) -> Floats:
    """VOC from 2010 on: every recall, which gives the area below the curve."""
    return recall


def _up_to(recall: Floats, steps: Floats) -> Floats:
    """The share of equally far `steps` (the last one is inf) that lie at `recall` or below it, exactly."""
    near = (recall * (len(steps) - 2)).astype(np.int64)
    found: Floats = (near + (steps[near] <= recall) + (steps[near + 1] <= recall)) / (len(steps) - 1)
    return found


@dataclass(frozen=True, eq=False)
class Matches:
    """The M boxes of one class, best score first, and what they hit at T overlaps.

    `row` (M,) are their rows in the detections, `image` (M,) their pictures, 0 to N - 1. `hit` (T, M) is the row of the
    object in the truth, -1 where none is hit; `ignored` (T, M) are the boxes that count neither as right nor as wrong.
    `objects` (N,) are the objects of each picture that count, `rows` their rows in the truth.
    """

    row: Ints
    image: Ints
    scores: Floats
    hit: Ints
    ignored: Bools
    objects: Ints
    rows: Ints

    @property
    def right(self) -> Bools:
        """(T, M): the boxes that are right."""
        return (self.hit >= 0) & ~self.ignored

    @property
    def num_objects(self) -> int:
        """Those that count; without any there is no average precision."""
        return int(self.objects.sum())


def average_precisions(found: Matches, share: PrecisionArea) -> Floats:
    """AP (T,) of one class at each overlap; nan without an object."""
    return _precisions(found, share)(np.ones((1, len(found.objects))))[:, 0]


def statistic(classes: Sequence[Matches], share: PrecisionArea) -> Statistic:
    """Weights (D, N) -> mean AP (D,) over the overlaps, and over the classes of which an object is in the draw."""
    there = [found for found in classes if found.num_objects]
    each = [_precisions(found, share) for found in there]
    step = max(1, ENTRIES // max([1, *(int(found.right.any(0).sum()) for found in there)]))

    def of_weights(weights: Floats) -> Floats:
        values = np.stack([of_class(weights).mean(0) for of_class in each])
        known = ~np.isnan(values)
        found: Floats = np.where(known, values, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        return np.where(known.any(0), found, nan)

    def in_pieces(weights: Floats) -> Floats:
        return np.concatenate([of_weights(weights[at : at + step]) for at in range(0, len(weights), step)])

    return in_pieces


def curve(found: Matches, overlap: int, recalls: Floats) -> list[float]:
    """The highest precision at each recall or above it, 0 where it is never reached."""
    right = found.right[overlap]
    said = np.cumsum(~found.ignored[overlap])[right]
    hits = np.arange(1, len(said) + 1)
    best = np.append(np.maximum.accumulate((hits / said)[::-1])[::-1], 0.0)
    places = np.searchsorted(hits / max(1, found.num_objects), recalls)
    values: list[float] = best[places].tolist()
    return values


def _precisions(found: Matches, share: PrecisionArea) -> Callable[[Floats], Floats]:
    """Weights (D, N) -> AP (T, D), each box and each object counting as often as its picture is drawn."""
    ever = np.flatnonzero(found.right.any(0))
    to_next = np.searchsorted(ever, np.arange(len(found.row)))  # boxes between two that are right count as one number
    until = to_next < len(ever)
    ones = np.ones(int(until.sum()))
    between = csr_array((ones, (to_next[until], found.image[until])), shape=(len(ever), len(found.objects)))
    overlaps = [_Overlap(found, ever, overlap) for overlap in range(len(found.hit))]

    def of_weights(weights: Floats) -> Floats:
        boxes = np.cumsum(np.ascontiguousarray((between @ weights.T).T), axis=1)
        objects = (weights @ found.objects)[:, None]
        return np.stack([one.area(weights, boxes, objects, share) for one in overlaps])

    return of_weights


class _Overlap:
    """Of one overlap: the pictures of the boxes that are right and of those that count as nothing, and their order."""

    def __init__(self, found: Matches, ever: Ints, overlap: int) -> None:
        right, ignored = np.flatnonzero(found.right[overlap]), np.flatnonzero(found.ignored[overlap])
        self.right, self.ignored = found.image[right], found.image[ignored]
        self.among_ever, self.ignored_before = np.searchsorted(ever, right), np.searchsorted(ignored, right)

    def area(self, weights: Floats, boxes: Floats, objects: Floats, share: PrecisionArea) -> Floats:
        """AP (D,); `boxes` (D, P) are how many there are down to each that is ever right, `objects` (D, 1)."""
        hits, said = np.cumsum(weights[:, self.right], axis=1), boxes[:, self.among_ever]
        if len(self.ignored):
            left = np.cumsum(weights[:, self.ignored], axis=1)
            said = said - np.concatenate([np.zeros_like(objects), left], axis=1)[:, self.ignored_before]
        precision = hits / np.maximum(said, _LEAST)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = share(hits / np.maximum(objects, _LEAST))
        gained = reached.copy()
        gained[:, 1:] -= reached[:, :-1]
        found: Floats = np.where(objects[:, 0] > 0, np.einsum("dp,dp->d", gained, best), nan)
        return found


_LEAST = 1e-100  # where a picture is not drawn nothing is divided by nothing
