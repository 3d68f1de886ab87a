"""network x protocol x images -> Result: scores, the worst images, and where the numbers come from."""

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from pydantic import JsonValue
from torch import nn

from deepres.base import records
from deepres.base.errors import InputError
from deepres.base.files import write_atomic
from deepres.base.records import Record
from deepres.base.wording import blamed, counted, reason_alone
from deepres.base.wording import shown as safe
from deepres.data.images import Batch, Images
from deepres.nn.hooks import modes_kept
from deepres.tasks.classification.calibration import Tempered
from deepres.tasks.classification.metrics import Coverage, Measures, Predictions, Scores, coverage, score
from deepres.tasks.classification.plans import Plan
from deepres.tasks.classification.protocols import CENTER, Gathering, Protocol, answer

WORST_IMAGES = 24


Answers = tuple[Measures, Mapping[str, str]]
"""What one process has seen: answers to its images, and those that it left out (name -> reason)."""


def alone(work: Callable[[], Answers]) -> list[Answers]:
    """The answers of all processes, where there is one."""
    return [work()]


class WrongImage(Record):
    """An image that the network got wrong; `index` is its place in the set."""

    index: int
    name: str
    truth: str
    predicted: str
    probability: float  # of the predicted class
    probability_of_truth: float
    loss: float


class SkippedImage(Record):
    """An image that could not be read and was left out of every count."""

    name: str
    reason: str


