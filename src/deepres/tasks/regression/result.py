"""What a regression network is worth: mean absolute error with its interval, R2, points, the worst images."""

from collections.abc import Mapping
from math import fsum
from typing import Any, Literal

import torch

from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.data.images import Images
from deepres.tasks.blocks import AnsweredPicture, Block, Card, Pictures, Points, Table
from deepres.tasks.regression.metrics import NumberAnswers, interval_of_mean, mean_of, r2
from deepres.tasks.regression.task import Bounds, Regression, number
from deepres.tasks.result import Evaluation, Headline, Result, printable

WORST_IMAGES = 24
MOST_POINTS = 1000
"""Points kept for the plot of a column, evenly over the set."""


class ColumnScore(Record):
    """One column, in its units: errors over the images, R2, and the error of always answering the training mean."""

    name: str
    mean_absolute_error: float
    mean_absolute_error_low: float  # Student's 95 % interval
    mean_absolute_error_high: float
    root_mean_squared_error: float
    median_absolute_error: float
    r2: float | None
    mean_error: float  # predicted - truth: which way it leans
    of_the_mean: float  # mean absolute error of the training mean
    std: float  # of the training images
    half_width: float | None = None  # of the interval that answers are given with
    covered: float | None = None  # share of images whose number lies within it


class WrongNumbers(Record):
    """An image with its numbers as they are and as answered; `error` is mean |error| / std over the columns."""

    index: int
    name: str
    truth: tuple[float, ...]
    predicted: tuple[float, ...]
    error: float


class RegressionResult(Result):
    """Figures over N images and K columns.

    `error` is the mean absolute error: of one column in its units, of several the mean over the columns of that in
    standard deviations of the training images.
    """

    task: Literal["regression"] = "regression"
    error: float
    error_low: float  # Student's 95 % interval
    error_high: float
    huber: float  # the loss, as in training
    distance: float  # mean over images and columns of |error| / std
    distance_low: float
    distance_high: float
    columns: tuple[str, ...]
    per_column: tuple[ColumnScore, ...]
    points: tuple[tuple[tuple[float, float], ...], ...]  # of each column (truth, predicted)
    worst: tuple[WrongNumbers, ...]
    bounds: Bounds | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns

    @property
    def headline(self) -> Headline:
        """The mean absolute error."""
        of = f" of {self.columns[0]}" if len(self.columns) == 1 else " in standard deviations"
        return Headline(
            name=f"mean absolute error{of}",
            value=self.error,
            low=self.error_low,
            high=self.error_high,
            text=number(self.error),
            interval=f"{number(self.error_low)} to {number(self.error_high)}",
            is_share=False,
        )

    def lines(self) -> list[str]:
        """Headline, then a line for each column."""
        head = self.headline
        lines = [
            f"{self.split} {head.name} {head.text} (95 % interval {head.interval}) of "
            f"{counted(self.num_images, 'image')}"
        ]
        for one in self.per_column:
            within = ""
            if one.half_width is not None and one.covered is not None:
                within = f"; {100 * one.covered:.1f} % within ± {number(one.half_width)}"
            lines.append(
                f"{one.name}: mean absolute error {number(one.mean_absolute_error)} (of always the training mean: "
                f"{number(one.of_the_mean)}), R2 {'–' if one.r2 is None else f'{one.r2:.4f}'}, "
                f"root mean squared error {number(one.root_mean_squared_error)}{within}"
            )
        return [*lines, self.told_how(), *self.told_beside()]

    def cards(self) -> tuple[Card, ...]:
        """Figures beside the headline: of one column its own, of several their number."""
        if len(self.per_column) > 1:
            return (Card(value=str(len(self.per_column)), name="columns"),)
        (one,) = self.per_column
        cards = [
            Card(value="–" if one.r2 is None else f"{one.r2:.4f}", name="R2"),
            Card(value=number(one.root_mean_squared_error), name="root mean squared error"),
            Card(value=number(one.median_absolute_error), name="median absolute error"),
            Card(value=number(one.of_the_mean), name="error of always answering the training mean"),
        ]
        return tuple(cards)

    def blocks(self) -> tuple[Block, ...]:
        """Points of every column, a table of columns, the worst images."""
        points = tuple(
            Points(
                title=name, x="as it is", y="as answered", points=points, note=_thinned(len(points), self.num_images)
            )
            for name, points in zip(self.columns, self.points, strict=True)
        )
        header = (
            "column",
            "mean absolute error",
            "95 % interval",
            "R2",
            "root mean squared error",
            "median",
            "leans by",
            "of the training mean",
            "within its interval",
        )
        rows = tuple(
            (
                one.name,
                number(one.mean_absolute_error),
                f"{number(one.mean_absolute_error_low)} to {number(one.mean_absolute_error_high)}",
                "–" if one.r2 is None else f"{one.r2:.4f}",
                number(one.root_mean_squared_error),
                number(one.median_absolute_error),
                f"{one.mean_error:+.4g}",
                number(one.of_the_mean),
                "–"
                if one.covered is None or one.half_width is None
                else f"{100 * one.covered:.1f} % (± {number(one.half_width)})",
            )
            for one in self.per_column
        )
        note = ""
        if self.bounds is not None:
            note = (
                f"An answer's interval is as wide as the errors of {self.bounds.images} held-out images say, "
                f"for {100 * self.bounds.coverage:g} % of images."
            )
        table = Table(title="Column by column", header=header, rows=rows, note=note)
        pictures = tuple(
            AnsweredPicture(index=one.index, name=one.name, wanted=_row(one.truth), answered=_row(one.predicted))
            for one in self.worst
        )
        return (*points, table, Pictures(title="Images of the largest error", pictures=pictures))


