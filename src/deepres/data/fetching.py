"""Tasks done by worker processes or threads, their answers in the order of the tasks; errors of processes as text."""

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from deepres.base.errors import InputError, RunError
from deepres.data.sample import Images
from deepres.data.workers import PREFETCH_FACTOR

NAMED_FILES = 5  # as many names stand in an error

T = TypeVar("T")
Task = tuple[list[int], list[int]]  # indices into the set, places in the stream


class Group(NamedTuple):
    """Pictures of one size, uint8 (N, C, H, W), and the places within the task of the images that they show."""

    pixels: Tensor
    kept: list[int]


class Answer(NamedTuple):
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


@dataclass(frozen=True)
class Tasks:
    """Drawn afresh by each reader of it: one by the loader, which runs ahead, and one by the consumer."""

    draw: Callable[[], Iterable[tuple[Tensor, Tensor]]]

    def __iter__(self) -> Iterator[Task]:
        return ((indices.tolist(), places.tolist()) for indices, places in self.draw())


def fetched(
    read: Dataset[Answer], tasks: Tasks, workers: int, device: torch.device, prefetch_factor: int = PREFETCH_FACTOR
) -> Generator[Answer, None, None]:
    """The answers in the order of the tasks, of which each worker has at most `prefetch_factor` in hand or ready.

    The workers end when this generator does.
    """
    loader = DataLoader(
        read,
        batch_size=None,
        sampler=tasks,
        num_workers=workers,
        prefetch_factor=prefetch_factor if workers else None,
        collate_fn=_unchanged,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_interrupts_to_parent,
        generator=torch.Generator(),  # else the global one is drawn from
    )
    answers = iter(loader)
    try:
        while (answer := next_answer(answers)) is not None:
            if answer.stops is not None:
                raise answer.stops(answer.message)
            yield answer
    finally:
        del answers


def next_answer(answers: Iterator[Answer]) -> Answer | None:
    """None after the last; RunError where a worker has died."""
    try:
        return next(answers, None)
    except RuntimeError as cause:
        if "DataLoader worker" not in str(cause):
            raise
        raise RunError(
            f"a loader process died ({str(cause).splitlines()[0]}); "
            f"the machine may be short of memory: use fewer workers (--set data.workers=0)"
        ) from cause


def by_threads(work: Callable[..., T], tasks: Iterable[tuple[Any, ...]], threads: int, *, ahead: int) -> Iterator[T]:
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


def note(answer: Answer, images: Images, skipped: dict[str, str]) -> None:
    """Write down the names of the images that could not be read, each with its first reason."""
    for index, reason in answer.bad:
        skipped.setdefault(images.name(index), reason)


def named(names: list[str]) -> str:
    """The first five names, and how many more there are."""
    rest = f" and {len(names) - NAMED_FILES} more" if len(names) > NAMED_FILES else ""
    return ", ".join(names[:NAMED_FILES]) + rest


def _unchanged(answer: Any) -> Any:
    return answer


def _leave_interrupts_to_parent(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the whole group by torchrun and by schedulers
