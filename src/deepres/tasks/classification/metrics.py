"""Logits and labels -> counts and scores: error with its interval, top-5, per class, confusion, calibration.

Every image's facts are kept, and put in order of its index before anything is summed: neither the size of the
batches nor their order nor the number of processes changes a score by one bit. N images, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum, log, sqrt
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from deepres.base.records import Record
from deepres.data.loading.balance import UNEQUAL, imbalance
from deepres.data.on_device import finer
from deepres.tasks.collected import Collected, require_finite

CALIBRATION_BINS = 15
Z_95 = 1.959963984540054
"""Within so many standard deviations of its mean lie 95 % of a normal distribution."""
CONFUSED_PAIRS = 20
FEW_IMAGES = 5
"""Of a class of fewer images one alone moves the error by more than 20 points."""
TOP5_CLASSES = 11
"""With fewer classes five guesses name half of them or more, so that blind ones are right as often as not."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What the network answered to each image; every field has shape (N,), int64 or float64, on the CPU.

    `scores`, where they were asked for, are the log-probabilities of all classes, float64 (N, C).
    """

    indices: Tensor
    truth: Tensor
    predicted: Tensor  # the class of the highest logit, the first of equal ones
    rank: Tensor  # the number of classes put before the truth: 0 is right, below 5 is right in the top 5
    probability: Tensor  # softmax of the predicted class
    probability_of_truth: Tensor
    loss: Tensor  # -log(probability_of_truth)
    scores: Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def lean(self) -> "Predictions":
        """Without the scores."""
        return replace(self, scores=None)

    def at(self, places: Tensor) -> "Predictions":
        """The answers at these places."""
        known = {name: own[places] for name, own in vars(self).items() if own is not None}
        return Predictions(**known)


class ClassScore(Record):
    """One class: precision = right / predicted, recall = right / images, F1 = 2 right / (predicted + images).

    A score whose denominator is 0 is None.
    """

    name: str
    num_images: int
    num_predicted: int
    num_right: int
    precision: float | None
    recall: float | None
    f1: float | None

    @property
    def error_low(self) -> float:
        """What its error is at least: the lower end of Wilson's 95 % interval; one image wrong of one tells little."""
        return interval(self.num_images - self.num_right, self.num_images)[0] if self.num_images else 0.0


class ConfusedPair(Record):
    """`num_images` of class `truth` were taken for class `predicted`."""

    truth: str
    predicted: str
    num_images: int


class Coverage(Record):
    """The images that are answered if those below a `probability` are put aside, and how many of them are wrong."""

    probability: float  # the lowest that is still answered
    num_images: int
    num_wrong: int


class CalibrationBin(Record):
    """The images whose highest probability lies in [low, high): their mean probability and how many are right."""

    low: float
    high: float
    num_images: int
    num_right: int
    probability: float | None


class Scores(Record):
    """What N answers come to; every `error` is a fraction in [0, 1], a count divided once."""

    num_images: int
    num_wrong: int
    error: float
    error_low: float  # Wilson's 95 % interval
    error_high: float
    top5_error: float | None  # None below 5 classes
    cross_entropy: float  # mean, nats
    calibration_error: float  # sum over 15 bins of num_images / N * |share right - mean probability|
    classes: tuple[str, ...]
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]  # (C, C), a row per true class
    confused: tuple[ConfusedPair, ...]  # the 20 most frequent confusions
    calibration: tuple[CalibrationBin, ...]
    balanced_error: float = Field(default_factory=lambda scores: _balanced(scores["per_class"]))
    """1 - mean recall over the classes that have images (scikit-learn: 1 - balanced_accuracy_score)."""

    @property
    def telling_balanced(self) -> float | None:
        """The balanced error where it says something: of classes that have images in unequal numbers."""
        counts = tuple(one.num_images for one in self.per_class)
        return self.balanced_error if imbalance(counts) >= UNEQUAL else None

    @property
    def telling_top5(self) -> float | None:
        """The top-5 error where it says something: of `TOP5_CLASSES` classes or more."""
        return self.top5_error if len(self.classes) >= TOP5_CLASSES else None

    def worst_first(self) -> list[ClassScore]:
        """The classes by what their error is at least, those of fewer than `FEW_IMAGES` images after the others."""
        return sorted(self.per_class, key=lambda one: (one.num_images < FEW_IMAGES, -one.error_low, -one.num_images))


