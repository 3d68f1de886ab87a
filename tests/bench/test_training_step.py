import pytest
import torch
from plain_networks import plain_resnet
from training_step import Watch, _Enough

from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.cost import cost
from deepres.train.loop import Step


@pytest.mark.parametrize("depth", [20, 110])
@pytest.mark.medium
def test_the_plain_network_is_the_same_network(depth: int) -> None:
    plain = plain_resnet(depth)
    assert sum(p.numel() for p in plain.parameters()) == cost(architecture(f"resnet{depth}_cifar")).parameters
    assert plain(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_the_others_have_their_turn_outside_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    time = [0.0]
    monkeypatch.setattr("training_step.perf_counter", lambda: time[0])

    def others() -> None:
        time[0] += 1000.0

    watch = Watch(per_round=2, warm_up=1, rounds=2, others=others)
    for number in range(1, 5):
        time[0] += 10.0 if number == 1 else 0.5
        watch(Step(number, 99, 0.0, 0, 1, 0.1, 0.0, 0.5))
    time[0] += 0.5
    with pytest.raises(_Enough):
        watch(Step(5, 99, 0.0, 0, 1, 0.1, 0.0, 0.5))
    assert watch.ready_seconds == 10.0
    assert watch.seconds == [1.0, 1.0]
