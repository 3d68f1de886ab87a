"""What a classifier is worth: scores, the worst images, error against coverage, and how it is told."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from deepres.base.records import Record
from deepres.base.wording import counted, percent
from deepres.data.images import Images
from deepres.tasks.blocks import AnsweredPicture, Block, Card, Chart, Charts, Matrix, Pictures, Series, Table
from deepres.tasks.classification.calibration import Tempered
from deepres.tasks.classification.metrics import CalibrationBin, Coverage, Predictions, Scores, coverage, score
from deepres.tasks.classification.task import Classification
from deepres.tasks.classification.unknown import UnknownScores
from deepres.tasks.result import Evaluation, Headline, Result, printable

WORST_IMAGES = 24


class WrongImage(Record):
    """An image that the network got wrong; `index` is its place in the set."""

    index: int
    name: str
    truth: str
    predicted: str
    probability: float  # of the predicted class
    probability_of_truth: float
    loss: float


class ClassificationResult(Scores, Result):
    """What a network answered to one split: scores, the worst images, error against coverage."""

    worst: tuple[WrongImage, ...]  # the 24 wrong ones of highest loss
    covered: tuple[Coverage, ...] = ()  # error against coverage
    tempered: Tempered | None = None  # the same answers at a temperature found on other images
    unknown: UnknownScores | None = None  # beside images of classes that the network does not know

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    @property
    def headline(self) -> Headline:
        """The error."""
        return Headline(
            name="error",
            value=self.error,
            low=self.error_low,
            high=self.error_high,
            text=percent(self.error),
            interval=interval_text(self),
            detail=f"{self.num_wrong:,} of {counted(self.num_images, 'image')} wrong",
        )

    @property
    def tells_settled(self) -> bool:
        """Whether it says what the temperature makes of it."""
        return self.tempered is not None

    @property
    def has_worst(self) -> bool:
        """Whether some image is wrong."""
        return self.num_wrong > 0

    def listed(self) -> str:
        """What worst.csv has."""
        if self.num_wrong:
            return "Every wrong image, and those of the right ones that it is least sure of"
        return "No image is wrong; those that it is least sure of"

    @property
    def footnote(self) -> str:
        """What the figures are fractions of."""
        return "Errors are fractions of the images of a split; the interval is Wilson's at 95 %."

    def facts(self) -> dict[str, JsonValue]:
        """The error and its interval."""
        return {
            "split": self.split,
            "num_images": self.num_images,
            "num_wrong": self.num_wrong,
            "error": self.error,
            "balanced_error": self.balanced_error,
            "error_interval_95": [self.error_low, self.error_high],
            "measured_in": self.precision,
        }

    def lines(self) -> list[str]:
        """The error with its interval, the worst classes, the most confused pairs."""
        return _lines(self)

    def cards(self) -> tuple[Card, ...]:
        """Figures beside the headline."""
        each = (
            (self.telling_balanced, "balanced error (mean over classes)"),
            (self.telling_top5, "top-5 error"),
        )
        return (
            *(Card(value=percent(value), name=name) for value, name in each if value is not None),
            Card(value=f"{self.cross_entropy:.4f}", name="cross-entropy (nats)"),
            Card(value=percent(self.calibration_error), name="calibration error"),
            Card(value=str(len(self.classes)), name="classes"),
        )

    def blocks(self) -> tuple[Block, ...]:
        """What is taken for what; classes and images, the worst first; whether the network knows when it is wrong."""
        order = self.worst_first()
        errors = [1 - one.recall if one.recall is not None else 0.0 for one in order]
        largest = max(errors, default=0) or 1
        classes = Table(
            title="Class by class, worst first",
            header=("class", "error", "wrong", "images", "precision", "F1"),
            rows=tuple(
                (
                    one.name,
                    percent(error) if one.num_images else "no images",
                    f"{one.num_images - one.num_right}" if one.num_images else "–",
                    f"{one.num_images}",
                    "–" if one.precision is None else percent(one.precision),
                    "–" if one.f1 is None else percent(one.f1),
                )
                for one, error in zip(order, errors, strict=True)
            ),
            bars=tuple(error / largest for error in errors),
            wide=2,
            note="A bar is relative to the largest error of a class.",
        )
        pictures = tuple(
            AnsweredPicture(
                index=one.index,
                name=one.name,
                wanted=f"{one.truth} {percent(one.probability_of_truth, 1)}",
                answered=f"{one.predicted} {percent(one.probability, 1)}",
            )
            for one in self.worst
        )
        worst = Pictures(
            title=f"The {'worst image' if len(pictures) == 1 else f'{len(pictures)} worst images'}",
            pictures=pictures,
            note="Wrong, and of the highest loss: true class → answer, each with the probability that the network gave "
            "it. A wrong label in the data often shows here.",
        )
        taken = Matrix(
            title="What is taken for what",
            names=self.classes,
            counts=self.confusion,
            pairs=tuple((one.truth, one.predicted, one.num_images) for one in self.confused),
        )
        return (taken, classes, *([worst] if pictures else []), Charts(title="Calibration", charts=_charts(self)))

    def to_json(self) -> str:
        """Indented JSON with one line a row of the confusion matrix."""
        row = re.compile(r"\[\n\s+(\d+(?:,\n\s+\d+)*)\n\s+\]")
        return row.sub(lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", super().to_json())


def concluded(predictions: Predictions, images: Images, facts: Mapping[str, Any]) -> Evaluation:
    """The evaluation that answers come to; `facts` are the fields of `Result` that do not follow from them."""
    classes = tuple(printable(name) for name in images.classes)
    result = ClassificationResult(
        **dict(score(predictions, classes)),
        **facts,
        worst=_worst(predictions, images, classes),
        images_per_second=len(predictions) / facts["seconds"],
        covered=coverage(predictions),
    )
    return Evaluation(result, predictions, Classification())


def interval_text(scores: Scores) -> str:
    """`0.4 to 2.8 %`: one decimal, or two where the interval is narrower than 1 %."""
    digits = 1 if scores.error_high - scores.error_low >= 0.01 else 2
    return f"{100 * scores.error_low:.{digits}f} to {percent(scores.error_high, digits)}"


def _lines(result: ClassificationResult) -> list[str]:
    top5 = "" if result.telling_top5 is None else f"; top-5 error {percent(result.telling_top5)}"
    each = result.telling_balanced
    balanced = "" if each is None else f"; balanced error {percent(each)} (mean over classes)"
    lines = [
        f"{result.split} error {percent(result.error)} (95 % interval {interval_text(result)}), "
        f"{result.num_wrong:,} of {counted(result.num_images, 'image')} wrong{balanced}{top5}",
        f"cross-entropy {result.cross_entropy:.4f}, calibration error {percent(result.calibration_error)}, "
        f"{result.told_how()}",
    ]
    most = max(result.per_class, key=lambda each: each.num_images)
    others = result.num_images - most.num_images
    if others and result.num_wrong >= others:
        lines.append(f"note: no better than always answering {most.name} ({percent(others / result.num_images)} wrong)")
    lines += result.told_beside()
    if result.tempered is not None:
        lines.append(str(result.tempered))
    if result.unknown is not None:
        lines += result.unknown.lines()
    bad = [c for c in result.worst_first() if c.num_right < c.num_images]
    if bad:
        worst = (f"{c.name} ({c.num_images - c.num_right} of {c.num_images} wrong)" for c in bad[:3])
        lines.append("worst classes: " + ", ".join(worst))
        pairs = (f"{p.truth} taken for {p.predicted} ({p.num_images}×)" for p in result.confused[:3])
        lines.append("most confused: " + ", ".join(pairs))
    return lines


def _charts(result: ClassificationResult) -> tuple[Chart, ...]:
    """Right answers against stated probability; error against the share of images that is answered."""
    known = [("as the network says", result.calibration, result.covered)]
    tempered = ""
    if (found := result.tempered) is not None:
        known.append((f"at temperature {found.temperature:.2f}", found.calibration, found.covered))
        told = str(found)
        tempered = (
            f" {told[0].upper()}{told[1:]}: probabilities softmax(z / T), which changes no answer, only how sure it is."
        )
    reliability = Chart(
        title="Right answers against stated probability (%)",
        x="stated probability (%)",
        series=tuple(_reliability(name, bins, result.num_images) for name, bins, _ in known),
        diagonal=True,
        text="A network that states 90 % should be right nine times in ten: on the dotted line. Below it the network "
        "is too sure, above it too modest. The mean distance, weighted by images, is the calibration error, "
        f"{percent(result.calibration_error)}. Larger dots stand for more images.{tempered}",
    )
    if not result.covered:
        return (reliability,)
    most = result.covered[(len(result.covered) - 1) * 3 // 4]
    share = 100 * most.num_images / result.num_images
    rejection = Chart(
        title="Error among the answered (%)",
        x="images answered, the surest first (%)",
        series=tuple(_rejection(name, covered) for name, _, covered in known),
        text="If the images that it is least sure of are put aside for a person to look at, fewer of the others are "
        f"wrong: at {share:.0f} % answered (those with a probability of at least {percent(most.probability, 1)}) "
        f"{most.num_wrong:,} of {most.num_images:,}.",
    )
    return (reliability, rejection, *([] if result.unknown is None else [_told_apart(result.unknown)]))


def _told_apart(found: UnknownScores) -> Chart:
    points = tuple((100 * known, 100 * unknown) for known, unknown in found.curve)
    return Chart(
        title="Unknown images that are answered (%)",
        x="known images that are answered (%)",
        series=(Series(name=found.source, points=points),),
        diagonal=True,
        text=f"If answers below some probability are not given (predict --reject). {'. '.join(found.lines())}. On the "
        "dotted line the probability tells nothing of whether a class is known.",
    )


def _reliability(name: str, bins: Sequence[CalibrationBin], images: int) -> Series:
    filled = [one for one in bins if one.probability is not None]
    points = tuple((100 * (one.probability or 0), 100 * one.num_right / one.num_images) for one in filled)
    return Series(name=name, points=points, weights=tuple(one.num_images / images for one in filled))


def _rejection(name: str, covered: Sequence[Coverage]) -> Series:
    every = covered[-1].num_images
    points = tuple((100 * one.num_images / every, 100 * one.num_wrong / one.num_images) for one in covered)
    return Series(name=name, points=points)


def _worst(predictions: Predictions, images: Images, classes: tuple[str, ...]) -> tuple[WrongImage, ...]:
    wrong = (predictions.rank > 0).nonzero()[:, 0]
    places = wrong[predictions.loss[wrong].argsort(descending=True, stable=True)][:WORST_IMAGES].tolist()
    return tuple(
        WrongImage(
            index=int(predictions.indices[i]),
            name=printable(images.name(int(predictions.indices[i]))),
            truth=classes[int(predictions.truth[i])],
            predicted=classes[int(predictions.predicted[i])],
            probability=float(predictions.probability[i]),
            probability_of_truth=float(predictions.probability_of_truth[i]),
            loss=float(predictions.loss[i]),
        )
        for i in places
    )