class Measures:
    """Collects answers batch by batch; `merge` makes one of two, as if one had seen all batches."""

    def __init__(self, *, keep_scores: bool = False) -> None:
        self._seen = Collected()
        self._keep_scores = keep_scores

    def update(self, logits: Tensor, labels: Tensor, indices: Tensor) -> None:
        """Add a batch: `logits` (N, C) on any device and of any float type, `labels` and `indices` int64 (N,).

        Raises:
            RunError: a logit is not finite.
        """
        answers = vars(_answers(logits, labels, indices, self._keep_scores))
        self._seen.add(**{name: column for name, column in answers.items() if column is not None})

    def merge(self, other: "Measures") -> None:
        """Add all that `other` has seen."""
        self._seen.merge(other._seen)

    def answers(self) -> Predictions:
        """All answers so far, in order; errors as `Collected.columns`."""
        return Predictions(**self._seen.columns())

    def result(self, classes: Sequence[str]) -> Scores:
        """The scores of all answers so far, `classes` naming the C classes."""
        return score(self.answers(), classes)


def score(predictions: Predictions, classes: Sequence[str]) -> Scores:
    """Counts over the answers, each divided once; float sums in float64."""
    total = len(predictions)
    num_wrong = int((predictions.rank > 0).sum())
    low, high = interval(num_wrong, total)
    confusion = confusion_matrix(predictions.truth, predictions.predicted, len(classes))
    bins = calibration_bins(predictions)
    return Scores(
        num_images=total,
        num_wrong=num_wrong,
        error=num_wrong / total,
        error_low=low,
        error_high=high,
        top5_error=int((predictions.rank >= 5).sum()) / total if len(classes) >= 5 else None,
        cross_entropy=fsum(predictions.loss.tolist()) / total,
        calibration_error=expected_error(bins),
        classes=tuple(classes),
        per_class=_per_class(confusion, classes),
        confusion=tuple(map(tuple, confusion.tolist())),
        confused=_confused(confusion, classes),
        calibration=bins,
    )


def averaged(logits: Tensor, average: Literal["probability", "logit"], dim: int = 0) -> Tensor:
    """log(mean of softmax) over `dim`, or the mean of the logits; float64.

    Over probabilities as Krizhevsky et al. 2012, section 4.1; over logits as fb.resnet.torch.
    """
    if average == "logit":
        return finer(logits).mean(dim)
    return finer(logits).log_softmax(-1).logsumexp(dim) - log(logits.shape[dim])


def calibration_bins(predictions: Predictions) -> tuple[CalibrationBin, ...]:
    """Bins of equal width (Guo et al. 2017, section 2); a probability of exactly 1 belongs to the last one."""
    n = CALIBRATION_BINS
    edges = torch.linspace(0, 1, n + 1, dtype=torch.float64)
    places = (torch.bucketize(predictions.probability, edges, right=True) - 1).clamp(0, n - 1)
    images = torch.bincount(places, minlength=n).tolist()
    right = torch.bincount(places[predictions.rank == 0], minlength=n).tolist()
    sums = torch.bincount(places, weights=predictions.probability, minlength=n).tolist()
    return tuple(
        CalibrationBin(
            low=i / n,
            high=(i + 1) / n,
            num_images=images[i],
            num_right=right[i],
            probability=sums[i] / images[i] if images[i] else None,
        )
        for i in range(n)
    )


def expected_error(bins: Sequence[CalibrationBin]) -> float:
    """Sum over bins of num_images / N * |share right - mean probability| (Guo et al. 2017, equation 3)."""
    return fsum(abs(b.num_right - b.num_images * (b.probability or 0.0)) for b in bins) / sum(
        b.num_images for b in bins
    )


