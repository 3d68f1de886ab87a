"""Integrated gradients: complete on every kind of network, exact where all is linear, as a slow sum has them."""

import pytest
import torch

from deepres.analyze.integrated import integrated_gradients
from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.lookup import entry
from deepres.base.errors import InputError
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model


def _small(name: str, **fields: object) -> Architecture:
    return entry(name).config.replace(input=(3, 8, 8), num_classes=3, **fields).architecture()


NETWORKS = {
    "residual": _small("resnet20_cifar", depths=(1, 1), widths=(8, 16), shortcut="B"),
    "pre-activation": _small("preresnet110_cifar", depths=(1, 1), widths=(16, 32)),
    "dense": _small("densenet40_k12_cifar", depths=(2, 2)),
}


def _network(name: str) -> ResidualNetwork:
    torch.manual_seed(1)
    made = create_model(NETWORKS[name], seed=2).double().train()
    for _ in range(5):
        made(torch.randn(8, 3, 8, 8).double())
    return made.eval()


def _asked() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    return torch.randn(2, 3, 8, 8).double(), torch.tensor([[2], [0]]), 0.1 * torch.randn(2, 3, 8, 8).double()


@pytest.mark.medium
@pytest.mark.parametrize("name", NETWORKS)
def test_the_parts_sum_to_the_difference(name: str) -> None:
    network, (images, targets, baseline) = _network(name), _asked()
    with torch.no_grad():
        wanted = (network(images) - network(baseline)).gather(1, targets)[:, 0]
    found = integrated_gradients(network, images, targets, baseline, steps=256)
    torch.testing.assert_close(found.difference, wanted)
    torch.testing.assert_close(found.pixels.sum((1, 2, 3)), wanted, rtol=0.01, atol=0.01)
    rough = integrated_gradients(network, images, targets, baseline, steps=2)
    assert found.gap.max() < rough.gap.max()


def test_it_is_a_slow_sum_of_gradients() -> None:
    network, (images, targets, baseline) = _network("residual"), _asked()
    found = integrated_gradients(network, images, targets, baseline, steps=3)
    for n in range(2):
        total = torch.zeros(3, 8, 8).double()
        for a in (1 / 6, 3 / 6, 5 / 6):
            x = (baseline[n] + a * (images[n] - baseline[n])).requires_grad_()
            network(x[None])[0, int(targets[n, 0])].backward()
            assert x.grad is not None
            total += x.grad / 3
        torch.testing.assert_close(found.pixels[n], (images[n] - baseline[n]) * total)


def test_a_pixel_that_is_as_in_the_baseline_adds_nothing_and_the_network_is_left_as_it_was() -> None:
    network, (images, targets, baseline) = _network("dense").train(), _asked()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    baseline[:, :, 2, 5] = images[:, :, 2, 5]
    found = integrated_gradients(network, images, targets, baseline, steps=2)
    assert not found.pixels[:, :, 2, 5].any()
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_what_cannot_be_is_refused() -> None:
    network, (images, targets, baseline) = _network("residual"), _asked()
    with pytest.raises(InputError, match="integrated gradients: 0 steps; wanted 1 or more"):
        integrated_gradients(network, images, targets, baseline, steps=0)
    with pytest.raises(InputError, match=r"integrated gradients: baseline \(1, 3, 8, 8\) for images \(2, 3, 8, 8\)"):
        integrated_gradients(network, images, targets, baseline[:1])
    with pytest.raises(InputError, match="class 3: unknown"):
        integrated_gradients(network, images, targets + 1, baseline)
