"""What must hold of residual units whatever their weights: limits of gates, of norms, of dropped units."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deepres.arch.architecture import Architecture, unit_names, without
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.units import Mixing
from deepres.arch.variants import ORDERS, with_mixing, with_order
from deepres.base.records import build as build_record
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model

UNITS = st.sampled_from(["basic", "bottleneck", "single"])
SEEDS = st.integers(0, 2**31)


def _config(unit: str = "basic", **fields: object) -> ResNetConfig:
    plain = {"name": "x", "input": (3, 8, 8), "num_classes": 3, "stem": "cifar", "stem_width": 4, "shortcut": "A"}
    return build_record(ResNetConfig, {**plain, "unit": unit, "depths": (2, 2), "widths": (4, 8), **fields}, "x")


def _network(description: Architecture, seed: int) -> ResidualNetwork:
    """In float64 and evaluation mode, every tensor drawn at random: norms, gates and biases too."""
    net = create_model(description, seed=seed).double().eval()
    draw = torch.Generator().manual_seed(seed)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(
                torch.rand(tensor.shape, generator=draw, dtype=tensor.dtype) + (0.5 if "running_var" in name else -0.3)
            )
    return net


def _carried(source: nn.Module, description: Architecture) -> ResidualNetwork:
    net = create_model(description).double().eval()
    net.load_state_dict({name: source.state_dict()[name] for name in net.state_dict()})
    return net


def _images(seed: int) -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _with_gates(net: ResidualNetwork, bias: float) -> ResidualNetwork:
    for name, parameter in net.named_parameters():
        if ".gate.conv." in name:
            nn.init.constant_(parameter, bias if name.endswith("bias") else 0)
    return net


@pytest.mark.medium
@given(UNITS, SEEDS)
@settings(max_examples=10, deadline=None)
def test_a_gate_that_is_open_leaves_the_plain_network(unit: str, seed: int) -> None:
    config = _config(unit)
    gated = _with_gates(_network(with_mixing(config, Mixing(gate="exclusive")).architecture(), seed), bias=1e9)
    plain = _carried(gated, config.replace(shortcut="none").architecture())
    torch.testing.assert_close(gated(_images(seed)), plain(_images(seed)), rtol=0, atol=1e-12)


@pytest.mark.medium
@given(UNITS, SEEDS)
@settings(max_examples=10, deadline=None)
def test_a_gate_that_is_shut_deletes_its_unit(unit: str, seed: int) -> None:
    config = _config(unit)
    gated = _with_gates(_network(with_mixing(config, Mixing(gate="exclusive")).architecture(), seed), bias=-1e9)
    shorter = config.architecture()
    for name in unit_names(shorter):
        shorter = without(shorter, f"{name}.branch")
    torch.testing.assert_close(gated(_images(seed)), _carried(gated, shorter)(_images(seed)), rtol=0, atol=1e-12)


@pytest.mark.medium
@given(UNITS, SEEDS)
@settings(max_examples=10, deadline=None)
def test_exclusive_gating_at_a_half_is_scaling_by_halves(unit: str, seed: int) -> None:
    config = _config(unit)
    gated = _with_gates(_network(with_mixing(config, Mixing(gate="exclusive")).architecture(), seed), bias=0)
    halves = with_mixing(config, Mixing(shortcut_scale=0.5, branch_scale=0.5)).architecture()
    torch.testing.assert_close(gated(_images(seed)), _carried(gated, halves)(_images(seed)), rtol=0, atol=1e-12)


@pytest.mark.medium
@given(UNITS, SEEDS)
@settings(max_examples=10, deadline=None)
def test_shortcut_only_gating_that_is_shut_is_the_original(unit: str, seed: int) -> None:
    config = _config(unit)
    gated = _with_gates(_network(with_mixing(config, Mixing(gate="shortcut")).architecture(), seed), bias=-1e9)
    torch.testing.assert_close(
        gated(_images(seed)), _carried(gated, config.architecture())(_images(seed)), rtol=0, atol=1e-12
    )


@pytest.mark.medium
@given(UNITS, st.sampled_from(list(ORDERS.values())), SEEDS)
@settings(max_examples=15, deadline=None)
def test_dropping_a_branch_in_the_description_is_deleting_it_in_the_module(unit: str, order: str, seed: int) -> None:
    description = with_order(_config(unit), order).architecture()
    net = _network(description, seed)
    name = unit_names(description)[seed % 4]
    shorter = _carried(net, without(description, f"{name}.branch"))

    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> float:
            return 0.0

    net.get_submodule(name).branch = Nothing()  # type: ignore[assignment]
    assert torch.equal(net(_images(seed)), shorter(_images(seed)))


@pytest.mark.medium
@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_dropping_a_unit_of_one_shape_is_skipping_it(seed: int) -> None:
    description = with_order(
        _config(), "pre"
    ).architecture()  # nothing is left behind: identity, no activation after the sum
    net = _network(description, seed)
    shorter = _carried(net, without(description, "stage2.unit2"))
    net.get_submodule("stage2")[1] = nn.Identity()  # type: ignore[index]
    assert torch.equal(net(_images(seed)), shorter(_images(seed)))


@pytest.mark.medium
@given(UNITS, SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_last_norm_at_zero_makes_every_unit_its_shortcut(unit: str, seed: int) -> None:
    config = _config(unit)
    net = _network(config.architecture(), seed)
    last = {"single": 1, "basic": 2, "bottleneck": 3}[unit]
    for name, parameter in net.named_parameters():
        if f".branch.norm{last}." in name:
            nn.init.zeros_(parameter)
    shorter = config.architecture()
    for name in unit_names(shorter):
        shorter = without(shorter, f"{name}.branch")
    torch.testing.assert_close(net(_images(seed)), _carried(net, shorter)(_images(seed)), rtol=0, atol=1e-12)


def test_stochastic_depth_is_one_coin_a_batch_and_its_expectation_in_evaluation() -> None:
    from deepres.nn.layers import BatchDropPath, SampleDropPath

    x = torch.ones(1000, 2, 1, 1)
    torch.manual_seed(0)
    batch, sample = BatchDropPath(0.25).train(), SampleDropPath(0.25).train()
    draws = torch.stack([batch(x) for _ in range(400)])
    assert all(draw.unique().numel() == 1 for draw in draws)
    assert 0.68 < draws[:, 0, 0, 0, 0].mean() < 0.82
    assert torch.equal(batch.eval()(x), 0.75 * x)
    one = sample(x)
    assert set(one.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.75))}
    assert abs(one.mean() - 1) < 0.06
    assert torch.equal(sample.eval()(x), x)
