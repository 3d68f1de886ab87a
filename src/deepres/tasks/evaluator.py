"""network x protocol x images -> Evaluation, whatever the task: every image once, in the views that it is shown in."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.wording import counted, reason_alone
from deepres.data.images import Batch, Images
from deepres.nn.hooks import modes_kept
from deepres.nn.model import told_by
from deepres.tasks.classification.task import Classification
from deepres.tasks.protocols import CENTER, Gathering, views
from deepres.tasks.result import Evaluation, SkippedImage, printable
from deepres.tasks.task import AskedHow, Metrics, Task

PartialMetrics = tuple[Metrics, Mapping[str, str]]
"""What one process has seen: answers to its images, and those that it left out (name -> reason)."""


def alone(work: Callable[[], PartialMetrics]) -> list[PartialMetrics]:
    """The answers of all processes, where there is one."""
    return [work()]


@dataclass(frozen=True)
class EvaluationMethod:
    """How a network is asked: for which `task` (None: one class an image), in the views of which `protocol`.

    `shown` is the protocol in words; `keep_scores` keeps the scores of all classes. `precision` makes the context of
    each forward pass, which computes in `computed_in`.
    """

    task: Task | None = None
    protocol: AskedHow = CENTER
    shown: str = ""
    keep_scores: bool = False
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext
    computed_in: str = "float32"


@dataclass(frozen=True)
class ResultFacts:
    """What a result says of itself beside its figures: where it comes from, and what a reader must know.

    `provenance` holds JSON values only (lists, no tuples). `skipped` maps the names of unreadable images to reasons; it
    may fill up while the images are read.
    """

    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)


NO_FACTS = ResultFacts()
CENTERED = EvaluationMethod()
"""One class an image, in the centre view."""


def evaluate(
    network: nn.Module,
    batches: Iterable[Batch],
    images: Images,
    *,
    split: str,
    method: EvaluationMethod = CENTERED,
    facts: ResultFacts = NO_FACTS,
    on_progress: OnProgress | None = None,
    all_gather: Callable[[Callable[[], PartialMetrics]], list[PartialMetrics]] = alone,
) -> Evaluation:
    """Ask `network` about every image, in eval and inference mode; its modes are restored afterwards.

    `batches` lie on the network's device, in any order, and hold every picture that the protocol wants of an image.
    `on_progress(done, total)` is called after each batch. `all_gather(work)` is what `work` gives in each of several
    processes, whose `batches` together hold every image once.

    Raises:
        InputError: network and images disagree on the number of outputs; an image came twice, or never.
        RunError: an output is not finite.
    """
    start = perf_counter()
    asked: Task = Classification() if method.task is None else method.task

    def answers() -> PartialMetrics:
        metrics, gathering, done = (
            asked.metrics(keep_scores=method.keep_scores),
            Gathering(method.protocol, asked.averaged),
            0,
        )
        for batch in batches:
            with torch.inference_mode(), method.precision():
                said = [asked.outputs(network, view) for view in views(batch, method.protocol)]
                outputs, targets, indices = gathering.add(said, batch)
            _same_names(network, outputs, len(images.classes), split)
            metrics.update(outputs, targets, indices)
            done += len(indices)
            if on_progress is not None and len(indices):
                on_progress(done, len(images))
        return metrics, dict(facts.skipped)

    with modes_kept(network):
        network.eval()
        parts = all_gather(answers)
    seconds = perf_counter() - start
    metrics = asked.metrics()
    for part, _ in parts:
        metrics.merge(part)
    predictions = metrics.answers()
    left_out = tuple(
        SkippedImage(name=printable(name), reason=printable(reason_alone(name, reason)))
        for name, reason in {name: reason for _, left in parts for name, reason in left.items()}.items()
    )
    _all_seen(set(predictions.indices.tolist()), images, left_out, split)
    known: dict[str, Any] = {
        "split": split,
        "protocol": str(method.protocol),
        "shown": method.shown,
        "skipped": left_out,
    }
    known |= {"seconds": seconds, "precision": method.computed_in}
    known |= {"provenance": dict(facts.provenance), "notes": facts.notes}
    return asked.concluded(predictions, images, known)


def _same_names(network: nn.Module, outputs: Any, given: int, split: str) -> None:
    known = outputs.shape[1] if isinstance(outputs, Tensor) else told_by(network).num_classes
    if known != given:
        raise InputError(
            f"{split}: the weights know {known} classes, the images have {given}; "
            "evaluate on images of the classes that the weights were trained on, or train on these"
        )


def _all_seen(seen: set[int], images: Images, skipped: tuple[SkippedImage, ...], split: str) -> None:
    named = {image.name for image in skipped}
    missing = [i for i in range(len(images)) if i not in seen and printable(images.name(i)) not in named]
    if missing:
        raise InputError(
            f"{split}: {len(missing)} of {counted(len(images), 'image')} were never shown "
            f"(first {images.name(missing[0])}); "
            "wanted each once, or its name among the skipped"
        )
