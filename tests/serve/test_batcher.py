import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest

from deepres.serve.batcher import Answered, Batcher, BatchJob
from deepres.serve.refusal import RefusedError


class Network:
    """Doubles numbers; remembers its batches; stands still while `gate` is closed."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken: Callable[[list[Any]], bool] = lambda values: False

    def __call__(self, values: list[Any]) -> Sequence[Any]:
        self.batches.append(list(values))
        assert self.gate.wait(10)
        if self.broken(values):
            raise ValueError(f"broken by {values}")
        return [2 * value for value in values]

    def job(self, value: int, key: Hashable = "k", seconds: float = 0.0) -> BatchJob:
        def read() -> tuple[Hashable, Any]:
            time.sleep(seconds)
            return key, value

        return BatchJob(read, self)


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.gate.set()


def _run(
    work: Callable[[Batcher], Coroutine[Any, Any, Any]],
    *,
    size: int = 4,
    wait: float = 0.02,
    most: int = 100,
    ahead: int = 16,
    seen: list[int] | None = None,
) -> Any:
    async def main() -> Any:
        with ThreadPoolExecutor(2) as readers:
            batches = seen if seen is not None else []
            batcher = Batcher(
                readers, size=size, wait=wait, most=most, ahead=ahead, on_batch=lambda n, s: batches.append(n)
            )
            try:
                return await asyncio.wait_for(work(batcher), 10)
            finally:
                batcher.close()

    return asyncio.run(main())


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("never")


def _values(found: list[Answered | Exception]) -> list[Any]:
    return [one.value if isinstance(one, Answered) else str(one) for one in found]


def test_forty_images_of_one_request_are_cut_to_batches_counted_in_images(network: Network) -> None:
    seen: list[int] = []
    found = _run(lambda batcher: batcher.ask([network.job(i) for i in range(40)]), size=16, ahead=34, seen=seen)
    assert _values(found) == [2 * i for i in range(40)]
    assert max(map(len, network.batches)) <= 16
    assert sorted(chain(*network.batches)) == list(range(40))
    assert [len(batch) for batch in network.batches] == seen
    assert len(seen) <= 5  # three are the fewest


def test_a_lone_image_never_waits_for_others(network: Network) -> None:
    began = time.perf_counter()
    (found,) = _run(lambda batcher: batcher.ask([network.job(3)]), wait=5.0)
    assert found.value == 6
    assert time.perf_counter() - began < 2


@pytest.mark.medium
def test_a_batch_waits_for_images_that_are_being_read_but_not_for_ever(network: Network) -> None:
    async def work(batcher: Batcher) -> Any:
        slow = asyncio.ensure_future(batcher.ask([network.job(1, seconds=0.3)]))
        await asyncio.sleep(0)
        quick = await batcher.ask([network.job(2)])
        assert not slow.done()
        return quick, await slow

    _run(work, wait=0.01)
    assert network.batches == [[2], [1]]
    network.batches.clear()
    _run(lambda batcher: batcher.ask([network.job(1, seconds=0.1), network.job(2)]), wait=5.0)
    assert sorted(network.batches[0]) == [1, 2]


def test_images_of_one_shape_are_answered_together_and_no_others(network: Network) -> None:
    async def work(batcher: Batcher) -> Any:
        network.gate.clear()
        first = asyncio.ensure_future(batcher.ask([network.job(0)]))
        await _until(lambda: len(network.batches) == 1)
        shapes = [(32, 32), (32, 48)]
        rest = asyncio.ensure_future(batcher.ask([network.job(i, shapes[i % 2]) for i in range(1, 7)]))
        await _until(lambda: len(batcher._ready) == 6)
        network.gate.set()
        return _values(await first) + _values(await rest)

    assert _run(work) == [2 * i for i in range(7)]
    assert sorted(map(sorted, network.batches[1:])) == [[1, 3, 5], [2, 4, 6]]


def test_whom_nobody_waits_for_is_not_asked(network: Network) -> None:
    async def work(batcher: Batcher) -> None:
        network.gate.clear()
        first = asyncio.ensure_future(batcher.ask([network.job(0)]))
        await _until(lambda: len(network.batches) == 1)
        gone = asyncio.ensure_future(batcher.ask([network.job(7), network.job(8)]))
        stays = asyncio.ensure_future(batcher.ask([network.job(9)]))
        await _until(lambda: len(batcher) == 4)
        gone.cancel()
        await asyncio.wait([gone])
        assert len(batcher) == 2
        network.gate.set()
        assert _values(await first) + _values(await stays) == [0, 18]

    _run(work)
    assert [*chain(*network.batches)] == [0, 9]


def test_many_that_go_while_others_wait_leave_nothing_behind(network: Network) -> None:
    async def work(batcher: Batcher) -> None:
        network.gate.clear()
        all_ = [asyncio.ensure_future(batcher.ask([network.job(i, seconds=0.001)])) for i in range(60)]
        await _until(lambda: len(network.batches) == 1)
        for task in all_[1::2]:
            task.cancel()
        network.gate.set()
        found = await asyncio.gather(*all_, return_exceptions=True)
        kept = [one for one in found if isinstance(one, list)]
        assert [_values(one)[0] for one in kept] == [2 * i for i in range(0, 60, 2)]
        await _until(lambda: not batcher._reading)
        assert len(batcher) == len(batcher._queue) == len(batcher._ready) == 0

    _run(work)


def test_an_error_fails_its_own_image_alone(network: Network) -> None:
    network.broken = lambda values: 3 in values
    found = _run(lambda batcher: batcher.ask([network.job(i) for i in range(6)]), size=6, wait=1.0)
    assert _values(found) == [0, 2, 4, "broken by [3]", 8, 10]


@pytest.mark.parametrize("wrong", [StopIteration(), MemoryError(), RuntimeError("cuda")])
def test_whatever_is_raised_reaches_who_asked(wrong: Exception) -> None:
    def ask(values: list[Any]) -> list[Any]:
        raise wrong

    (found,) = _run(lambda batcher: batcher.ask([BatchJob(lambda: (0, 0), ask)]))
    assert isinstance(found, Exception)


def test_answers_that_are_too_few_are_an_error_and_no_shift() -> None:
    (found, _) = _run(lambda batcher: batcher.ask([BatchJob(lambda: (0, 1), lambda v: [])] * 2))
    assert "0 answers to 1 image" in str(found)


def test_an_image_that_cannot_be_read_fails_alone(network: Network) -> None:
    def broken() -> tuple[Hashable, Any]:
        raise OSError("cut short")

    found = _run(lambda batcher: batcher.ask([network.job(1), BatchJob(broken, network), network.job(2)]))
    assert _values(found) == [2, "cut short", 4]


def test_a_full_queue_refuses_and_says_when_to_come_again(network: Network) -> None:
    async def work(batcher: Batcher) -> None:
        network.gate.clear()
        full = asyncio.ensure_future(batcher.ask([network.job(i) for i in range(9)]))
        await _until(lambda: len(batcher) == 9)
        with pytest.raises(RefusedError, match=r"queue is full \(9 of 10 images wait\); try again") as refused:
            await batcher.ask([network.job(1), network.job(2)])
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
        with pytest.raises(RefusedError, match="11 images in a request, the queue holds 10; send fewer") as refused:
            await batcher.ask([network.job(i) for i in range(11)])
        assert refused.value.status == 413
        network.gate.set()
        assert len(await full) == 9

    _run(work, most=10)


@pytest.mark.medium
def test_no_more_images_are_read_than_are_soon_asked(network: Network) -> None:
    read: list[int] = []

    def job(value: int) -> BatchJob:
        return BatchJob(lambda: (read.append(value), value), network)  # type: ignore[func-returns-value]

    async def work(batcher: Batcher) -> None:
        network.gate.clear()
        asked = asyncio.ensure_future(batcher.ask([job(i) for i in range(50)]))
        await asyncio.sleep(0.1)
        assert len(read) <= 4 + 8
        assert batcher.stuck_seconds > 0
        network.gate.set()
        assert len(await asked) == 50
        assert batcher.stuck_seconds == 0

    _run(work, ahead=8)


def test_the_time_is_told_by_part(network: Network) -> None:
    (found,) = _run(lambda batcher: batcher.ask([network.job(1, seconds=0.03)]))
    assert found.read_seconds >= 0.03
    assert 0 <= found.queue_seconds < 1
    assert 0 <= found.network_seconds < 1
    assert found.together == 1
