"""Several classes an image, or none: the task as one value."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.tasks.multilabel.answer import LabelGuess, LabelsAnswer
from deepres.tasks.plain import OneRow
from deepres.tasks.task import Average, Compared, Learning, guessed

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from deepres.data.forms import FormName
    from deepres.data.images import Images
    from deepres.tasks.losses import Loss
    from deepres.tasks.multilabel.metrics import LabelAnswers, LabelMetrics
    from deepres.tasks.multilabel.result import MultilabelResult
    from deepres.tasks.result import Evaluation
    from deepres.tasks.validation import Validation

HALF = 0.5
LEAST = 1e-12
"""What a probability is apart from 0 and 1, at least."""
FEWEST = 5
"""Held-out images that a class is on, and that it is not on: of fewer a threshold fits the accident; ours."""


class Thresholds(Record):
    """One `value` a class, of which `chosen` were found on so many `images` of the split `found_on`; others are 1/2."""

    values: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    chosen: int
    found_on: str
    images: int

    def __str__(self) -> str:
        """`thresholds of 9 of 10 classes (0.31 to 0.74) chosen on 180 held-out images for the best F1, others 0.5`."""
        if not self.chosen:
            return f"every threshold is {HALF:g}: no class is on {FEWEST} of {counted(self.images, 'held-out image')}"
        span = f"{min(self.values):.2f} to {max(self.values):.2f}"
        others = "" if self.chosen == len(self.values) else f", others {HALF:g}"
        return (
            f"thresholds of {self.chosen} of {counted(len(self.values), 'class')} ({span}) chosen on "
            f"{counted(self.images, 'held-out image')} for the best F1{others}"
        )


class Multilabel(OneRow, Record):
    """Every class for itself: is it on the image? Binary cross-entropy; a class is said from its threshold on.

    `choose` says where thresholds come from: "held-out" images, for the best F1 of each class, or 1/2 for all ("half").
    `thresholds` are those that were found, once training has ended.
    """

    kind: Literal["multilabel"] = "multilabel"
    choose: Literal["held-out", "half"] = "held-out"
    thresholds: Thresholds | None = None

    form: ClassVar["FormName"] = "classes"
    tools: ClassVar[frozenset[str]] = frozenset(
        {"an ensemble", "--folds", "train.balance=loss", "train.label_smoothing", "--protocol", "--minutes"}
    )

    def fitted(self, targets: Any, names: tuple[str, ...]) -> "Multilabel":
        return self

    def loss(self, learning: Learning) -> "Loss":
        """Binary cross-entropy; with balance "loss" what is there weighs as much as what is not."""
        from deepres.tasks.multilabel.losses import binary_cross_entropy, positive_weights

        weighed = learning.balance == "loss" and learning.targets is not None
        weights = positive_weights(learning.targets) if weighed and learning.targets is not None else None
        return binary_cross_entropy(learning.label_smoothing, weights)

    def metrics(self, *, keep_scores: bool = False) -> "LabelMetrics":
        """A collector of answers, which always keeps the scores."""
        from deepres.tasks.multilabel.metrics import LabelMetrics

        return LabelMetrics()

    def mean_answers(self, answers: "Sequence[LabelAnswers]", orders: Sequence[Sequence[int]]) -> "LabelAnswers":
        """Of the mean of the probabilities of each class."""
        import torch

        from deepres.tasks.multilabel.metrics import LabelAnswers

        logits = torch.stack([each.logits[:, list(order)] for each, order in zip(answers, orders, strict=True)])
        return LabelAnswers(answers[0].indices, answers[0].truth, self.averaged(logits, "probability"))

    def restored(self, columns: "Mapping[str, Tensor]") -> "LabelAnswers":
        """The answers that were saved."""
        from deepres.tasks.multilabel.metrics import LabelAnswers

        return LabelAnswers(**columns)

    def result_in(self, path: "Path") -> "MultilabelResult":
        """What was saved there."""
        from deepres.tasks.multilabel.result import MultilabelResult

        return MultilabelResult.load(path)

    def averaged(self, outputs: "Tensor", average: Average, dim: int = 0) -> "Tensor":
        """logit of the mean of sigmoids over `dim`, or the mean of the logits; float64."""
        from torch.nn.functional import logsigmoid

        z = outputs.double()
        return z.mean(dim) if average == "logit" else logsigmoid(z).logsumexp(dim) - logsigmoid(-z).logsumexp(dim)

    def concluded(self, answers: Any, images: "Images", facts: Mapping[str, Any]) -> "Evaluation":
        """Figures of the answers, at the thresholds that were found."""
        from deepres.tasks.multilabel.result import concluded

        return concluded(answers, images, facts, self)

    def validation(self, result: "MultilabelResult", balance: str) -> "Validation":
        """1 - mean average precision decides, of equal ones the loss."""
        from deepres.tasks.validation import Validation

        error, loss = 1 - result.mean_average_precision, result.binary_cross_entropy
        return Validation(
            (error, loss),
            {"loss": loss, "pair_error": result.hamming_loss, "1-mAP": error},
            result.num_images,
            name="1-mAP",
            low=1 - result.mean_average_precision_high,
            high=1 - result.mean_average_precision_low,
        )

    def settled(self, held_out: "Evaluation | None") -> tuple["Multilabel", str]:
        """With thresholds from held-out images."""
        from deepres.tasks.multilabel.thresholds import found_thresholds

        if self.choose == "half":
            return self, "a class is said from a probability of 0.5 on, as was asked"
        if held_out is None:
            return self, "a class is said from a probability of 0.5 on: no images were held out to choose by"
        answers = held_out.predictions
        found = found_thresholds(answers.truth, answers.probabilities, held_out.result.split)
        return self.replace(thresholds=found), str(found)

    @property
    def settled_on(self) -> str | None:
        """The split that settled it, where one has."""
        return None if self.thresholds is None else self.thresholds.found_on

    def settled_text(self) -> str | None:
        return None if self.thresholds is None else str(self.thresholds)

    def columns(self, names: tuple[str, ...], most: int) -> list[str]:
        return ["labels", *guessed(min(most, len(names)))]

    def facts(self, said: str) -> dict[str, Any]:
        """What `summary.json` says of it, `said` being the sentence of `settled`."""
        return {"task": self.kind, "thresholds": said}

    def measured_as(self, *, own_protocol: bool, found_here: bool) -> "Multilabel":
        """Thresholds say nothing of the images that they were chosen on."""
        return self if not found_here else self.unsettled()

    def unsettled(self) -> "Multilabel":
        """Every threshold 1/2."""
        return self.replace(thresholds=None)

    def compared(self, columns: Mapping[str, Any]) -> Compared:
        """The mean average precision."""
        import torch

        from deepres.base.wording import percent
        from deepres.tasks.multilabel.metrics import map_statistic

        truth, logits = torch.from_numpy(columns["truth"]), torch.from_numpy(columns["logits"])
        statistic = map_statistic(truth, logits)
        return Compared("mean average precision", statistic, percent, lower_is_better=False)

    def worst(self, evaluation: "Evaluation", images: "Images") -> list[tuple[object, ...]]:
        from deepres.tasks.multilabel.result import worst_rows

        return worst_rows(evaluation, images, self.thresholds)

    def activated(self, outputs: "Tensor") -> "Tensor":
        """sigmoid(logits)."""
        return outputs.sigmoid()

    def deactivated(self, answers: "Tensor") -> "Tensor":
        """log p - log (1 - p)."""
        return answers.double().logit(eps=LEAST)

    def decode(self, outputs: "Tensor", names: tuple[str, ...], image: str, most: int) -> LabelsAnswer:
        """The classes that reach their thresholds, then the likeliest others."""
        from deepres.tasks.multilabel.thresholds import said

        p = outputs.double()
        there = said(p, self.thresholds).tolist()
        order = sorted(range(len(names)), key=lambda i: (not there[i], -float(p[i])))
        likeliest = order[: max(most, sum(there))]
        guesses = tuple(LabelGuess(name=names[i], probability=float(p[i]), said=there[i]) for i in likeliest)
        labels = tuple(name for name, on in zip(names, there, strict=True) if on)
        return LabelsAnswer(image=image, labels=labels, guesses=guesses)

    def unread(self, image: str, problem: str) -> LabelsAnswer:
        return LabelsAnswer(image=image, labels=(), guesses=(), problem=problem)
