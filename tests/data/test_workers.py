import os
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.data import workers
from deepres.data.sources import DataConfig
from deepres.data.workers import MARGIN, choose_workers, rate_of, resolved


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


def test_a_rate_is_calls_a_second_on_one_thread() -> None:
    called: list[int] = []
    before = torch.get_num_threads()

    def read(index: int) -> None:
        assert torch.get_num_threads() == 1
        called.append(index)
        time.sleep(0.02)

    assert 0 < rate_of(read, 3, seconds=0.1) < 50
    assert called[:3] == [0, 1, 2]
    assert torch.get_num_threads() == before


def test_the_field_takes_a_number_or_auto() -> None:
    assert edit(DataConfig(), ["workers=3"]).workers == 3
    assert edit(DataConfig(), ["workers=auto"]).workers == "auto"
    for wrong in ("many", "-1"):
        with pytest.raises(InputError, match="workers"):
            edit(DataConfig(), [f"workers={wrong}"])
