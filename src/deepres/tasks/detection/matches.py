"""Which boxes hit which objects -> precision, recall, average precision; also of pictures that are drawn again.

AP = sum_i P_i (m(R_i) - m(R_(i-1))) over the boxes i that hit, best score first, where R_i is the recall down to i, P_i
the highest precision there or below, and m(R) the share of recalls up to R, which is all that tells the measures apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepres.tasks.bootstrap import Floats, Statistic

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Share = Callable[[Floats], Floats]
"""m(R): how much of all recalls, 0 to 1, lies at R or below it."""

ENTRIES = 2**20
"""Boxes times draws that are held at once."""

_AT_101 = np.linspace(0.0, 1.0, 101)
_AT_11 = np.arange(11) * 0.1


def of_101(recall: Floats) -> Floats:
    """COCO: 101 recalls, 0, .01, … 1."""
    return np.searchsorted(_AT_101, recall, side="right") / 101


def of_11(recall: Floats) -> Floats:
    """VOC 2007: 11 recalls, the floats k * .1 of the field, so that a recall of .3, .6 or .7 falls short of its own."""
    return np.searchsorted(_AT_11, recall, side="right") / 11


def of_all(recall: Floats) -> Floats:
    """VOC from 2010 on: every recall, which gives the area below the curve."""
    return recall


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


def average_precisions(found: Matches, share: Share) -> Floats:
    """AP (T,) of one class at each overlap; nan without an object."""
    return _precisions(found, share)(np.ones((1, len(found.objects))))[:, 0]


def statistic(classes: Sequence[Matches], share: Share) -> Statistic:
    """Weights (D, N) -> mean AP (D,) over the overlaps, and over the classes of which an object is in the draw."""
    there = [found for found in classes if found.num_objects]
    each = [_precisions(found, share) for found in there]
    step = max(1, ENTRIES // max([1, *(len(found.row) for found in there)]))

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


def _precisions(found: Matches, share: Share) -> Callable[[Floats], Floats]:
    """Weights (D, N) -> AP (T, D), each box and each object counting as often as its picture is drawn."""
    overlaps = [
        (np.flatnonzero(right), np.flatnonzero(ignored))
        for right, ignored in zip(found.right, found.ignored, strict=True)
    ]

    def of_weights(weights: Floats) -> Floats:
        drawn = weights[:, found.image]
        boxes, objects = np.cumsum(drawn, axis=1), (weights @ found.objects)[:, None]
        return np.stack([_area(drawn, boxes, objects, *places, share) for places in overlaps])

    return of_weights


def _area(drawn: Floats, boxes: Floats, objects: Floats, right: Ints, ignored: Ints, share: Share) -> Floats:
    """AP (D,) by the places of boxes that are right and of those that are ignored."""
    hits, said = np.cumsum(drawn[:, right], axis=1), boxes[:, right]
    if len(ignored):
        left = np.cumsum(drawn[:, ignored], axis=1)
        said = said - np.concatenate([np.zeros_like(objects), left], axis=1)[:, np.searchsorted(ignored, right)]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(said > 0, hits / said, 0.0)
        reached = share(hits / objects)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        gained = np.diff(reached, axis=1, prepend=0.0)
        found: Floats = np.where(objects[:, 0] > 0, (gained * best).sum(1), nan)
    return found


def sorted_matches(row: Any, image: Any, scores: Any, hit: Any, ignored: Any, objects: Ints, rows: Ints) -> Matches:
    """The matches, best score first; of equal ones in the order of the pictures."""
    order = np.argsort(-scores, kind="stable")
    return Matches(row[order], image[order], scores[order], hit[:, order], ignored[:, order], objects, rows)
