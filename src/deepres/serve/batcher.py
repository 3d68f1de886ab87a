"""Images that wait for a network -> batches of one shape, counted in images; whom nobody waits for is dropped.

All of it is done by the event loop's thread, so that nothing is locked; images are read by `readers`, and the network
asked by one thread of its own. Images are read a little ahead alone: those that wait are held as they came.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from deepres.serve.refusal import RefusedError, busy

Ask = Callable[[list[Any]], Sequence[Any]]
OnBatch = Callable[[int, float], None]
"""Hears of each batch how many images it has, and its seconds."""


class BatchJob(NamedTuple):
    """`read`, by a reading thread, gives a key and what `ask` is given of it; those of one `ask` and key go together.

    `ask` is called by the network's thread and answers all of them, in their order.
    """

    read: Callable[[], tuple[Hashable, Any]]
    ask: Ask


@dataclass(eq=False)
class Answered:
    """What `ask` said, and where the time went; `together` images were asked in one batch."""

    value: Any = None
    queue_seconds: float = 0.0
    read_seconds: float = 0.0
    network_seconds: float = 0.0
    together: int = 0


@dataclass(eq=False)
class Waiting:
    """An image on its way: who waits for it, since when; what was read of it, and its answer."""

    job: BatchJob
    future: asyncio.Future[Answered]
    came: float
    answered: Answered = field(default_factory=Answered)
    key: Hashable = None
    value: Any = None
    ready: float = 0.0


class ImageQueue(Protocol):
    """What a network's images wait in: `len` of them; made anew for each network."""

    def __init__(
        self, readers: Executor, *, size: int, wait: float, most: int, ahead: int, on_batch: OnBatch
    ) -> None: ...

    def __len__(self) -> int: ...

    @property
    def stuck_seconds(self) -> float:
        """For how long the network has been answering the batch that it is at; 0 where it is at none."""

    async def ask(self, jobs: Sequence[BatchJob]) -> list[Answered | Exception]:
        """What comes of each job, in order; once this is cancelled, what is not being asked yet never is.

        Raises:
            RefusedError: the queue has no room for all of them.
        """

    def close(self) -> None:
        """No thread is left, once the batch that is being asked has ended."""


def require_room(images: int, waiting: int, most: int) -> None:
    """Refuse so many images where a queue of `most`, in which others wait already, does not hold them."""
    if images > most:
        raise RefusedError(413, f"{images} images in a request, the queue holds {most}; send fewer at once")
    if waiting + images > most:
        raise busy(f"the queue is full ({waiting} of {most} images wait); try again in a second")


