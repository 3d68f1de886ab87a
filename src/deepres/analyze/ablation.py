"""Many altered passes of one network over the same images: what they share is run once; what each answered."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import fsum
from operator import length_hint
from typing import TypeVar

import torch
from torch import Tensor

from deepres.analyze.units import RowModule, skip_branch
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.data.images import Batch
from deepres.data.targets import tensor_of
from deepres.nn.build import ResidualNetwork
from deepres.nn.hooks import left_as_found
from deepres.tasks.classification.metrics import Measures, interval

Stop = tuple[int, bool]
"""The number of the place whose module runs, and whether with its branch."""

Route = tuple[Stop, ...]
"""A pass, stop by stop."""

T = TypeVar("T")


class AblationScores(Record):
    """What a network answered to all images; `error` in [0, 1] with Wilson's 95 % interval, cross-entropy in nats."""

    num_wrong: int
    error: float
    error_low: float
    error_high: float
    cross_entropy: float


class Shared(Record):
    """Unit evaluations that an image needed: `run`, and `alone` had each route been run by itself."""

    run: int
    alone: int


def scores_of(
    network: ResidualNetwork,
    row: Sequence[RowModule],
    batches: Iterable[Batch],
    routes: Sequence[Route],
    on_progress: OnProgress | None = None,
) -> tuple[int, list[AblationScores]]:
    """The number of images, and what they cost on each route; `batches` are read once, on any device.

    The network answers in evaluation mode and is left as it was. `on_progress(done, total)` counts routes times
    batches; total is 0 where `batches` has no length.

    Raises:
        InputError: there are no images, or one came twice.
        RunError: a logit is not finite.
    """
    seen = Measures()
    wrong = [0] * len(routes)
    losses: list[list[Tensor]] = [[] for _ in routes]
    done, total = 0, length_hint(batches) * len(routes)

    def take(number: int, batch: Batch, logits: Tensor, first: bool) -> None:
        nonlocal done
        measures = Measures()
        measures.update(logits, tensor_of(batch.targets), batch.indices)
        if first:
            seen.merge(measures)
        answers = measures.answers()
        wrong[number] += int((answers.rank > 0).sum())
        losses[number].append(answers.loss)
        done += 1
        if on_progress is not None:
            on_progress(done, total)

    each_pass(network, row, batches, routes, take)
    images = len(seen.answers())
    return images, [_scores(count, torch.cat(loss), images) for count, loss in zip(wrong, losses, strict=True)]


def each_pass(
    network: ResidualNetwork,
    row: Sequence[RowModule],
    batches: Iterable[Batch],
    routes: Sequence[Route],
    take: Callable[[int, Batch, Tensor, bool], None],
) -> None:
    """`take(route, batch, logits, first)` of every route over every batch, `batches` read once, on any device.

    `first` is True once a batch. The network answers in evaluation and inference mode, and is left as it was.
    """
    like = next(network.parameters())

    def run(stop: Stop, x: Tensor) -> Tensor:
        place, whole = row[stop[0]], stop[1]
        y: Tensor = place.module(x) if whole else skip_branch(place, x)
        return y

    with left_as_found(network), torch.inference_mode():
        network.eval()
        for batch in batches:
            first = True
            for number, logits in _walk(list(enumerate(routes)), 0, batch.images.to(like), run):
                take(number, batch, logits, first)
                first = False


def shared(row: Sequence[RowModule], routes: Sequence[Route]) -> Shared:
    """How many unit evaluations an image needs on all `routes` together."""

    def works(stop: Stop) -> bool:
        return stop[1] and row[stop[0]].kind != "layer"

    stops: list[Stop] = []
    for _ in _walk(list(enumerate(routes)), 0, None, lambda stop, _: stops.append(stop)):
        pass
    return Shared(run=sum(map(works, stops)), alone=sum(works(stop) for route in routes for stop in route))


def _scores(num_wrong: int, losses: Tensor, num_images: int) -> AblationScores:
    low, high = interval(num_wrong, num_images)
    return AblationScores(
        num_wrong=num_wrong,
        error=num_wrong / num_images,
        error_low=low,
        error_high=high,
        cross_entropy=fsum(losses.tolist()) / num_images,
    )


def _walk(routes: list[tuple[int, Route]], at: int, x: T, run: Callable[[Stop, T], T]) -> Iterator[tuple[int, T]]:
    """What leaves each numbered route, what several have in common from the start run once.

    Smaller groups go first and the largest goes on in place: log2(routes) maps are kept at most.
    """
    while at < len(routes[0][1]):
        groups: dict[Stop, list[tuple[int, Route]]] = {}
        for numbered in routes:
            groups.setdefault(numbered[1][at], []).append(numbered)
        *smaller, (last, routes) = sorted(groups.items(), key=lambda group: len(group[1]))
        at += 1
        for stop, group in smaller:
            yield from _walk(group, at, run(stop, x), run)
        x = run(last, x)
    for number, _ in routes:
        yield number, x
