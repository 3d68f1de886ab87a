from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import nn

from deepres.train.config import SgdConfig
from deepres.train.optim import Sgd, average_weights


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def _run(network: nn.Module, step: Callable[[float], None], rates: list[float]) -> list[torch.Tensor]:
    x = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for lr in rates:
        network.zero_grad()
        network(x).square().mean().backward()
        step(lr)
    return [p.detach().clone() for p in network.parameters()]


@pytest.mark.parametrize("nesterov", [False, True])
def test_at_a_constant_rate_it_is_torchs_sgd(nesterov: bool) -> None:
    ours, theirs = _network(), _network()
    sgd = Sgd(ours.named_parameters(), SgdConfig(nesterov=nesterov, decay_parameters="all", weight_decay=0.01))
    torchs = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    expected = _run(theirs, lambda lr: torchs.step(), [0.1] * 12)
    for got, want in zip(_run(ours, sgd.step, [0.1] * 12), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-13)


def test_after_a_drop_the_velocity_keeps_the_old_rate() -> None:
    rates = [0.1, 0.1, 0.01, 0.01, 0.01]
    ours, slow = _network(), _network()
    sgd = Sgd(ours.named_parameters(), SgdConfig(weight_decay=0.01, decay_parameters="weights"))
    velocity = {name: torch.zeros_like(p) for name, p in slow.named_parameters()}

    @torch.no_grad()
    def by_hand(lr: float) -> None:
        for name, p in slow.named_parameters():
            decay = 0.01 if name.endswith("weight") else 0
            velocity[name] = 0.9 * velocity[name] + lr * (p.grad + decay * p)
            p -= velocity[name]

    expected = _run(slow, by_hand, rates)
    for got, want in zip(_run(ours, sgd.step, rates), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-13)


def test_a_restored_optimiser_goes_on_bitwise() -> None:
    config = SgdConfig()
    network = _network()
    sgd = Sgd(network.named_parameters(), config)
    _run(network, sgd.step, [0.1] * 3)
    other = deepcopy(network)
    restored = Sgd(other.named_parameters(), config)
    restored.load_state_dict(sgd.state_dict())
    for a, b in zip(_run(network, sgd.step, [0.1]), _run(other, restored.step, [0.1]), strict=True):
        assert torch.equal(a, b)


def test_parameters_without_a_gradient_stay() -> None:
    network = _network()
    sgd = Sgd(network.named_parameters(), SgdConfig(weight_decay=0.1))
    before = [p.clone() for p in network.parameters()]
    sgd.step(0.1)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_the_average_follows_the_weights_and_copies_statistics() -> None:
    network = nn.BatchNorm1d(2)
    average = deepcopy(network)
    network.weight.data.fill_(3.0)
    network.running_mean.fill_(5.0)
    average_weights(average, network, decay=0.9, step=10**6)
    torch.testing.assert_close(average.weight.data, torch.tensor([1.2, 1.2]))
    assert torch.equal(average.running_mean, network.running_mean)
    average_weights(average, network, decay=0.9, step=0)  # the first step weighs nine tenths
    torch.testing.assert_close(average.weight.data, torch.tensor([1.2, 1.2]) + 0.9 * (3 - 1.2))
