import math
import os
import random
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.data.loading import workers
from deepres.data.loading.workers import (
    MARGIN,
    MOST_PREFETCHED,
    PREFETCH_FACTOR,
    STALLS,
    Load,
    choose_prefetch_factor,
    choose_workers,
    depth,
    load_of,
    resolved,
    room_for_batches,
)
from deepres.data.sources.config import DataConfig


@pytest.mark.parametrize(
    ("load", "step", "cores", "on_gpu", "number"),
    [
        (800, 50, 2, False, 1),  # one is more than enough
        (800, 6400, 16, True, 10),
        (800, 1e6, 16, True, 16),
        (800, 1e6, 16, False, 15),  # the step needs a core
        (800, 1e6, 1, False, 1),
        (800, 640, 16, True, 1),
        (800, 641, 16, True, 2),
    ],
)
def test_as_many_as_keep_up_within_the_cores(load: float, step: float, cores: int, on_gpu: bool, number: int) -> None:
    assert choose_workers(load, step, cores, on_gpu=on_gpu).number == number


@given(load=st.floats(1, 1e5), step=st.floats(1, 1e6), cores=st.integers(1, 256), on_gpu=st.booleans())
@pytest.mark.medium
def test_the_number_keeps_up_or_uses_all_and_never_one_too_many(
    load: float, step: float, cores: int, on_gpu: bool
) -> None:
    number = choose_workers(load, step, cores, on_gpu=on_gpu).number
    most = max(1, cores if on_gpu else cores - 1)
    assert 1 <= number <= most
    assert number == most or number * load >= MARGIN * step * (1 - 1e-9)
    assert number == 1 or (number - 1) * load < MARGIN * step * (1 + 1e-9)


def test_it_is_said_in_one_line_with_a_remedy_where_none_would_do() -> None:
    assert choose_workers(812.3, 6400, 16, on_gpu=True).sentence == (
        "workers: 10 (one gives 812 images/s, steps take 6,400, 16 cores)"
    )
    assert choose_workers(12.34, 100, 4, on_gpu=False).sentence == (
        "workers: 3 (one gives 12.3 images/s, steps take 100, 4 cores; 11 would keep up: pack the images with "
        "deepres data pack)"
    )


def test_unmeasured_is_the_cores_but_one_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= workers.num_cores() <= (os.cpu_count() or 1)
    for cores, number in ((1, 1), (2, 1), (6, 5), (64, 8)):
        monkeypatch.setattr(workers, "num_cores", lambda cores=cores: cores)
        assert resolved("auto") == number
    assert resolved(3) == 3


def test_a_load_is_seconds_spread_and_bytes_of_a_call_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    before, clock = torch.get_num_threads(), [0.0]
    monkeypatch.setattr(workers, "perf_counter", lambda: clock[0])

    def read(index: int) -> int:
        assert torch.get_num_threads() == 1
        called.append(index)
        clock[0] += (9.0, 1.0, 3.0)[index] if len(called) > 1 else 100.0  # the first call opens files
        return 10 * index

    found = load_of(read, 3, seconds=13)
    assert called == [0, 1, 2, 0]
    assert found.seconds == pytest.approx((1 + 3 + 9) / 3)
    assert found.spread == pytest.approx(math.sqrt(((1 - 13 / 3) ** 2 + (3 - 13 / 3) ** 2 + (9 - 13 / 3) ** 2) / 2))
    assert found.bytes == 20
    assert torch.get_num_threads() == before


@pytest.mark.medium
def test_a_load_is_measured_for_a_moment() -> None:
    assert 0.02 <= load_of(lambda _: time.sleep(0.02) or 1, 3, seconds=0.1).seconds < 0.1


def stalled(times: list[float], workers: int, step: float, ahead: int) -> float:
    """The share of steps that wait, played event by event: tasks go round, answers come in order, as in the loader."""
    done, taken, free, now, waits = 0.0, [0.0] * len(times), [0.0] * workers, 0.0, 0
    for number, seconds in enumerate(times):
        worker, before = number % workers, number - ahead * workers
        done = max(free[worker], taken[before] if before >= 0 else 0.0) + seconds
        free[worker] = done
        waits += done > now and number > 3 * ahead * workers  # all that lies ready at first is used up
        now = taken[number] = max(now, done)
        now += step
    return waits / len(times)


