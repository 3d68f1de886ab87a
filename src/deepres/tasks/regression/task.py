"""Numbers of an image: the task as one value."""

from collections.abc import Mapping, Sequence
from math import fsum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.tasks.plain import OneRow
from deepres.tasks.regression.answer import NumbersAnswer, Value
from deepres.tasks.task import Average, Compared, Learning

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from deepres.data.forms import FormName
    from deepres.data.images import Images
    from deepres.tasks.losses import Loss
    from deepres.tasks.regression.metrics import NumberAnswers, NumberMetrics
    from deepres.tasks.regression.result import RegressionResult
    from deepres.tasks.result import Evaluation
    from deepres.tasks.validation import Validation


class Bounds(Record):
    """Half widths of the intervals of answers, one a column (None: too few images), and where they are from."""

    values: tuple[float | None, ...]
    coverage: float
    found_on: str
    images: int


class Regression(OneRow, Record):
    """The network's outputs are (y - mean) / std, `mean` and `std` those of the training images' numbers.

    `delta` is where Huber's loss turns from squares to absolute values, in standard deviations. An answer comes with an
    interval that holds the number of `coverage` of new images, as wide as the errors of held-out images say (`bounds`).
    """

    kind: Literal["regression"] = "regression"
    delta: Annotated[float, Field(gt=0)] = 1.0
    coverage: Annotated[float, Field(gt=0, lt=1)] = 0.9
    mean: tuple[float, ...] = ()
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    bounds: Bounds | None = None

    form: ClassVar["FormName"] = "numbers"
    tools: ClassVar[frozenset[str]] = frozenset({"an ensemble", "--folds", "--protocol", "--minutes"})

    def fitted(self, targets: Any, names: tuple[str, ...]) -> "Regression":
        """With mean and standard deviation (over N) of each column; refuses a column that is always the same.

        Raises:
            InputError: a column has one value only.
        """
        columns = targets.double().T.tolist()
        mean = [fsum(column) / len(column) for column in columns]
        spread = [
            (fsum((value - centre) ** 2 for value in column) / len(column)) ** 0.5
            for column, centre in zip(columns, mean, strict=True)
        ]
        for name, column, own in zip(names, columns, spread, strict=True):
            if min(column) == max(column) or not own:
                raise InputError(
                    f"column '{name}': every training image has {number(column[0])}, which leaves nothing to learn; "
                    "leave it out, or add images of other numbers"
                )
        return self.replace(mean=tuple(mean), std=tuple(spread))

    def loss(self, learning: Learning) -> "Loss":
        """Huber's loss."""
        from deepres.tasks.regression.losses import huber

        return huber(self.mean, self.std, self.delta)

    def metrics(self, *, keep_scores: bool = False) -> "NumberMetrics":
        """A collector of answers."""
        from deepres.tasks.regression.metrics import NumberMetrics

        return NumberMetrics(self.mean, self.std)

    def mean_answers(self, answers: "Sequence[NumberAnswers]", orders: Sequence[Sequence[int]]) -> "NumberAnswers":
        """The mean of the numbers, in units: each network has a mean and spread of its own."""
        import torch

        from deepres.tasks.regression.metrics import NumberAnswers

        each = [one.predicted[:, list(order)] for one, order in zip(answers, orders, strict=True)]
        return NumberAnswers(answers[0].indices, answers[0].truth, torch.stack(each).mean(0))

    def restored(self, columns: "Mapping[str, Tensor]") -> "NumberAnswers":
        """The answers that were saved."""
        from deepres.tasks.regression.metrics import NumberAnswers

        return NumberAnswers(**columns)

    def result_in(self, path: "Path") -> "RegressionResult":
        """What was saved there."""
        from deepres.tasks.regression.result import RegressionResult

        return RegressionResult.load(path)

    def averaged(self, outputs: "Tensor", average: Average, dim: int = 0) -> "Tensor":
        """The mean over `dim`, float64."""
        return outputs.double().mean(dim)

    def concluded(self, answers: Any, images: "Images", facts: Mapping[str, Any]) -> "Evaluation":
        """Figures of the answers, in units."""
        from deepres.tasks.regression.result import concluded

        return concluded(answers, images, facts, self)

    def validation(self, result: "RegressionResult", balance: str) -> "Validation":
        """The mean distance in standard deviations decides, of one column and of several."""
        from deepres.tasks.validation import Validation

        return Validation(
            (result.distance,),
            {"loss": result.huber, "distance": result.distance},
            result.num_images,
            name="distance",
            low=result.distance_low,
            high=result.distance_high,
        )

    def settled(self, held_out: "Evaluation | None") -> tuple["Regression", str]:
        """With the half widths of intervals, from the errors of held-out images."""
        from deepres.tasks.regression.metrics import bound

        if held_out is None:
            return self, "answers come without an interval: no images were held out to tell how sure they are"
        errors = held_out.predictions.errors
        values = tuple(bound(errors[:, k], self.coverage) for k in range(errors.shape[1]))
        many, share = counted(len(errors), "held-out image"), f"{100 * self.coverage:g} %"
        if None in values:
            return self, f"answers come without an interval: {many} are too few for {share}"
        found = Bounds(values=values, coverage=self.coverage, found_on=held_out.result.split, images=len(errors))
        pairs = zip(held_out.result.columns, values, strict=True)
        told = ", ".join(f"{name} ± {number(half or 0.0)}" for name, half in pairs)
        return self.replace(bounds=found), f"answers hold for {share} of images within {told} ({many})"

    @property
    def settled_on(self) -> str | None:
        """The split that settled it, where one has."""
        return None if self.bounds is None else self.bounds.found_on

    def settled_text(self) -> str | None:
        if self.bounds is None:
            return None
        many = counted(self.bounds.images, "held-out image")
        return f"intervals hold for {100 * self.bounds.coverage:g} % of images, as the errors of {many} say"

    def columns(self, names: tuple[str, ...], most: int) -> list[str]:
        ends = ("",) if self.bounds is None else ("", " low", " high")
        return [f"{name}{end}" for name in names for end in ends]

    def facts(self, said: str) -> dict[str, Any]:
        """What `summary.json` says of it, `said` being the sentence of `settled`."""
        return {"task": self.kind, "answers": said}

    def measured_as(self, *, own_protocol: bool, found_here: bool) -> "Regression":
        """How often intervals hold is not told by the images that they are from."""
        return self if not found_here else self.unsettled()

    def unsettled(self) -> "Regression":
        """Without intervals."""
        return self.replace(bounds=None)

    def compared(self, columns: Mapping[str, Any]) -> Compared:
        """The mean absolute error: of one column in its units, of several in standard deviations."""
        import numpy as np

        errors = np.abs(columns["predicted"] - columns["truth"])
        alone = errors.shape[1] == 1
        each = errors[:, 0] if alone else (errors / np.array(self.std)).mean(1)
        name = "mean absolute error" + ("" if alone else " in standard deviations")
        return Compared(name, lambda weights: weights @ each / weights.sum(1), number)

    def worst(self, evaluation: "Evaluation", images: "Images") -> list[tuple[object, ...]]:
        from deepres.tasks.regression.result import worst_rows

        return worst_rows(evaluation, images)

    def activated(self, outputs: "Tensor") -> "Tensor":
        """mean + std z, float64."""
        from deepres.tasks.regression.losses import in_units

        return in_units(outputs, self.mean, self.std)

    def deactivated(self, answers: "Tensor") -> "Tensor":
        """(y - mean) / std."""
        from deepres.tasks.regression.losses import standardised

        return standardised(answers.double(), self.mean, self.std)

    def decode(self, outputs: "Tensor", names: tuple[str, ...], image: str, most: int) -> NumbersAnswer:
        """Each column's number with its interval."""
        half = (None,) * len(names) if self.bounds is None else self.bounds.values
        values = tuple(
            Value(
                name=name,
                value=value,
                low=None if own is None else value - own,
                high=None if own is None else value + own,
            )
            for name, value, own in zip(names, outputs.tolist(), half, strict=True)
        )
        return NumbersAnswer(image=image, values=values, coverage=None if self.bounds is None else self.coverage)

    def unread(self, image: str, problem: str) -> NumbersAnswer:
        return NumbersAnswer(image=image, values=(), problem=problem)


def number(value: float) -> str:
    """`12.35`, `0.001235`, `1.235e+06`: four digits."""
    return f"{value + 0.0:.4g}"
