"""Several classifiers as one: probabilities averaged per image, or a vote; which to take, by held-out images."""

from collections.abc import Sequence
from math import fsum, log

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.wording import counted, percent
from deepres.tasks.classification.metrics import Measures, Predictions
from deepres.tasks.ensemble import Member, orders_of


class Selection(Record):
    """Members in the order in which they were taken; `errors` are those of the ensemble after each, on `split`."""

    split: str
    num_images: int
    chosen: tuple[str, ...]
    errors: tuple[float, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        """`chosen on 500 images of val: a (4.00 %), b (3.20 %); left out: c`."""
        taken = ", ".join(f"{name} ({percent(error)})" for name, error in zip(self.chosen, self.errors, strict=True))
        rest = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
        return f"chosen on {counted(self.num_images, 'image')} of {self.split}: {taken}{rest}"


def mean_predictions(answers: Sequence[Predictions], orders: Sequence[Sequence[int]]) -> Predictions:
    """p = the mean over networks of their probabilities; columns as `Averaging.mean_answers` says.

    Raises:
        InputError: no scores kept.
    """
    measures = Measures(keep_scores=True)
    measures.update(_mean(_aligned(answers, orders)), answers[0].truth, answers[0].indices)
    return measures.answers()


def select(members: Sequence[Member]) -> Selection:
    """Greedily: the member that lowers the error most, of equal ones the cross-entropy, until none lowers the error.

    Each is taken at most once (Caruana et al. 2004 draw with replacement; ours does not). The members' images have to
    be held out: the error of the chosen on these very images is too low.

    Raises:
        InputError: as `together`.
    """
    scores = _aligned([member.evaluation.predictions for member in members], orders_of(members))
    truth = members[0].evaluation.predictions.truth
    chosen: list[int] = []
    errors: list[float] = []
    best = len(truth) + 1
    while len(chosen) < len(members):
        tried = []
        for place in range(len(members)):
            if place not in chosen:
                tried.append((*_judged(_mean([scores[p] for p in (*chosen, place)]), truth), place))
        num_wrong, _, place = min(tried)
        if num_wrong >= best:
            break
        best = num_wrong
        chosen.append(place)
        errors.append(num_wrong / len(truth))
    return Selection(
        split=members[0].evaluation.result.split,
        num_images=len(truth),
        chosen=tuple(members[place].name for place in chosen),
        errors=tuple(errors),
        left_out=tuple(member.name for place, member in enumerate(members) if place not in chosen),
    )


def vote(predicted: Tensor, num_classes: int) -> Tensor:
    """int64 (M, N) classes that M members name -> (N,): the class named most often.

    Of classes named equally often the one that the first of the members named: put the best first (ours).
    """
    count = torch.zeros(predicted.shape[1], num_classes, dtype=torch.int64)
    earliest = torch.full_like(count, len(predicted))
    for place, names in reversed(list(enumerate(predicted.to(torch.int64)))):
        count.scatter_add_(1, names[:, None], torch.ones_like(names)[:, None])
        earliest.scatter_(1, names[:, None], place)
    return (count * (len(predicted) + 1) - earliest).argmax(1)


def _aligned(answers: Sequence[Predictions], orders: Sequence[Sequence[int]]) -> list[Tensor]:
    """Scores (N, C) of each, float64, columns in the first one's order of classes."""
    return [_scores(each)[:, list(order)] for each, order in zip(answers, orders, strict=True)]


def _scores(predictions: Predictions) -> Tensor:
    if predictions.scores is None:
        raise InputError("ensemble: wanted the scores of all classes; evaluate with keep_scores=True")
    return predictions.scores


def _mean(scores: Sequence[Tensor]) -> Tensor:
    total = scores[0]
    for other in scores[1:]:
        total = torch.logaddexp(total, other)
    return total - log(len(scores))


def _judged(scores: Tensor, truth: Tensor) -> tuple[int, float]:
    losses = -scores.gather(1, truth[:, None])[:, 0]
    return int((scores.argmax(1) != truth).sum()), fsum(losses.tolist())
