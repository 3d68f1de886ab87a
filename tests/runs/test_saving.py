"""When a state is saved."""

import pytest

from deepres.runs import saving
from deepres.runs.saving import Saving
from deepres.train.loop import Epoch, Step
from deepres.train.state import EpochTotals

STEP = Step(1, 9, 0.5, 0, 8, 0.1, 0.0, 0.1)
EPOCH = Epoch(1, 3, EpochTotals(), 0.1, None, best=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its only number is the time, in seconds."""
    now = [0.0]
    monkeypatch.setattr(saving, "monotonic", lambda: now[0])
    return now


def saved(clock: list[float], seconds: float) -> Saving:
    due = Saving(every=60)
    with due.timed():
        clock[0] += seconds
    return due


def test_after_so_many_seconds_within_an_epoch(clock: list[float]) -> None:
    due = saved(clock, 0.01)
    clock[0] += 59
    assert not due.due(STEP, finished=False)
    clock[0] += 2
    assert due.due(STEP, finished=False)


def test_small_states_after_every_epoch_and_any_at_the_end(clock: list[float]) -> None:
    assert saved(clock, 0.1).due(EPOCH, finished=False)
    assert saved(clock, 1.0).due(EPOCH, finished=True)


def test_what_takes_long_is_saved_in_a_twentieth_of_the_time(clock: list[float]) -> None:
    due = saved(clock, 1.0)
    clock[0] += 19
    assert not due.due(EPOCH, finished=False)
    clock[0] += 2
    assert due.due(EPOCH, finished=False)