class Batcher:
    """One queue of at most `most` images, and batches of at most `size` of them.

    A lone image is asked at once; while others are being read, a batch waits for them, for `wait` seconds at most.
    """

    def __init__(
        self,
        readers: Executor,
        *,
        size: int,
        wait: float,
        most: int,
        ahead: int,
        on_batch: OnBatch,
    ) -> None:
        self._readers, self._network = readers, ThreadPoolExecutor(1, thread_name_prefix="network")
        self._size, self._wait, self._most, self._ahead, self._on_batch = size, wait, most, ahead, on_batch
        self._queue: deque[Waiting] = deque()
        self._reading: set[Waiting] = set()
        self._ready: list[Waiting] = []
        self._asked: list[Waiting] = []
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Images that somebody waits for."""
        waiting = [*self._queue, *self._reading, *self._ready, *self._asked]
        return sum(not one.future.done() for one in waiting)

    @property
    def stuck_seconds(self) -> float:
        """For how long the network has been answering the batch that it is at; 0 where it is at none."""
        return perf_counter() - self._began if self._asked else 0.0

    async def ask(self, jobs: Sequence[BatchJob]) -> list[Answered | Exception]:
        """What comes of each job, in order; once this is cancelled, what is not being asked yet never is.

        Raises:
            RefusedError: the queue has no room for all of them.
        """
        require_room(len(jobs), len(self), self._most)
        loop = asyncio.get_running_loop()
        mine = [Waiting(job, loop.create_future(), perf_counter()) for job in jobs]
        self._queue.extend(mine)
        self._advance()
        try:
            return await asyncio.gather(*(one.future for one in mine), return_exceptions=True)  # type: ignore[return-value]
        finally:
            if not all(one.future.done() and not one.future.cancelled() for one in mine):
                for one in mine:
                    one.future.cancel()
                self._queue = deque(one for one in self._queue if not one.future.done())
                self._ready = [one for one in self._ready if not one.future.done()]
                self._advance()

    def close(self) -> None:
        """No thread is left, once the batch that is being asked has ended."""
        self._network.shutdown(wait=False, cancel_futures=True)

    def _advance(self) -> None:
        """Have images read as far as there is room for them, and begin a batch where one is due."""
        loop = asyncio.get_running_loop()
        while self._queue and len(self._reading) + len(self._ready) < self._ahead:
            one = self._queue.popleft()
            self._reading.add(one)
            loop.run_in_executor(self._readers, read_one, one).add_done_callback(
                lambda done, one=one: self._was_read(one, done)  # type: ignore[misc]
            )
        self._begin()

    def _was_read(self, one: Waiting, done: "asyncio.Future[tuple[Hashable, Any]]") -> None:
        self._reading.discard(one)
        cause = None if done.cancelled() else done.exception()
        if cause is not None and not one.future.done():
            one.future.set_exception(cause)
        elif not one.future.done() and not done.cancelled():
            one.key, one.value = done.result()
            one.ready = perf_counter()
            self._ready.append(one)
        self._advance()

    def _begin(self) -> None:
        """Ask the first that is ready, and those like it, unless that should wait for more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asked or not self._ready:
            return
        first = self._ready[0]
        alike = [one for one in self._ready if one.key == first.key and one.job.ask == first.job.ask]
        left = first.ready + self._wait - perf_counter()
        if len(alike) < self._size and (self._queue or self._reading) and left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._begin)
            return
        batch = alike[: self._size]
        self._ready = [one for one in self._ready if one not in batch]
        self._asked, self._began = batch, perf_counter()
        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._network, answers_to, batch).add_done_callback(
            lambda done: self._was_asked(batch, done)
        )

    def _was_asked(self, batch: list[Waiting], done: "asyncio.Future[list[Any]]") -> None:
        seconds = perf_counter() - self._began
        self._asked = []
        self._on_batch(len(batch), seconds)
        for one, value in zip(batch, [] if done.cancelled() else done.result(), strict=False):
            one.value = None
            if one.future.done():
                continue
            if isinstance(value, Exception):
                one.future.set_exception(value)
                continue
            told = one.answered
            told.value, told.network_seconds, told.together = value, seconds, len(batch)
            told.queue_seconds = self._began - one.came - told.read_seconds
            one.future.set_result(told)
        self._advance()


def read_one(one: Waiting) -> tuple[Hashable, Any]:
    """Its key and what the network is given of it; nothing where nobody waits any more."""
    began = perf_counter()
    try:
        return (None, None) if one.future.done() else one.job.read()
    finally:
        one.answered.read_seconds = perf_counter() - began


def answers_to(batch: list[Waiting]) -> list[Any]:
    """What is said to each of a batch; where the whole fails, each is tried alone: an answer, or what was raised."""
    try:
        return _asked(batch)
    except Exception as cause:  # whatever a network may raise
        if len(batch) == 1:
            return [RuntimeError("StopIteration") if isinstance(cause, StopIteration) else cause]  # none for a future
    return [None if one.future.done() else answers_to([one])[0] for one in batch]


def _asked(batch: list[Waiting]) -> list[Any]:
    answers = list(batch[0].job.ask([one.value for one in batch]))
    if len(answers) != len(batch):
        raise RuntimeError(f"{len(answers)} answers to {len(batch)} images")
    return answers
