"""Many altered passes of one network over the same images: what they share is run once; what each answered."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import fsum
from operator import length_hint
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from deepres.analyze.units import RowModule, skip_branch
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.data.images import Batch, Images
from deepres.data.targets import tensor_of
from deepres.nn.build import ResidualNetwork
from deepres.nn.hooks import left_as_found
from deepres.tasks.classification.metrics import Measures, interval
from deepres.tasks.evaluator import EvaluationMethod, evaluate
from deepres.tasks.task import Task

Stop = tuple[int, bool]
"""The number of the place whose module runs, and whether with its branch."""

Route = tuple[Stop, ...]
"""A pass, stop by stop."""

T = TypeVar("T")


class AblationScores(Record):
    """What a network answered to all images: `error` in [0, 1] with its 95 % interval.

    Where an image is of one class the interval is Wilson's, and also how many are wrong is told, and the cross-entropy
    in nats.
    """

    num_wrong: int | None = None
    error: float
    error_low: float
    error_high: float
    cross_entropy: float | None = None


class Shared(Record):
    """Unit evaluations that an image needed: `run`, and `alone` had each route been run by itself."""

    run: int
    alone: int


class Scored(NamedTuple):
    """What each route answered to so many images, what that took, and what `error` is called."""

    num_images: int
    routes: list[AblationScores]
    cost: Shared
    figure: str = "error"


class Scoring(Protocol):
    """How routes through the row of a network are scored."""

    def __call__(
        self,
        network: ResidualNetwork,
        row: Sequence[RowModule],
        batches: Iterable[Batch],
        routes: Sequence[Route],
        on_progress: OnProgress | None = None,
    ) -> Scored:
        """What `batches` of images cost on each route."""


def scores_of(
    network: ResidualNetwork,
    row: Sequence[RowModule],
    batches: Iterable[Batch],
    routes: Sequence[Route],
    on_progress: OnProgress | None = None,
) -> Scored:
    """What images of one class each cost on each route; `batches` are read once, on any device.

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
    scores = [_scores(count, torch.cat(loss), images) for count, loss in zip(wrong, losses, strict=True)]
    return Scored(images, scores, shared(row, routes))


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


@dataclass(frozen=True, eq=False)
class ByTask:
    """Each route by the figure of a task, such as 1 - AP: the `whole` network, which holds the row's modules, is asked.

    That is a whole pass each: `batches` of these `images` are read once a route. `on_progress` counts routes times
    images.
    """

    whole: nn.Module
    images: Images
    task: Task

    def __call__(
        self,
        network: ResidualNetwork,
        row: Sequence[RowModule],
        batches: Iterable[Batch],
        routes: Sequence[Route],
        on_progress: OnProgress | None = None,
    ) -> Scored:
        """Errors as those of `evaluate`."""
        number, found, figure = len(self.images), list[AblationScores](), ""
        for before, route in enumerate(routes):

            def tell(done: int, _: int, before: int = before) -> None:
                if on_progress is not None:
                    on_progress(before * number + done, len(routes) * number)

            with left_as_found(self.whole), along(row, route):
                method = EvaluationMethod(task=self.task)
                result = evaluate(
                    self.whole, batches, self.images, split="test", method=method, on_progress=tell
                ).result
            said, head = self.task.validation(result, "none"), result.headline
            figure = head.name if head.lower_is_better else f"1 - {head.name}"
            error, low, high = said.key[0], said.low, said.high
            ends = {"error_low": error if low is None else low, "error_high": error if high is None else high}
            found.append(AblationScores(error=error, **ends))
        runs = sum(_works(row, stop) for route in routes for stop in route)
        return Scored(number, found, Shared(run=runs, alone=runs), figure)


@contextmanager
def along(row: Sequence[RowModule], route: Route) -> Iterator[None]:
    """Within it, a pass of any network that holds the row's modules takes that route; afterwards all is as it was."""
    changed = [(row[place].module, stop) for place, stop in enumerate(route) if stop != (place, True)]
    for module, stop in changed:
        module.forward = partial(_stopped, row[stop[0]], stop[1])
    try:
        yield
    finally:
        for module, _ in changed:
            del module.forward


def _stopped(place: RowModule, whole: bool, x: Tensor) -> Tensor:
    y: Tensor = type(place.module).forward(place.module, x) if whole else skip_branch(place, x)
    return y


def shared(row: Sequence[RowModule], routes: Sequence[Route]) -> Shared:
    """How many unit evaluations an image needs on all `routes` together."""
    stops: list[Stop] = []
    for _ in _walk(list(enumerate(routes)), 0, None, lambda stop, _: stops.append(stop)):
        pass
    alone = sum(_works(row, stop) for route in routes for stop in route)
    return Shared(run=sum(_works(row, stop) for stop in stops), alone=alone)


def _works(row: Sequence[RowModule], stop: Stop) -> bool:
    return stop[1] and row[stop[0]].kind != "layer"


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