def batches(images: int, sigma: float, number: int = 20_000) -> list[float]:
    """Seconds of batches of images whose own are log-normal: mostly small, a few that take many times as long."""
    draw = random.Random(0)
    return [sum(draw.lognormvariate(0, sigma) for _ in range(images)) for _ in range(number)]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("images", "sigma", "crew", "busy"),
    [(8, 1.0, 4, 0.8), (8, 1.0, 4, 0.9), (16, 1.0, 4, 0.9), (32, 1.0, 2, 0.95), (8, 1.3, 2, 0.8), (4, 1.0, 4, 0.8)],
)
def test_a_queue_of_that_depth_hardly_ever_runs_dry_and_a_shallower_one_more_often(
    images: int, sigma: float, crew: int, busy: float
) -> None:
    times = batches(images, sigma)
    mean = sum(times) / len(times)
    spread = math.sqrt(sum((x - mean) ** 2 for x in times) / len(times))
    due = mean / busy
    chosen = depth(mean, spread, due)
    shares = {ahead: stalled(times, crew, due / crew, ahead) for ahead in (1, PREFETCH_FACTOR, chosen - 1, chosen)}
    assert 2 < chosen < MOST_PREFETCHED
    assert shares[chosen] < STALLS
    assert shares[chosen - 1] > 1.5 * shares[chosen]
    assert shares[PREFETCH_FACTOR] > 2 * STALLS  # what is fixed elsewhere is not enough
    assert shares[1] > 0.1


@given(mean=st.floats(1e-3, 1e3), spread=st.floats(1e-3, 1e3), due=st.floats(1e-3, 1e3), more=st.floats(1, 10))
@pytest.mark.medium
def test_depth_grows_with_the_spread_and_falls_with_the_time_there_is(
    mean: float, spread: float, due: float, more: float
) -> None:
    chosen = depth(mean, spread, due)
    assert PREFETCH_FACTOR <= chosen <= MOST_PREFETCHED or (chosen == 1 and spread < 1e-3 * due)
    assert depth(mean, more * spread, due) >= chosen
    assert due <= mean or depth(mean, spread, more * due) <= chosen
    assert due > mean or chosen == PREFETCH_FACTOR


@given(
    load=st.builds(Load, st.floats(1e-4, 1), st.floats(0, 1), st.integers(1, 10**7)),
    images=st.integers(1, 512),
    step=st.floats(1, 1e4),
    crew=st.integers(1, 64),
    room=st.integers(0, 10**11),
)
@pytest.mark.medium
def test_waiting_batches_fit_into_memory_or_are_one_a_worker(
    load: Load, images: int, step: float, crew: int, room: int
) -> None:
    ahead, said = choose_prefetch_factor(load, images, step, crew, room)
    assert ahead == 1 or ahead * crew * images * load.bytes <= room
    assert 1 <= ahead <= MOST_PREFETCHED
    assert f"each {ahead} batch" in said
    assert (": use " in said) == (crew * images * load.bytes > room)


def test_the_depth_is_said_with_its_reason_and_what_memory_leaves_of_it() -> None:
    load = Load(0.01, 0.03, 150_000)  # 16 images: 0.16 s +- 0.12; 4 workers at 320 images/s: one due every 0.2 s
    times = "(a batch takes 0.16 s ± 0.1 in a worker, one is due every 0.2"
    assert choose_prefetch_factor(load, 16, 320, 4, 10**9) == (6, f"each 6 batches ahead {times})")
    assert choose_prefetch_factor(load, 16, 320, 4, 20 * 2_400_000) == (
        5,
        f"each 5 batches ahead {times}; 6 would be better, memory has room for 20 of all workers)",
    )
    assert choose_prefetch_factor(load, 16, 320, 4, 3 * 2_400_000) == (
        1,
        f"each 1 batch ahead {times}; 6 would be better, memory has room for 3 of all workers: use --workers 3)",
    )
    assert choose_prefetch_factor(load, 16, 320, 4, 0)[1].endswith(
        "room for 0 of all workers: use a smaller --batch-size)"
    )


def test_no_more_workers_than_memory_has_room_for_their_batches() -> None:
    assert choose_workers(800, 6400, 16, on_gpu=True, fitting=10).number == 10
    assert choose_workers(800, 6400, 16, on_gpu=True, fitting=0).number == 1
    few = choose_workers(800, 6400, 16, on_gpu=True, fitting=3)
    assert few.number == 3
    assert few.sentence.endswith("16 cores; memory has room for 3 batches: use a smaller --batch-size)")


def test_batches_take_a_share_of_what_is_free_and_of_what_they_are_sent_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(workers, "SHM", tmp_path / "absent")
    assert room_for_batches(1000) == 100
    monkeypatch.setattr(workers, "SHM", tmp_path)
    free = os.statvfs(tmp_path)
    assert room_for_batches(1000) == 100
    assert room_for_batches(10**18) == pytest.approx(0.5 * free.f_bavail * free.f_frsize, rel=0.1)


def test_the_field_takes_a_number_or_auto() -> None:
    assert edit(DataConfig(), ["workers=3"]).workers == 3
    assert edit(DataConfig(), ["workers=auto"]).workers == "auto"
    for wrong in ("many", "-1"):
        with pytest.raises(InputError, match="workers"):
            edit(DataConfig(), [f"workers={wrong}"])


def test_the_depth_takes_a_number_or_auto() -> None:
    assert DataConfig().prefetch_factor == "auto"
    assert edit(DataConfig(), ["prefetch_factor=3"]).prefetch_factor == 3
    for wrong in ("many", "0"):
        with pytest.raises(InputError, match="prefetch_factor"):
            edit(DataConfig(), [f"prefetch_factor={wrong}"])
