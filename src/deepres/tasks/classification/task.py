"""One of several classes: the task as one value."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.tasks.classification.answer import ClassAnswer, Guess
from deepres.tasks.classification.rejection import Rejection, rule_of
from deepres.tasks.plain import OneRow
from deepres.tasks.task import Average, Compared, Learning, guessed

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from deepres.data.forms import FormName
    from deepres.data.images import Images
    from deepres.tasks.classification.metrics import Measures, Predictions
    from deepres.tasks.classification.result import ClassificationResult
    from deepres.tasks.losses import Loss
    from deepres.tasks.result import Evaluation
    from deepres.tasks.validation import Validation


LEAST = 1e-45
"""The smallest probability that is told from 0."""


class Temperature(Record):
    """T of softmax(z / T) with its 95 % interval, as so many `images` of the split `found_on` tell it."""

    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    low: float
    high: float
    found_on: str
    images: int

    def __str__(self) -> str:
        """`temperature 0.43 (95 % interval 0.30 to 0.61), found on 60 held-out images`."""
        sure = f"95 % interval {self.low:.2f} to {self.high:.2f}"
        return f"temperature {self.value:.2f} ({sure}), found on {counted(self.images, 'held-out image')}"


class Classification(OneRow, Record):
    """Which of the classes is it? Cross-entropy; probabilities are softmax(logits / T).

    `temperature` is T, once held-out images have told it; without one it is 1. `rejection` has what they tell of
    answers that had better not be given. Images whose highest probability is less than `answers_from` are unknown: that
    is said when images are asked about, and not kept.
    """

    kind: Literal["classification"] = "classification"
    temperature: Temperature | None = None
    rejection: Rejection | None = None
    answers_from: Annotated[float | None, Field(exclude=True)] = None

    form: ClassVar["FormName"] = "class"
    tools: ClassVar[frozenset[str]] = frozenset(
        {
            "an ensemble",
            "--folds",
            "--protocol",
            "--minutes",
            "--calibrate",
            "--select",
            "analyze",
            "analyze lesion",
            "analyze paths",
            "analyze responses",
            "analyze propagation",
            "analyze reuse",
            "analyze cam",
            "analyze localisation",
            "analyze equivariance",
            "analyze surface",
            "analyze pixels",
            "--cam",
            "--reject",
            "--unknown",
            "--teacher",
            "train.fit_head",
            "train.balance=loss",
            "train.loss=binary",
            "train.label_smoothing",
            "train.balance=sampler",
            "train.schedule.warmup_until_error",
            "bfloat16 with close calls",
            "--vote",
            "McNemar's test",
        }
    )

    def fitted(self, targets: Any, names: tuple[str, ...]) -> "Classification":
        return self

    def loss(self, learning: Learning) -> "Loss":
        """Cross-entropy, or binary of each class; with balance "loss" classes weigh alike."""
        from deepres.data.loading.balance import class_weights, sizes
        from deepres.tasks.classification.losses import binary_cross_entropy, cross_entropy

        if learning.loss == "binary":
            return binary_cross_entropy(learning.label_smoothing)
        weights = None
        if learning.balance == "loss" and learning.targets is not None:
            weights = class_weights(sizes(learning.targets, len(learning.names)))
        return cross_entropy(learning.label_smoothing, weights)

    def metrics(self, *, keep_scores: bool = False) -> "Measures":
        """A collector of answers; a temperature needs the scores."""
        from deepres.tasks.classification.metrics import Measures

        return Measures(keep_scores=keep_scores or self.temperature is not None)

    def mean_answers(self, answers: "Sequence[Predictions]", orders: Sequence[Sequence[int]]) -> "Predictions":
        """Of the mean of the probabilities; the scores must have been kept."""
        from deepres.tasks.classification.ensemble import mean_predictions

        return mean_predictions(answers, orders)

    def restored(self, columns: "Mapping[str, Tensor]") -> "Predictions":
        """The answers that were saved, without the scores."""
        from deepres.tasks.classification.metrics import Predictions

        return Predictions(**{name: column for name, column in columns.items() if name != "scores"})

    def result_in(self, path: "Path") -> "ClassificationResult":
        """What was saved there."""
        from deepres.tasks.classification.result import ClassificationResult

        return ClassificationResult.load(path)

    def averaged(self, outputs: "Tensor", average: Average, dim: int = 0) -> "Tensor":
        """log(mean of softmax) over `dim`, or the mean of the logits; float64."""
        from deepres.tasks.classification.metrics import averaged

        return averaged(outputs, average, dim)

    def concluded(self, answers: "Predictions", images: "Images", facts: Mapping[str, Any]) -> "Evaluation":
        """Scores of the answers, and what the temperature makes of them."""
        from deepres.tasks.classification.calibration import tempered
        from deepres.tasks.classification.result import concluded
        from deepres.tasks.result import Evaluation

        found: Evaluation = concluded(answers, images, facts)
        if self.temperature is None:
            return found
        return Evaluation(found.result.replace(tempered=tempered(answers, self.temperature)), answers, self)

    def validation(self, result: "ClassificationResult", balance: str) -> "Validation":
        """The error, then the cross-entropy.

        Where classes are made to weigh alike the error is the mean over them (`data/loading/balance.py`).
        """
        from deepres.data.loading.balance import effective
        from deepres.tasks.validation import by_error

        if balance == "none":
            return by_error(result.error, result.cross_entropy, result.num_images)
        images = effective([one.num_images for one in result.per_class])
        return by_error(result.balanced_error, result.cross_entropy, images)

    def settled(self, held_out: "Evaluation | None") -> tuple["Classification", str]:
        """With the temperature and the thresholds that held-out images tell.

        Without a temperature probabilities are left as they are, and the thresholds are of these.
        """
        from deepres.tasks.classification.calibration import FEWEST, at_temperature, temperature_of
        from deepres.tasks.classification.unknown import found_rejection

        left = "probabilities are left as the network gives them"
        if held_out is None:
            return self, f"{left}: no images were held out"
        try:
            found = temperature_of(held_out.predictions, held_out.result.split)
        except InputError as cause:
            why = cause.message.removeprefix("temperature: ").partition(";")[0]
            many = len(held_out.predictions) >= FEWEST
            kept = found_rejection(held_out.predictions, held_out.result.split) if many else None
            return self.replace(rejection=kept), f"{left}: {why}"
        kept = found_rejection(at_temperature(held_out.predictions, found.value), held_out.result.split)
        return self.replace(temperature=found, rejection=kept), f"probabilities at {found}"

    def rejecting(self, rule: str) -> tuple["Classification", str]:  # type: ignore[override]
        """The same, which answers nothing of images below a probability (`rejection.rule_of`)."""
        found = rule_of(rule, self.rejection)
        return self.replace(answers_from=found.probability), f"unknown {found.said}"

    def beside_unknown(  # type: ignore[override]
        self, evaluation: "Evaluation", answers: "Tensor", source: str
    ) -> "Evaluation":
        """By the highest probability, at this temperature; the scores must have been kept."""
        from dataclasses import replace

        from deepres.tasks.classification.calibration import at_temperature
        from deepres.tasks.classification.unknown import unknown_scores

        own = evaluation.predictions
        own = own if self.temperature is None else at_temperature(own, self.temperature.value)
        scores = unknown_scores(own.probability, answers.max(-1).values, source, self.rejection)
        return replace(evaluation, result=evaluation.result.replace(unknown=scores))

    @property
    def settled_on(self) -> str | None:
        """The split that settled it, where one has."""
        return None if self.temperature is None else self.temperature.found_on

    def settled_text(self) -> str | None:
        return None if self.temperature is None else f"probabilities at {self.temperature}"

    def columns(self, names: tuple[str, ...], most: int) -> list[str]:
        return [*([] if self.answers_from is None else ["answer"]), *guessed(min(most, len(names)))]

    def facts(self, said: str) -> dict[str, Any]:
        """What `summary.json` says of it, `said` being the sentence of `settled`."""
        temperature = None if self.temperature is None else self.temperature.value
        return {"temperature": temperature, "probabilities": said}

    def measured_as(self, *, own_protocol: bool, found_here: bool) -> "Classification":
        """A temperature holds under the run's own protocol, on images that it was not found on."""
        return self if own_protocol and not found_here else self.unsettled()

    def unsettled(self) -> "Classification":
        """At temperature 1, without thresholds."""
        return self.replace(temperature=None, rejection=None)

    def compared(self, columns: Mapping[str, Any]) -> Compared:
        """The error."""
        wrong = (columns["truth"] != columns["predicted"]).astype("float64")
        return Compared("error", lambda weights: weights @ wrong / weights.sum(1), lambda value: f"{100 * value:.2f} %")

    def worst(self, evaluation: "Evaluation", images: "Images") -> list[tuple[object, ...]]:
        from deepres.tasks.classification.worst import worst_rows

        return worst_rows(evaluation, images)

    def activated(self, outputs: "Tensor") -> "Tensor":
        """softmax(logits / T)."""
        return (outputs if self.temperature is None else outputs / self.temperature.value).softmax(-1)

    def deactivated(self, answers: "Tensor") -> "Tensor":
        """T log p: the logits, but for a constant."""
        logits = answers.double().clamp(min=LEAST).log()
        return logits if self.temperature is None else logits * self.temperature.value

    def decode(self, outputs: "Tensor", names: tuple[str, ...], image: str, most: int) -> ClassAnswer:
        """The likeliest classes, from probabilities."""
        likeliest = outputs.topk(min(most, len(names)))
        found = zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True)
        guesses = tuple(Guess(name=names[index], probability=value) for value, index in found)
        least = self.answers_from
        return ClassAnswer(
            image=image, guesses=guesses, unknown=None if least is None else guesses[0].probability < least
        )

    def unread(self, image: str, problem: str) -> ClassAnswer:
        return ClassAnswer(image=image, guesses=(), problem=problem)
