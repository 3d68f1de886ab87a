"""What a multilabel network is worth: mean average precision with its interval, F1 of every class, the worst images."""

from collections.abc import Mapping
from math import fsum, isnan
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from deepres.base.records import Record
from deepres.base.wording import counted, percent
from deepres.data.images import Images
from deepres.tasks.blocks import AnsweredPicture, Block, Card, Pictures, Table
from deepres.tasks.multilabel.metrics import (
    LabelAnswers,
    average_precisions,
    binary_loss,
    counts,
    f1,
    map_interval,
)
from deepres.tasks.multilabel.task import HALF, Multilabel, Thresholds
from deepres.tasks.multilabel.thresholds import said
from deepres.tasks.result import Evaluation, Headline, Result, printable

WORST_IMAGES = 24


class LabelScore(Record):
    """One class: F1 = 2 right / (there + said), at its `threshold`; a score whose denominator is 0 is None."""

    name: str
    num_images: int
    num_said: int
    num_right: int
    threshold: float
    average_precision: float | None
    precision: float | None
    recall: float | None
    f1: float | None


class WrongLabels(Record):
    """An image with its classes as they are and as the network says; `loss` is its binary cross-entropy."""

    index: int
    name: str
    truth: tuple[str, ...]
    said: tuple[str, ...]
    loss: float