def coverage(predictions: Predictions, points: int = 20) -> tuple[Coverage, ...]:
    """Error against coverage: the surest 1/`points` of the images, 2/`points`, … all; equal ones stay together."""
    order = predictions.probability.argsort(descending=True, stable=True)
    probability, wrong = predictions.probability[order], (predictions.rank[order] > 0).cumsum(0)
    kept = {}
    for point in range(1, points + 1):
        lowest = float(probability[max(0, round(point * len(order) / points) - 1)])
        number = int((probability >= lowest).sum())
        kept[number] = Coverage(probability=lowest, num_images=number, num_wrong=int(wrong[number - 1]))
    return tuple(kept.values())


def confusion_matrix(truth: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """int64 (C, C): entry (t, p) counts the images of class t taken for class p."""
    return torch.bincount(truth * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def interval(count: int, total: int) -> tuple[float, float]:
    """(2 k + z^2 -+ z sqrt(4 k (1 - k/n) + z^2)) / (2 (n + z^2)): Wilson's 95 % interval for k of n, within [0, 1].

    Wilson 1927; z = 1.96 is the normal distribution's 97.5 % point, to the last digit. `total` at least 1.
    """
    share, square = count / total, Z_95 * Z_95
    spread = 2 * (total + square)
    centre = (2 * total * share + square) / spread
    half = Z_95 / spread * sqrt(4 * total * share * (1 - share) + square)
    return 0.0 if count == 0 else centre - half, 1.0 if count == total else centre + half


def _answers(logits: Tensor, labels: Tensor, indices: Tensor, keep_scores: bool) -> Predictions:
    assert logits.dim() == 2
    assert labels.dtype == torch.int64
    assert labels.shape == indices.shape == logits.shape[:1]
    z = logits.detach().cpu().double()
    truth, indices = labels.cpu(), indices.cpu()
    require_finite(z, indices, "logits")
    log_p = z.log_softmax(dim=1)
    predicted = z.argmax(dim=1)
    of_truth = z.gather(1, truth[:, None])
    earlier = torch.arange(z.shape[1]) < truth[:, None]
    log_p_truth = log_p.gather(1, truth[:, None])[:, 0]
    return Predictions(
        indices=indices,
        truth=truth,
        predicted=predicted,
        rank=((z > of_truth) | ((z == of_truth) & earlier)).sum(dim=1),
        probability=log_p.gather(1, predicted[:, None])[:, 0].exp(),
        probability_of_truth=log_p_truth.exp(),
        loss=-log_p_truth,
        scores=log_p if keep_scores else None,
    )


def _per_class(confusion: Tensor, classes: Sequence[str]) -> tuple[ClassScore, ...]:
    counts = zip(confusion.sum(1).tolist(), confusion.sum(0).tolist(), confusion.diagonal().tolist(), strict=True)
    return tuple(
        ClassScore(
            name=name,
            num_images=images,
            num_predicted=predicted,
            num_right=right,
            precision=right / predicted if predicted else None,
            recall=right / images if images else None,
            f1=2 * right / (images + predicted) if images + predicted else None,
        )
        for name, (images, predicted, right) in zip(classes, counts, strict=True)
    )


def _balanced(per_class: Sequence[ClassScore]) -> float:
    wrong = [(one.num_images - one.num_right) / one.num_images for one in per_class if one.num_images]
    return fsum(wrong) / len(wrong)


def _confused(confusion: Tensor, classes: Sequence[str]) -> tuple[ConfusedPair, ...]:
    wrong = confusion - confusion.diagonal().diag()
    pairs = [(int(wrong[t, p]), t, p) for t, p in wrong.nonzero().tolist()]
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    return tuple(
        ConfusedPair(truth=classes[t], predicted=classes[p], num_images=count) for count, t, p in pairs[:CONFUSED_PAIRS]
    )
