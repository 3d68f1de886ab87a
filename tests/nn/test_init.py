from math import sqrt

import pytest
import torch
from torch import nn

from deepres.nn.create import create_model
from deepres.nn.init import initialise


@pytest.mark.medium
def test_he_initialisation_has_its_variance() -> None:
    net = create_model("resnet50", num_classes=1000)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            inputs = module.weight[0].numel()
            assert module.weight.std().item() == pytest.approx(sqrt(2 / inputs), rel=0.05), name
            assert abs(module.weight.mean().item()) < 5 * sqrt(2 / inputs / module.weight.numel())


def test_the_signal_keeps_its_size_through_plain_layers() -> None:
    layers = nn.Sequential(*(nn.Sequential(nn.Conv2d(256, 256, 1, bias=False), nn.ReLU()) for _ in range(20)))
    initialise(layers, seed=0)  # 1x1: no border of zeros, where the signal would be lost
    x = torch.randn(4, 256, 8, 8, generator=torch.Generator().manual_seed(0))
    assert 0.3 < layers(x).square().mean() / x.square().mean() < 3


@pytest.mark.medium
def test_a_seed_repeats_bitwise_and_another_differs() -> None:
    one, same, other = (create_model("resnet20_cifar", seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["stem.conv.weight"], other["stem.conv.weight"])


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    create_model("resnet20_cifar")
    assert torch.equal(before, torch.get_rng_state())


def test_a_tensor_without_a_rule_is_an_error() -> None:
    with pytest.raises(AssertionError, match=r"0\.weight of PReLU: no rule in the initialisation table"):
        initialise(nn.Sequential(nn.PReLU()), seed=0)