class MultilabelResult(Result):
    """Figures over N images and C classes; shares are fractions in [0, 1].

    `mean_average_precision` is over the classes that are on some image; it needs no threshold, the others do.
    """

    task: Literal["multilabel"] = "multilabel"
    mean_average_precision: float
    mean_average_precision_low: float  # percentile bootstrap over images, 95 %
    mean_average_precision_high: float
    macro_f1: float  # mean over the classes that are there or said
    micro_f1: float  # of all pairs of image and class
    hamming_loss: float  # share of wrong pairs
    subset_error: float  # share of images with a wrong class
    binary_cross_entropy: float  # summed over classes, mean over images, nats
    classes: tuple[str, ...]
    per_class: tuple[LabelScore, ...]
    thresholds: Thresholds | None
    worst: tuple[WrongLabels, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    @property
    def headline(self) -> Headline:
        """The mean average precision."""
        low, high = self.mean_average_precision_low, self.mean_average_precision_high
        return Headline(
            name="mean average precision",
            value=self.mean_average_precision,
            low=low,
            high=high,
            text=percent(self.mean_average_precision),
            interval=f"{100 * low:.1f} to {100 * high:.1f} %",
            lower_is_better=False,
        )

    def lines(self) -> list[str]:
        """Headline, figures at the thresholds, the hardest classes."""
        head, at = self.headline, "0.5" if self.thresholds is None else "the held-out thresholds"
        lines = [
            f"{self.split} mean average precision {head.text} (95 % interval {head.interval}) "
            f"of {counted(self.num_images, 'image')}, {counted(len(self.classes), 'class')}",
            f"at {at}: F1 {percent(self.macro_f1)} (mean over classes), {percent(self.micro_f1)} (all pairs); "
            f"wrong {percent(self.hamming_loss)} of image-class pairs, {percent(self.subset_error)} of images",
        ]
        known = [one for one in self.per_class if one.average_precision is not None]
        hardest = sorted(known, key=lambda one: one.average_precision or 0.0)[:3]
        if hardest and (hardest[0].average_precision or 0.0) < 1:
            each = (f"{one.name} ({percent(one.average_precision or 0.0)})" for one in hardest)
            lines.append("lowest average precision: " + ", ".join(each))
        absent = [one.name for one in self.per_class if not one.num_images]
        if absent:
            lines.append(f"on no image, so left out of the mean: {', '.join(absent[:5])}")
        return [*lines, self.told_how(), *self.told_beside()]

    def cards(self) -> tuple[Card, ...]:
        """Figures beside the headline."""
        return (
            Card(value=percent(self.macro_f1), name="F1 (mean over classes)"),
            Card(value=percent(self.micro_f1), name="F1 (all pairs)"),
            Card(value=percent(self.subset_error), name="images with a wrong class"),
            Card(value=percent(self.hamming_loss), name="wrong image-class pairs"),
            Card(value=f"{self.binary_cross_entropy:.4f}", name="binary cross-entropy (nats)"),
        )

    def blocks(self) -> tuple[Block, ...]:
        """Classes, the lowest average precision first; the worst images."""
        order = sorted(self.per_class, key=lambda one: 2.0 if one.average_precision is None else one.average_precision)
        rows = tuple(
            (
                one.name,
                _shown(one.average_precision),
                _shown(one.f1),
                _shown(one.precision),
                _shown(one.recall),
                f"{one.threshold:.2f}",
                f"{one.num_images:,}",
                f"{one.num_said:,}",
                f"{one.num_right:,}",
            )
            for one in order
        )
        header = ("class", "average precision", "F1", "precision", "recall", "threshold", "images", "said", "right")
        note = f"Thresholds are {HALF:g}." if self.thresholds is None else f"{str(self.thresholds).capitalize()}."
        classes = Table(
            title="Class by class, lowest average precision first",
            header=header,
            rows=rows,
            bars=tuple(one.average_precision or 0.0 for one in order),
            note=note,
        )
        pictures = tuple(
            AnsweredPicture(index=one.index, name=one.name, wanted=_named(one.truth), answered=_named(one.said))
            for one in self.worst
        )
        shown = (Pictures(title="Images of the highest loss", pictures=pictures),) if pictures else ()
        return (classes, *shown)


def concluded(answers: LabelAnswers, images: Images, facts: Mapping[str, Any], task: Multilabel) -> Evaluation:
    """The evaluation that answers come to, classes said from their thresholds on (None: 1/2)."""
    thresholds = task.thresholds
    classes = tuple(printable(name) for name in images.classes)
    chosen = said(answers.probabilities, thresholds)
    precisions = average_precisions(answers.truth, answers.logits)
    known = [value for value in precisions if value is not None]
    low, high = map_interval(answers.truth, answers.logits) if known else (0.0, 1.0)
    there, named, right = counts(answers.truth, chosen)
    at = (HALF,) * len(classes) if thresholds is None else thresholds.values
    per_class = tuple(
        LabelScore(
            name=name,
            num_images=there[c],
            num_said=named[c],
            num_right=right[c],
            threshold=at[c],
            average_precision=precisions[c],
            precision=right[c] / named[c] if named[c] else None,
            recall=right[c] / there[c] if there[c] else None,
            f1=f1(there[c], named[c], right[c]),
        )
        for c, name in enumerate(classes)
    )
    each = [one.f1 for one in per_class if one.f1 is not None]
    wrong = chosen != answers.truth.bool()
    mean = fsum(known) / len(known) if known else 0.0
    result = MultilabelResult(
        num_images=len(answers),
        mean_average_precision=mean,
        mean_average_precision_low=mean if isnan(low) else low,
        mean_average_precision_high=mean if isnan(high) else high,
        macro_f1=fsum(each) / len(each) if each else 0.0,
        micro_f1=f1(sum(there), sum(named), sum(right)) or 0.0,
        hamming_loss=int(wrong.sum()) / wrong.numel(),
        subset_error=int(wrong.any(1).sum()) / len(answers),
        binary_cross_entropy=binary_loss(answers.truth, answers.logits),
        classes=classes,
        per_class=per_class,
        thresholds=thresholds,
        worst=_worst(answers, images, classes, chosen),
        images_per_second=len(answers) / facts["seconds"],
        **facts,
    )
    return Evaluation(result, answers, task)


def worst_rows(evaluation: Evaluation, images: Images, thresholds: Thresholds | None) -> list[tuple[object, ...]]:
    """Every image with a wrong class, the highest loss first: what is on it, what was said, its loss."""
    answers, result = evaluation.predictions, evaluation.result
    rows: list[tuple[object, ...]] = [("image", "truth", "said", "loss", "split")]
    each, order = _by_loss(answers, said(answers.probabilities, thresholds))
    chosen = said(answers.probabilities, thresholds)
    for i in order:
        truth, named = (_on(result.classes, which[i]) for which in (answers.truth, chosen))
        name = images.name(int(answers.indices[i]))
        rows.append((name, ";".join(truth), ";".join(named), round(float(each[i]), 6), result.split))
    return rows


def _by_loss(answers: LabelAnswers, chosen: Tensor) -> tuple[Tensor, list[int]]:
    """The loss of each image, and the places of those with a wrong class, the highest loss first."""
    each = F.binary_cross_entropy_with_logits(answers.logits, answers.truth.double(), reduction="none").sum(1)
    wrong = (chosen != answers.truth.bool()).any(1).nonzero()[:, 0]
    return each, wrong[each[wrong].argsort(descending=True, stable=True)].tolist()


def _on(classes: tuple[str, ...], which: Tensor) -> tuple[str, ...]:
    return tuple(name for name, on in zip(classes, which.tolist(), strict=True) if on)


def _worst(answers: LabelAnswers, images: Images, classes: tuple[str, ...], chosen: Tensor) -> tuple[WrongLabels, ...]:
    each, order = _by_loss(answers, chosen)
    return tuple(
        WrongLabels(
            index=int(answers.indices[i]),
            name=printable(images.name(int(answers.indices[i]))),
            truth=_on(classes, answers.truth[i]),
            said=_on(classes, chosen[i]),
            loss=float(each[i]),
        )
        for i in order[:WORST_IMAGES]
    )


def _named(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _shown(fraction: float | None) -> str:
    return "–" if fraction is None else percent(fraction)