def concluded(answers: NumberAnswers, images: Images, facts: Mapping[str, Any], task: Regression) -> Evaluation:
    """The evaluation that answers come to; the task's `mean` and `std` are those of the training images."""
    mean, std, delta, bounds = task.mean, task.std, task.delta, task.bounds
    names = tuple(printable(name) for name in images.classes)
    errors = answers.errors
    half = (None,) * len(names) if bounds is None else bounds.values
    per_column = tuple(_column(name, answers, k, mean[k], std[k], half[k]) for k, name in enumerate(names))
    relative = (errors.abs() / torch.tensor(std, dtype=torch.float64)).mean(1)
    if len(names) == 1:
        first = per_column[0]
        headline = (first.mean_absolute_error, first.mean_absolute_error_low, first.mean_absolute_error_high)
    else:
        headline = (mean_of(relative), *interval_of_mean(relative))
    e = (errors / torch.tensor(std, dtype=torch.float64)).abs()
    huber = mean_of(torch.where(e <= delta, e**2 / 2, delta * (e - delta / 2)).mean(1))
    order = relative.argsort(descending=True, stable=True)[:WORST_IMAGES].tolist()
    worst = tuple(
        WrongNumbers(
            index=int(answers.indices[i]),
            name=printable(images.name(int(answers.indices[i]))),
            truth=tuple(answers.truth[i].tolist()),
            predicted=tuple(answers.predicted[i].tolist()),
            error=float(relative[i]),
        )
        for i in order
    )
    step = max(1, -(-len(answers) // MOST_POINTS))
    result = RegressionResult(
        num_images=len(answers),
        error=headline[0],
        error_low=headline[1],
        error_high=headline[2],
        huber=huber,
        distance=mean_of(relative),
        distance_low=interval_of_mean(relative)[0],
        distance_high=interval_of_mean(relative)[1],
        columns=names,
        per_column=per_column,
        points=tuple(
            tuple(zip(answers.truth[::step, k].tolist(), answers.predicted[::step, k].tolist(), strict=True))
            for k in range(len(names))
        ),
        worst=worst,
        bounds=bounds,
        images_per_second=len(answers) / facts["seconds"],
        **facts,
    )
    return Evaluation(result, answers, task)


def worst_rows(evaluation: Evaluation, images: Images) -> list[tuple[object, ...]]:
    """Every image, the largest error first (mean |error| / std over the columns): numbers as they are, as answered."""
    answers, result = evaluation.predictions, evaluation.result
    std = torch.tensor([one.std for one in result.per_column], dtype=torch.float64)
    relative = (answers.errors.abs() / std).mean(1)
    head = [f"{name}{end}" for name in result.columns for end in ("", " answered")]
    rows: list[tuple[object, ...]] = [("image", *head, "error in standard deviations", "split")]
    for i in relative.argsort(descending=True, stable=True).tolist():
        pairs = zip(answers.truth[i].tolist(), answers.predicted[i].tolist(), strict=True)
        both = (value for pair in pairs for value in pair)
        rows.append((images.name(int(answers.indices[i])), *both, round(float(relative[i]), 6), result.split))
    return rows


def _column(name: str, answers: NumberAnswers, k: int, mean: float, std: float, half: float | None) -> ColumnScore:
    truth, predicted, errors = answers.truth[:, k], answers.predicted[:, k], answers.errors[:, k]
    absolute = errors.abs()
    low, high = interval_of_mean(absolute)
    return ColumnScore(
        name=name,
        mean_absolute_error=mean_of(absolute),
        mean_absolute_error_low=low,
        mean_absolute_error_high=high,
        root_mean_squared_error=(fsum((errors**2).tolist()) / len(errors)) ** 0.5,
        median_absolute_error=float(absolute.quantile(0.5)) if len(absolute) < 2**24 else float(absolute.median()),
        r2=r2(truth, predicted),
        mean_error=mean_of(errors),
        of_the_mean=mean_of((truth - mean).abs()),
        std=std,
        half_width=half,
        covered=None if half is None else int((absolute <= half).sum()) / len(absolute),
    )


def _row(values: tuple[float, ...]) -> str:
    return ", ".join(map(number, values))


def _thinned(points: int, images: int) -> str:
    return "" if points == images else f"{points:,} of {counted(images, 'image')}, evenly over the set."