class Result(Scores):
    """What a network answered to one split under one protocol, with all that is needed to ask again."""

    split: str
    protocol: str  # with all its settings, such as ten-crop:224/256
    shown: str = ""  # the same in words
    worst: tuple[WrongImage, ...]  # the 24 wrong ones of highest loss
    skipped: tuple[SkippedImage, ...]
    seconds: float
    images_per_second: float
    provenance: dict[str, JsonValue]
    covered: tuple[Coverage, ...] = ()  # error against coverage
    tempered: Tempered | None = None  # the same answers at a temperature found on other images
    precision: str = ""  # of convolutions and matrix products: float32, bfloat16; "" where older versions did not say
    notes: tuple[str, ...] = ()  # what has to be known beside the error: images that were trained on …

    def to_json(self) -> str:
        """Indented JSON with one line a row of the confusion matrix."""
        row = re.compile(r"\[\n\s+(\d+(?:,\n\s+\d+)*)\n\s+\]")
        return row.sub(lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", super().to_json())

    @classmethod
    def load(cls, path: Path) -> "Result":
        """Read what `save` wrote."""
        return records.load(cls, path, "evaluation result")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A `Result` and the answer to each image that it was counted from."""

    result: Result
    predictions: Predictions


def evaluate(
    network: nn.Module,
    batches: Iterable[Batch],
    images: Images,
    *,
    split: str,
    protocol: Protocol = CENTER,
    shown: str = "",
    keep_scores: bool = False,
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
    computed_in: str = "float32",
    skipped: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
    on_progress: Callable[[int, int], None] | None = None,
    gathered: Callable[[Callable[[], Answers]], list[Answers]] = alone,
) -> Evaluation:
    """Ask `network` about every image, in eval and inference mode; its modes are restored afterwards.

    `batches` lie on the network's device, in any order, and hold every picture that the protocol wants of an image;
    `shown` is the protocol in words. `keep_scores` keeps the log-probabilities of all classes. `precision` makes the
    context of each forward pass, which computes in `computed_in`.
    `skipped` maps the names of unreadable images to reasons; it may fill up while `batches` is read.
    `provenance` holds JSON values only (lists, no tuples). `on_progress(done, total)` is called after each batch.
    `gathered(work)` is what `work` gives in each of several processes, whose `batches` together hold every image once.

    Raises:
        InputError: network and images disagree on the number of classes; an image came twice, or never.
        RunError: a logit is not finite.
    """
    start = perf_counter()

    def answers() -> Answers:
        measures, gathering, done = Measures(keep_scores=keep_scores), Gathering(protocol), 0
        for batch in batches:
            with torch.inference_mode(), precision():
                logits, labels, indices = gathering.add(answer(network, batch, protocol), batch)
            _same_classes(logits.shape[1], len(images.classes), split)
            measures.update(logits, labels, indices)
            done += len(indices)
            if on_progress is not None and len(indices):
                on_progress(done, len(images))
        return measures, dict(skipped or {})

    with modes_kept(network):
        network.eval()
        parts = gathered(answers)
    seconds = perf_counter() - start
    measures = Measures()
    for part, _ in parts:
        measures.merge(part)
    predictions = measures.predictions()
    left_out = tuple(
        SkippedImage(name=printable(name), reason=printable(reason_alone(name, reason)))
        for name, reason in {name: reason for _, left in parts for name, reason in left.items()}.items()
    )
    _all_seen(predictions, images, left_out, split)
    facts = {"split": split, "protocol": str(protocol), "shown": shown, "skipped": left_out, "seconds": seconds}
    facts |= {"provenance": dict(provenance or {}), "precision": computed_in, "notes": notes}
    return concluded(predictions, images, facts)


def concluded(predictions: Predictions, images: Images, facts: Mapping[str, Any]) -> Evaluation:
    """The evaluation that answers come to; `facts` are the fields of `Result` that do not follow from them."""
    classes = tuple(printable(name) for name in images.classes)
    result = Result(
        **dict(score(predictions, classes)),
        **facts,
        worst=_worst(predictions, images, classes),
        images_per_second=len(predictions) / facts["seconds"],
        covered=coverage(predictions),
    )
    return Evaluation(result, predictions)


def save_predictions(path: Path, evaluation: Evaluation, images: Images, plan: Plan | None = None) -> None:
    """Write the answers as `.npz`: index, name, truth, predicted, rank, probability, probability_of_truth, loss.

    With kept scores also `scores`, float32 (N, C). `about` is JSON: model, source, weights_sha256, split,
    protocol, classes, precision, notes, and the `plan` of the run, where it is one.
    """
    predictions, result = evaluation.predictions, evaluation.result
    columns = {name: column.numpy() for name, column in vars(predictions).items() if column is not None}
    columns["index"] = columns.pop("indices")
    if predictions.scores is not None:
        columns["scores"] = columns["scores"].astype(np.float32)
    columns["name"] = np.array([printable(images.name(i)) for i in predictions.indices.tolist()])
    about = {name: result.provenance.get(name) for name in ("model", "source", "weights_sha256")}
    about |= {"split": result.split, "protocol": result.protocol, "classes": list(result.classes)}
    about |= {"precision": result.precision, "notes": list(result.notes)}
    about |= {} if plan is None else {"plan": plan.model_dump(mode="json")}
    content = io.BytesIO()
    np.savez_compressed(content, about=np.array(json.dumps(about)), **columns)
    write_atomic(path, content.getvalue())


def printable(text: str) -> str:
    r"""The text, bytes of a file name that are no UTF-8 written as `\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def percent(fraction: float, digits: int = 2) -> str:
    """`1.11 %`, as the papers print an error."""
    return f"{100 * fraction:.{digits}f} %"


def interval_text(scores: Scores) -> str:
    """`0.4 to 2.8 %`: one decimal, or two where the interval is narrower than 1 %."""
    digits = 1 if scores.error_high - scores.error_low >= 0.01 else 2
    return f"{100 * scores.error_low:.{digits}f} to {percent(scores.error_high, digits)}"


def summary(result: Result) -> str:
    """A few lines for the terminal: the error with its interval, the worst classes, the most confused pairs."""
    top5 = "" if result.telling_top5 is None else f"; top-5 error {percent(result.telling_top5)}"
    each = result.telling_balanced
    balanced = "" if each is None else f"; balanced error {percent(each)} (mean over classes)"
    lines = [
        f"{result.split} error {percent(result.error)} (95 % interval {interval_text(result)}), "
        f"{result.num_wrong:,} of {counted(result.num_images, 'image')} wrong{balanced}{top5}",
        f"cross-entropy {result.cross_entropy:.4f}, calibration error {percent(result.calibration_error)}, "
        f"protocol {result.protocol}, {result.precision or 'precision not told'}, "
        f"{result.images_per_second:,.0f} images/s",
    ]
    most = max(result.per_class, key=lambda each: each.num_images)
    others = result.num_images - most.num_images
    if others and result.num_wrong >= others:
        lines.append(f"note: no better than always answering {most.name} ({percent(others / result.num_images)} wrong)")
    lines += [f"note: {note}" for note in result.notes]
    if result.shown and result.protocol != "center":
        lines.append(f"shown: {result.shown}")
    if result.provenance.get("preprocessing"):
        lines.append(f"preprocessing: {result.provenance['preprocessing']}")
    if result.tempered is not None:
        lines.append(str(result.tempered))
    bad = [c for c in result.worst_first() if c.num_right < c.num_images]
    if bad:
        worst = (f"{c.name} ({c.num_images - c.num_right} of {c.num_images} wrong)" for c in bad[:3])
        lines.append("worst classes: " + ", ".join(worst))
        pairs = (f"{p.truth} taken for {p.predicted} ({p.num_images}×)" for p in result.confused[:3])
        lines.append("most confused: " + ", ".join(pairs))
    if result.skipped:
        first = result.skipped[0]
        lines.append(
            f"skipped: {counted(len(result.skipped), 'unreadable image')}, first {blamed(first.name, first.reason)}"
        )
    return "\n".join(map(safe, lines))


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


def _same_classes(known: int, given: int, split: str) -> None:
    if known != given:
        raise InputError(
            f"{split}: the weights know {known} classes, the images have {given}; "
            "evaluate on images of the classes that the weights were trained on, or train on these"
        )


def _all_seen(predictions: Predictions, images: Images, skipped: tuple[SkippedImage, ...], split: str) -> None:
    seen, named = set(predictions.indices.tolist()), {image.name for image in skipped}
    missing = [i for i in range(len(images)) if i not in seen and printable(images.name(i)) not in named]
    if missing:
        raise InputError(
            f"{split}: {len(missing)} of {counted(len(images), 'image')} were never shown "
            f"(first {images.name(missing[0])}); "
            "wanted each once, or its name among the skipped"
        )
