"""What a localiser is worth: the errors of its guesses, with and without their boxes, class by class."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import torch

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.wording import counted, percent
from deepres.data.boxes import BoxTargets
from deepres.data.images import Images
from deepres.tasks.blocks import AnsweredPicture, Block, Card, Outline, Pictures, Table
from deepres.tasks.classification.metrics import interval
from deepres.tasks.detection.detections import Truth
from deepres.tasks.localisation.answers import GuessAnswers
from deepres.tasks.localisation.measure import IOU, right, wrong
from deepres.tasks.result import Evaluation, Headline, Result, printable

WORST_PICTURES = 12
HEAD = ("image", "truth", "guessed", "chance", "x1", "y1", "x2", "y2", "class_right", "box_right_given_class", "split")


class ClassLocalised(Record):
    """One class: its pictures, those of which no guess is right, and those whose box is wrong given the class."""

    name: str
    num_images: int
    num_wrong: int
    num_given_wrong: int


class WrongGuess(Record):
    """A picture of which no guess is right: its class, the first guess, and the boxes of both."""

    index: int
    name: str
    truth: str
    guessed: str
    outlines: tuple[Outline, ...]


class LocalisationResult(Result):
    """Errors over N pictures, fractions in [0, 1]; Wilson's intervals.

    `error`: none of the first five guesses has the class and a box of an IoU of .5 or more (ILSVRC's top-5 localisation
    error); `top1_error` of the first alone; `given_error` of the box given the true class; `class_*` of the class
    whatever the box. A picture without an object is none of them (`num_empty`), one with objects of several classes
    (`num_several`) is of the first one's. `whole_*` are what the same guesses come to if each has the whole picture as
    its box.
    """

    task: Literal["localisation"] = "localisation"
    error: float
    error_low: float
    error_high: float
    top1_error: float
    given_error: float
    given_low: float
    given_high: float
    class_top5_error: float
    class_top1_error: float
    whole_error: float
    whole_given_error: float
    num_empty: int
    num_several: int
    classifier: str | None
    classes: tuple[str, ...]
    per_class: tuple[ClassLocalised, ...]
    worst: tuple[WrongGuess, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    @property
    def has_worst(self) -> bool:
        return self.error > 0

    @property
    def headline(self) -> Headline:
        """The error of the best of five."""
        return Headline(
            name="localisation error",
            value=self.error,
            low=self.error_low,
            high=self.error_high,
            text=percent(self.error),
            interval=f"{100 * self.error_low:.1f} to {100 * self.error_high:.1f} %",
            detail="class and box, the best of five guesses",
        )

    def facts(self) -> dict[str, Any]:
        more = ("top1_error", "given_error", "class_top5_error", "class_top1_error", "whole_error", "whole_given_error")
        return super().facts() | {"error": self.error} | {name: getattr(self, name) for name in more}

    def lines(self) -> list[str]:
        """Headline, the true class given, the class alone, the hardest classes."""
        head = self.headline
        whose = "the network's own scores" if self.classifier is None else self.classifier
        given = f"{100 * self.given_low:.1f} to {100 * self.given_high:.1f} %"
        lines = [
            f"{self.split} {head.name} {head.text} (95 % interval {head.interval}) of "
            f"{counted(self.num_images, 'image')}; class and box at an overlap of {IOU:g}, the best of five guesses "
            f"(of one {percent(self.top1_error)})",
            f"error of the box given the true class {percent(self.given_error)} (95 % interval {given})",
            f"error of the class alone: best of five {percent(self.class_top5_error)}, of one "
            f"{percent(self.class_top1_error)}; classes by {whose}",
            f"with the whole picture as the box: localisation error {percent(self.whole_error)}, given the true class "
            f"{percent(self.whole_given_error)}",
        ]
        hardest = sorted(self.per_class, key=lambda one: -one.num_given_wrong / max(1, one.num_images))[:3]
        if hardest and hardest[0].num_given_wrong:
            told = ", ".join(f"{one.name} ({one.num_given_wrong} of {one.num_images})" for one in hardest)
            lines.append(f"boxes wrong given the class most often: {told}")
        if self.num_empty:
            lines.append(f"{counted(self.num_empty, 'image')} without an object: no guess about it can be right")
        if self.num_several:
            told = "is" if self.num_several == 1 else "are"
            several = counted(self.num_several, "image")
            lines.append(f"{several} with objects of several classes {told} of the class of the first")
        return [*lines, self.told_how(), *self.told_beside()]

    def cards(self) -> tuple[Card, ...]:
        """Figures beside the headline."""
        return (
            Card(value=percent(self.given_error), name="error of the box given the true class"),
            Card(value=percent(self.top1_error), name="localisation error of the first guess"),
            Card(value=percent(self.class_top5_error), name="error of the class, best of five"),
            Card(value=percent(self.class_top1_error), name="error of the first class"),
            Card(value=percent(self.whole_given_error), name="error of the whole picture as the box, given the class"),
        )

    def blocks(self) -> tuple[Block, ...]:
        """Classes, the hardest first; pictures of which no guess is right."""
        order = sorted(self.per_class, key=lambda one: -one.num_wrong / max(1, one.num_images))
        rows = tuple(
            (one.name, percent(one.num_wrong / n), percent(one.num_given_wrong / n), f"{one.num_images:,}")
            for one in order
            if (n := one.num_images)
        )
        header = ("class", "localisation error", "given the class", "images")
        table = Table(title="Class by class, the highest error first", header=header, rows=rows)
        if not self.worst:
            return (table,)
        shown = tuple(
            AnsweredPicture(
                index=one.index, name=one.name, wanted=one.truth, answered=one.guessed, outlines=one.outlines
            )
            for one in self.worst
        )
        note = "True boxes are yellow and dashed, the box of the true class blue, that of the first guess orange."
        return (table, Pictures(title="Pictures of which no guess is right", pictures=shown, note=note))


def concluded(answers: GuessAnswers, images: Images, facts: Mapping[str, Any], task: Any) -> Evaluation:
    """The result of these answers about `images`.

    Raises:
        InputError: no picture has an object.
    """
    targets = images.targets
    assert isinstance(targets, BoxTargets)
    there = answers.labels >= 0
    if not bool(there.any()):
        raise InputError(f"{facts['split']}: no object in any picture: nothing to measure; give pictures with boxes")
    known = answers.known(targets)
    number = len(known)
    missed = ~known.right.any(1)
    of_class = known.classes == known.labels[:, None]
    given = ~known.given_right
    whole, whole_given = _whole_picture(known, images)
    low, high = interval(int(missed.sum()), number)
    given_low, given_high = interval(int(given.sum()), number)
    each, lost, lost_given = (Counter(known.labels[rows].tolist()) for rows in (torch.ones_like(missed), missed, given))
    per_class = tuple(
        ClassLocalised(name=name, num_images=each[at], num_wrong=lost[at], num_given_wrong=lost_given[at])
        for at, name in enumerate(images.classes)
    )
    result = LocalisationResult(
        **facts,
        num_images=number,
        images_per_second=number / max(facts["seconds"], 1e-9),
        error=wrong(known.right) / number,
        error_low=low,
        error_high=high,
        top1_error=wrong(known.right, 1) / number,
        given_error=int(given.sum()) / number,
        given_low=given_low,
        given_high=given_high,
        class_top5_error=wrong(of_class) / number,
        class_top1_error=wrong(of_class, 1) / number,
        whole_error=whole / number,
        whole_given_error=whole_given / number,
        num_empty=int((~there).sum()),
        num_several=sum(len(set(boxes.classes[~boxes.ignored].tolist())) > 1 for boxes in targets[known.indices]),
        classifier=task.classifier,
        classes=images.classes,
        per_class=per_class,
        worst=tuple(_wrong(known, row, images) for row in missed.nonzero()[:WORST_PICTURES, 0].tolist()),
    )
    return Evaluation(result, known, task)


def _whole_picture(known: GuessAnswers, images: Images) -> tuple[int, int]:
    """With the whole picture as the box: on how many none of the guesses is right, and the true class is not."""
    targets = images.targets
    assert isinstance(targets, BoxTargets)
    sizes = [images.header(place)[:2] for place in known.indices.tolist()]
    boxes = torch.tensor([[0, 0, *size] for size in sizes], dtype=torch.float64)[:, None]
    truth = Truth.marked(targets[known.indices])
    found = right(known.classes, boxes.expand(-1, known.classes.shape[1], -1), truth)
    return wrong(found), wrong(right(known.labels[:, None], boxes, truth))


def _wrong(known: GuessAnswers, row: int, images: Images) -> WrongGuess:
    index, label, first = int(known.indices[row]), int(known.labels[row]), int(known.classes[row, 0])
    targets = images.targets
    assert isinstance(targets, BoxTargets)
    truth = images.classes[label] if label >= 0 else "no object"
    outlines = [
        Outline(kind="missed", corners=tuple(corners), label=truth) for corners in targets[index].corners.tolist()
    ]
    if label >= 0:
        outlines.append(Outline(kind="right", corners=tuple(known.given[row].tolist()), label=truth))
    guess = images.classes[first]
    outlines.append(Outline(kind="false", corners=tuple(known.boxes[row, 0].tolist()), label=guess))
    return WrongGuess(
        index=index, name=printable(images.name(index)), truth=truth, guessed=guess, outlines=tuple(outlines)
    )


def worst_rows(evaluation: Evaluation, images: Images) -> list[tuple[object, ...]]:
    """The pictures of which no guess is right, those whose class is right last; the head first."""
    known, result = evaluation.predictions, evaluation.result
    missed = (~known.right.any(1)).nonzero()[:, 0].tolist()
    of_class = (known.classes == known.labels[:, None]).any(1).tolist()
    rows: list[tuple[object, ...]] = [HEAD]
    for row in sorted(missed, key=lambda row: of_class[row]):
        label = int(known.labels[row])
        rows.append(
            (
                images.name(int(known.indices[row])),
                result.classes[label] if label >= 0 else "",
                result.classes[int(known.classes[row, 0])],
                round(float(known.chances[row, 0]), 6),
                *(round(value, 2) for value in known.boxes[row, 0].tolist()),
                int(of_class[row]),
                int(known.given_right[row]),
                result.split,
            )
        )
    return rows
