"""Scores of classes and which of them are there -> average precision, F1, shares of wrong answers.

N images, C classes. Every float sum is in float64, over images in the order of their places.
"""

from dataclasses import dataclass
from math import fsum, nan

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from deepres.tasks.bootstrap import DRAWS, Floats, Statistic, interval
from deepres.tasks.collected import Collected, require_finite

MOST_ENTRIES = 4e8
"""Images x classes x draws of a bootstrap, at most: of large sets fewer draws are made, which vary less there."""
FEWEST_DRAWS = 50


@dataclass(frozen=True, eq=False)
class LabelAnswers:
    """What the network answered: `indices` int64 (N,), `truth` uint8 (N, C), `logits` float64 (N, C), on the CPU."""

    indices: Tensor
    truth: Tensor
    logits: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def lean(self) -> "LabelAnswers":
        """As it is: nothing in it is only for some."""
        return self

    def at(self, places: Tensor) -> "LabelAnswers":
        """The answers at these places."""
        return LabelAnswers(self.indices[places], self.truth[places], self.logits[places])

    @property
    def probabilities(self) -> Tensor:
        """sigmoid(logits), float64 (N, C)."""
        return self.logits.sigmoid()


class LabelMetrics:
    """Collects answers batch by batch; `merge` makes one of two, as if one had seen all batches."""

    def __init__(self) -> None:
        self._seen = Collected()

    def update(self, outputs: Tensor, targets: Tensor, indices: Tensor) -> None:
        """Add a batch: logits (N, C), 0 or 1 (N, C), places (N,).

        Raises:
            RunError: a logit is not finite.
        """
        logits = outputs.detach().cpu().double()
        require_finite(logits, indices, "logits")
        self._seen.add(indices=indices, truth=(targets > 0.5).to(torch.uint8), logits=logits)

    def merge(self, other: "LabelMetrics") -> None:
        """Add all that `other` has seen."""
        self._seen.merge(other._seen)

    def answers(self) -> LabelAnswers:
        """All answers so far, in order; errors as `Collected.columns`."""
        return LabelAnswers(**self._seen.columns())


def average_precisions(truth: Tensor, scores: Tensor) -> list[float | None]:
    """AP_c = sum_k (R_k - R_(k-1)) P_k over the cuts between different scores (scikit-learn's); None without any there.

    P_k and R_k are precision and recall of all images of one of the k highest scores.
    """
    return [_plain(float(of_class(np.ones((1, len(truth))))[0])) for of_class in _precisions(truth, scores)]


def mean_average_precision(truth: Tensor, scores: Tensor) -> float:
    """Mean of AP_c over the classes that are on some image; nan where none is."""
    known = [value for value in average_precisions(truth, scores) if value is not None]
    return fsum(known) / len(known) if known else nan


def map_statistic(truth: Tensor, scores: Tensor) -> Statistic:
    """Weights (D, N) -> mean average precision of each draw (D,), over the classes that are on some image of it."""
    each = _precisions(truth, scores)

    def statistic(weights: Floats) -> Floats:
        values = np.stack([of_class(weights) for of_class in each])
        there = ~np.isnan(values)
        sums = np.where(there, values, 0.0).sum(0)
        found: Floats = sums / np.maximum(there.sum(0), 1)
        return np.where(there.any(0), found, nan)

    return statistic


def map_interval(truth: Tensor, scores: Tensor, seed: int = 0) -> tuple[float, float]:
    """95 % of the mean average precisions of draws of the images, within [0, 1] (bootstrap.py)."""
    draws = int(min(DRAWS, max(FEWEST_DRAWS, MOST_ENTRIES / max(1, truth.numel()))))
    low, high = interval(map_statistic(truth, scores), len(truth), draws=draws, seed=seed)
    return max(0.0, low), min(1.0, high)


def counts(truth: Tensor, chosen: Tensor) -> tuple[list[int], list[int], list[int]]:
    """Of each class: images that it is on, that it is said of, and both; `truth` and `chosen` (N, C)."""
    there, said = truth.bool(), chosen.bool()
    return there.sum(0).tolist(), said.sum(0).tolist(), (there & said).sum(0).tolist()


def f1(there: int, said: int, right: int) -> float | None:
    """2 right / (there + said); None where neither is."""
    return 2 * right / (there + said) if there + said else None


def binary_loss(truth: Tensor, logits: Tensor) -> float:
    """Binary cross-entropy summed over classes, mean over images, nats, float64."""
    each = F.binary_cross_entropy_with_logits(logits, truth.double(), reduction="none").sum(1)
    return fsum(each.tolist()) / len(each)


def _precisions(truth: Tensor, scores: Tensor) -> list[Statistic]:
    rows, values = truth.bool().numpy(), scores.double().numpy()
    return [_of_class(rows[:, number], values[:, number]) for number in range(rows.shape[1])]


def _of_class(there: NDArray[np.bool_], scores: Floats) -> Statistic:
    order = np.argsort(-scores, kind="stable")
    sorted_there, sorted_scores = there[order], scores[order]
    ends = np.append(np.flatnonzero(np.diff(sorted_scores)), len(order) - 1)  # equal scores are told apart by nothing

    def of_weights(weights: Floats) -> Floats:
        drawn = weights[:, order]
        right = np.cumsum(drawn * sorted_there, axis=1)[:, ends]
        said = np.cumsum(drawn, axis=1)[:, ends]
        total = right[:, -1:]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(said > 0, right / said, 0.0)
            gained = np.diff(right, axis=1, prepend=0.0) / total
            found: Floats = np.where(total[:, 0] > 0, (gained * precision).sum(1), nan)
        return found

    return of_weights


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
