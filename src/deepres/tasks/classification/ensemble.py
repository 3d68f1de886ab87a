"""Several networks as one: scores averaged per image, or a vote; which of them to take, chosen on held-out images."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, log

import torch
from pydantic import JsonValue
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.wording import counted, percent
from deepres.data.images import Images
from deepres.tasks.classification.metrics import Measures, Predictions
from deepres.tasks.classification.result import concluded
from deepres.tasks.result import Evaluation, printable


@dataclass(frozen=True, eq=False)
class Member:
    """One network's evaluation, with the scores of all classes, on images that lie in its own order of classes."""

    name: str
    evaluation: Evaluation
    images: Images


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


def together(members: Sequence[Member], provenance: dict[str, JsonValue]) -> Evaluation:
    """The ensemble: p = the mean over members of their probabilities, in the first member's order of classes.

    Raises:
        InputError: other classes, other images, or no scores kept.
    """
    first = members[0]
    mean = _mean(_aligned(members))
    predictions = first.evaluation.predictions
    measures = Measures(keep_scores=True)
    measures.update(mean, predictions.truth, predictions.indices)
    results = [member.evaluation.result for member in members]
    facts = {
        "split": results[0].split,
        "protocol": ", ".join(dict.fromkeys(result.protocol for result in results)),
        "shown": "; ".join(dict.fromkeys(result.shown for result in results)),
        "skipped": results[0].skipped,
        "seconds": fsum(result.seconds for result in results),
        "provenance": provenance,
        "precision": ", ".join(dict.fromkeys(result.precision for result in results)),
        "notes": tuple(dict.fromkeys(note for result in results for note in result.notes)),
    }
    return concluded(measures.answers(), first.images, facts)


def select(members: Sequence[Member]) -> Selection:
    """Greedily: the member that lowers the error most, of equal ones the cross-entropy, until none lowers the error.

    Each is taken at most once (Caruana et al. 2004 draw with replacement; ours does not). The members' images have to
    be held out: the error of the chosen on these very images is too low.

    Raises:
        InputError: as `together`.
    """
    scores, truth = _aligned(members), members[0].evaluation.predictions.truth
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


def _aligned(members: Sequence[Member]) -> list[Tensor]:
    """Scores (N, C) of each member, float64, columns in the first one's order of classes, after all is compared."""
    first, aligned = members[0], []
    classes, names = first.evaluation.result.classes, _names(first)
    for member in members:
        known, predictions = member.evaluation.result.classes, member.evaluation.predictions
        if set(known) != set(classes):
            raise InputError(
                f"{member.name} knows {_classes(known)}, {first.name} {_classes(classes)}; members of an ensemble need "
                "the same classes"
            )
        if _names(member) != names:
            raise InputError(
                f"{member.name} is measured on {_set(member)}, {first.name} on others, {_set(first)}; "
                "name one SOURCE for all"
            )
        aligned.append(_scores(predictions)[:, [known.index(name) for name in classes]])
    return aligned


def _classes(names: tuple[str, ...]) -> str:
    return f"{counted(len(names), 'class')} ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"


def _set(member: Member) -> str:
    result = member.evaluation.result
    return f"{counted(result.num_images, 'image')} ({result.split} of {result.provenance.get('source', '?')})"


def _names(member: Member) -> list[str]:
    return [printable(member.images.name(i)) for i in member.evaluation.predictions.indices.tolist()]


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
