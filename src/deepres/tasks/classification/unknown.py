"""How well the highest probability tells images of known classes from those of others."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.wording import counted, percent
from deepres.tasks.classification.metrics import Z_95, Predictions, interval
from deepres.tasks.classification.rejection import SHARES, Rejection, Threshold

KNOWN_SHARE = 0.95
CURVE = 100


class AnsweredAt(Record):
    """Of known and of unknown images those that are answered from a `probability` on; `coverage`: as held out."""

    probability: float
    coverage: float | None
    known: int
    unknown: int


class UnknownScores(Record):
    """What the highest probability is worth as a sign of a known class; `source` has the unknown ones.

    `auroc` is P(known > unknown) + P(equal) / 2 with DeLong's 95 % interval. `unknown_answered` is the share of unknown
    images at least as probable as the `KNOWN_SHARE` of the known (FPR at 95 % TPR, Hendrycks & Gimpel 2017).
    """

    source: str
    num_known: int
    num_unknown: int
    auroc: float
    auroc_low: float
    auroc_high: float
    unknown_answered: float
    at: tuple[AnsweredAt, ...]
    curve: tuple[tuple[float, float], ...]
    """(share of the known, share of the unknown) that is answered, from none to all."""

    def lines(self) -> list[str]:
        """AUROC, and what the run's own thresholds reject."""
        told = [
            f"unknown ({self.source}, {counted(self.num_unknown, 'image')}): AUROC of the highest probability "
            f"{self.auroc:.3f} (95 % interval {self.auroc_low:.3f} to {self.auroc_high:.3f}); where "
            f"{100 * KNOWN_SHARE:.0f} % of the known images are answered, {percent(self.unknown_answered)} of these are"
        ]
        for one in self.at:
            if one.coverage in (0.99, 0.95, 0.9):
                known, unknown = one.known / self.num_known, one.unknown / self.num_unknown
                told.append(
                    f"--reject coverage={one.coverage:g}: answered are {percent(known)} of the known images and "
                    f"{percent(unknown)} of the unknown"
                )
        return told


def found_rejection(held_out: Predictions, found_on: str) -> Rejection:
    """For each of `SHARES` the probability that so many held-out images have at least; equal ones stay together."""
    order = held_out.probability.argsort(descending=True, stable=True)
    probability, wrong = held_out.probability[order], (held_out.rank[order] > 0).cumsum(0)
    kept = {}
    for share in SHARES:
        lowest = float(probability[max(0, -int(-share * len(order) // 1) - 1)])
        number = int((probability >= lowest).sum())
        kept[number] = Threshold(probability=lowest, answered=number, wrong=int(wrong[number - 1]))
    return Rejection(thresholds=tuple(kept.values()), found_on=found_on, images=len(held_out))


def unknown_scores(known: Tensor, unknown: Tensor, source: str, rejection: Rejection | None) -> UnknownScores:
    """From the highest probabilities of images of known classes (N,) and of others (M,).

    Raises:
        InputError: none of either.
    """
    one, other = known.double().numpy(), unknown.double().numpy()
    if not len(one) or not len(other):
        raise InputError(f"{source}: wanted images of known and of unknown classes, one at least of each")
    area, low, high = auroc(one, other)
    lowest = np.sort(one)[::-1][max(0, int(np.ceil(KNOWN_SHARE * len(one))) - 1)]
    places = np.linspace(0, 1, CURVE + 1)
    steps = np.quantile(one, 1 - places, method="inverted_cdf")
    return UnknownScores(
        source=source,
        num_known=len(one),
        num_unknown=len(other),
        auroc=area,
        auroc_low=low,
        auroc_high=high,
        unknown_answered=float((other >= lowest).mean()),
        at=tuple(
            AnsweredAt(
                probability=kept.probability,
                coverage=_coverage(kept, rejection),
                known=int((one >= kept.probability).sum()),
                unknown=int((other >= kept.probability).sum()),
            )
            for kept in (() if rejection is None else rejection.thresholds)
        ),
        curve=((0.0, 0.0), *((float((one >= p).mean()), float((other >= p).mean())) for p in steps), (1.0, 1.0)),
    )


def _coverage(kept: Threshold, rejection: Rejection | None) -> float | None:
    """The share of `SHARES` that this threshold is the first to answer."""
    fitting = [share for share in SHARES if rejection is not None and kept.answered >= share * rejection.images]
    return max(fitting, default=None)


def auroc(above: NDArray[np.float64], below: NDArray[np.float64]) -> tuple[float, float, float]:
    """P(a > b) + P(a = b) / 2 of a from `above` and b from `below`, with a 95 % interval within [0, 1].

    DeLong, DeLong & Clarke-Pearson 1988: var = var(placements of above) / n + var(placements of below) / m. Where that
    is 0, all or none of the pairs being in order, Wilson's interval of as many images as the smaller side has.
    """
    a, b = np.sort(above), np.sort(below)
    of_a = (np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")) / (2 * len(b))
    of_b = 1 - (np.searchsorted(a, b, "left") + np.searchsorted(a, b, "right")) / (2 * len(a))
    area, fewer = float(of_a.mean()), min(len(a), len(b))
    if fewer < 2 or of_a.var() + of_b.var() == 0:
        low, high = interval(fewer, fewer)
        return area, low if area == 1 else 0.0, high if area == 1 else 1 - low if area == 0 else 1.0
    half = Z_95 * sqrt(of_a.var(ddof=1) / len(a) + of_b.var(ddof=1) / len(b))
    return area, max(0.0, area - half), min(1.0, area + half)
