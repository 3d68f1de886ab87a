"""Pictures read by worker processes or threads, their answers in the order of the tasks; errors travel as text."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.wording import some
from deepres.data.images import Images
from deepres.data.loading.processes import DiedError, by_processes
from deepres.data.loading.workers import PREFETCH_FACTOR
from deepres.data.transforms.sides import canvas, on_canvas

T = TypeVar("T")
ReadTask = tuple[list[int], list[int]]  # indices into the set, places in the stream


class Group(NamedTuple):
    """Pictures of one size, uint8 (N, C, H, W), and the places within the task of the images that they show.

    `sizes` int64 (N, 2) are their own (H, W), where one size is that of a canvas.
    """

    pixels: Tensor
    kept: list[int]
    sizes: Tensor | None = None


class Fetched(NamedTuple):
    """What a worker sends back; errors travel as text, for a worker's exception arrives as a wall of traceback."""

    groups: list[Group]  # none where no image could be read
    bad: list[tuple[int, str]]  # index and reason
    stops: type[InputError] | None = None
    message: str = ""


def grouped(pictures: Sequence[tuple[Tensor, ...]], kept: Sequence[int]) -> list[Group]:
    """The first pictures of all images, then the second, …, each in groups of one size, in the order of the images."""
    groups: list[Group] = []
    for same in zip(*pictures, strict=True):
        by_size: dict[tuple[int, ...], list[int]] = {}
        for number, picture in enumerate(same):
            by_size.setdefault(tuple(picture.shape), []).append(number)
        for numbers in by_size.values():
            groups.append(Group(torch.stack([same[n] for n in numbers]), [kept[n] for n in numbers]))
    return groups


def on_one_canvas(pictures: Sequence[Tensor], kept: Sequence[int], multiple: int) -> list[Group]:
    """All pictures in one group, on the canvas that holds the largest sides."""
    if not pictures:
        return []
    sizes = [(picture.shape[-2], picture.shape[-1]) for picture in pictures]
    size = canvas(sizes, multiple)
    whole = torch.stack([on_canvas(picture, size) for picture in pictures])
    return [Group(whole, list(kept), torch.tensor(sizes))]


def on_canvases(pictures: Sequence[Tensor], kept: Sequence[int], multiple: int) -> list[Group]:
    """Each picture on the smallest canvas of its own, in groups of one size, in the order of the images."""
    sizes = [(picture.shape[-2], picture.shape[-1]) for picture in pictures]
    padded = [on_canvas(picture, canvas([size], multiple)) for picture, size in zip(pictures, sizes, strict=True)]
    own = dict(zip(kept, sizes, strict=True))
    groups = grouped([(picture,) for picture in padded], kept)
    return [group._replace(sizes=torch.tensor([own[place] for place in group.kept])) for group in groups]


@dataclass(frozen=True)
class ReadTasks:
    """Drawn afresh by each reader of it: one by the loader, which runs ahead, and one by the consumer."""

    draw: Callable[[], Iterable[tuple[Tensor, Tensor]]]

    def __iter__(self) -> Iterator[ReadTask]:
        return ((indices.tolist(), places.tolist()) for indices, places in self.draw())


class Readings(Protocol):
    """ReadTask -> answer, the same in any process."""

    def __getitem__(self, task: ReadTask) -> Fetched: ...


def fetched(
    read: Readings,
    images: Images,
    tasks: Iterable[ReadTask],
    workers: int,
    device: torch.device,
    prefetch_factor: int = PREFETCH_FACTOR,
) -> Generator[Fetched, None, None]:
    """The answers in the order of the tasks, of which each worker has at most `prefetch_factor` in hand or ready.

    The workers end when this generator does. One that dies is replaced; where that does not help, the error names the
    images that were read.
    """
    with ExitStack() as stack:
        answers: Iterator[Fetched] = (read[task] for task in tasks)
        if workers:
            each = by_processes(read.__getitem__, tasks, workers, ahead=prefetch_factor)
            answers = stack.enter_context(closing(each))
        if device.type == "cuda":
            answers = map(_pinned, answers)
            if workers:  # beside the steps
                answers = stack.enter_context(closing(_one_ahead(answers)))
        try:
            for answer in answers:
                if answer.stops is not None:
                    raise answer.stops(answer.message)
                yield answer
        except DiedError as died:
            which = some([images.name(index) for index in died.task[0]])
            raise DiedError(f"{died.message}; each was reading {which}", died.task) from died


def _one_ahead(answers: Iterator[Fetched]) -> Generator[Fetched, None, None]:
    begun = by_threads(lambda: next(answers, None), repeat(()), 1, ahead=2)
    with closing(begun):
        for answer in begun:
            if answer is None:
                return
            yield answer


def _pinned(answer: Fetched) -> Fetched:
    return answer._replace(groups=[group._replace(pixels=group.pixels.pin_memory()) for group in answer.groups])


def by_threads(
    work: Callable[..., T], tasks: Iterable[tuple[Any, ...]], threads: int, *, ahead: int
) -> Generator[T, None, None]:
    """`work(*task)` of each task, in order, whatever the threads do; `ahead` tasks a thread are begun before."""
    if threads == 0:
        yield from (work(*task) for task in tasks)
        return
    left = iter(tasks)
    with ThreadPoolExecutor(threads) as pool:
        begun = deque(pool.submit(work, *task) for task in islice(left, ahead * threads))
        while begun:
            yield begun.popleft().result()
            begun.extend(pool.submit(work, *task) for task in islice(left, 1))


def note(answer: Fetched, images: Images, skipped: dict[str, str]) -> None:
    """Write down the names of the images that could not be read, each with its first reason."""
    for index, reason in answer.bad:
        skipped.setdefault(images.name(index), reason)
