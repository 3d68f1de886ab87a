import time

import pytest
import torch

from deepres.nn.timing import MOST_CALLS, timed, timed_in_turns

CPU = torch.device("cpu")


@pytest.mark.parametrize(("seconds", "calls", "expected"), [(0.0, 9, 2), (60.0, 5, 5), (60.0, MOST_CALLS, MOST_CALLS)])
def test_calls_go_on_until_enough_are_known(seconds: float, calls: int, expected: int) -> None:
    made: list[int] = []
    assert len(timed(lambda: made.append(1), CPU, seconds, calls)) == len(made) == expected


def test_each_call_has_its_own_seconds() -> None:
    pauses = iter([0.02, 0.0])
    first, second = timed(lambda: time.sleep(next(pauses)), CPU, 0.0)
    assert first >= 0.02 > second


def test_works_take_turns() -> None:
    made: list[str] = []
    first, second = timed_in_turns([lambda: made.append("a"), lambda: (made.append("b"), time.sleep(0.01))], CPU, 3)
    assert made == ["a", "b"] * 3
    assert len(first) == len(second) == 3
    assert min(second) >= 0.01 > max(first)
