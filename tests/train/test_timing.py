import time

import pytest
import torch
from torch import nn

from deepres.train.precision import choose
from deepres.train.timing import MOST_CALLS, passes, timed, timed_in_turns

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


def test_passes_are_of_a_copy_in_training_and_leave_no_trace() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Dropout()).eval()
    modes: list[bool] = []
    state = torch.get_rng_state()

    def loss(forward: object) -> torch.Tensor:
        modes.append(twins[-1].training)
        return twins[-1](torch.ones(1, 3)).sum()

    twins: list[nn.Module] = []

    def wrapped(twin: nn.Module) -> nn.Module:
        twins.append(twin)
        return twin

    assert len(timed(passes(network, choose("float32", CPU), loss, wrapped), CPU, 60.0, calls=3)) == 3
    assert modes == [True] * 3
    assert twins[0] is not network
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)
