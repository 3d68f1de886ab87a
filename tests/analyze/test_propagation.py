import copy
from math import prod, sqrt

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from deepres.analyze.propagation import (
    Propagation,
    order_variants,
    propagation,
    propagation_at_start,
    shortcut_variants,
)
from deepres.arch.architecture import unit_names
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.families.densenet import DenseNetConfig
from deepres.arch.families.highway import HighwayConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.units import Mixing, Style
from deepres.arch.variants import ORDERS, SHORTCUTS
from deepres.base.errors import InputError, RunError
from deepres.base.records import parse
from deepres.data.images import Batch
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.hooks import part

SMALL = {"input": (3, 8, 8), "num_classes": 4}


def _config(depths: tuple[int, ...] = (3, 2), shortcut: str = "A", **style: object) -> ResNetConfig:
    widths = (4, 8)[: len(depths)]
    given = {"stem": "cifar", "stem_width": 4, "depths": depths, "widths": widths, "shortcut": shortcut}
    return ResNetConfig.model_validate({"name": "small", **SMALL, **given, "style": Style(**style)})


def _batch(count: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(2)
    return Batch(
        torch.randn(count, 3, 8, 8, generator=draw),
        torch.randint(4, (count,), generator=draw),
        torch.arange(count),
    )


def _mean_square(x: torch.Tensor) -> float:
    values = x.detach().flatten().tolist()
    return sum(value * value for value in values) / len(values)


def _silent_branches(network: ResidualNetwork) -> ResidualNetwork:
    """F = 0: the last norm of each branch gives zeros."""
    with torch.no_grad():
        for name in unit_names(network.description):
            norms = [
                module for module in part(network, f"{name}.branch").modules() if isinstance(module, nn.BatchNorm2d)
            ]
            norms[-1].weight.zero_()
    return network


ALL = {**shortcut_variants(_config()), **order_variants(_config())}


@pytest.mark.medium
@pytest.mark.parametrize("variant", [name for name in ALL if "dropout" not in name])
def test_gradients_and_signals_are_those_of_the_units_run_one_by_one(variant: str) -> None:
    network, batch = create_model(ALL[variant].architecture(), seed=3), _batch()
    found = propagation(network, batch)
    other = copy.deepcopy(network).train()
    names = unit_names(network.description)
    rows = dict(zip(names, found.rows, strict=True))
    tail = {name: place for place, name in enumerate(names)}
    for name in names:
        x = part(other, "stem")(batch.images)
        for before in names[: tail[name]]:
            x = part(other, before)(x)
        x = x.detach().requires_grad_()
        y = x
        for unit in names[tail[name] :]:
            y = part(other, unit)(y)
            if unit == name:
                assert rows[name].mean_square == pytest.approx(_mean_square(y), rel=1e-5)
        if "final" in network.body_names:
            y = part(other, "final")(y)
        loss = F.cross_entropy(other.head(y), batch.targets)
        (gradient,) = torch.autograd.grad(loss, x)
        assert rows[name].gradient == pytest.approx(sqrt(_mean_square(gradient) * gradient.numel()), rel=1e-4)
        assert found.loss[0] == pytest.approx(float(loss.detach()), rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.5, 1.5])
@pytest.mark.parametrize("order", ["relu_before_add", "relu_pre"])
def test_without_branches_equation_8_is_exact_where_f_is_the_identity(scale: float, order: str) -> None:
    config = _config((4,), order=order, mixing=Mixing(shortcut_scale=scale))
    found = propagation(_silent_branches(create_model(config.architecture())), _batch())
    assert [row.product for row in found.rows] == [scale**power for power in (4, 3, 2, 1)]
    assert {row.factor_from for row in found.rows} == {"equation"}
    for place, row in enumerate(found.rows):
        assert row.gradient == pytest.approx(scale ** (4 - place) * found.last_gradient[0], rel=1e-5)
        assert row.direct == pytest.approx(row.gradient, rel=1e-5)
        assert row.added_square == pytest.approx(row.mean_square, rel=1e-5)
        assert row.branch_square == 0


@given(st.lists(st.sampled_from(["exclusive", "shortcut"]), min_size=1, max_size=1), st.floats(-3, 3))
@settings(deadline=None, max_examples=8)
@pytest.mark.medium
def test_without_branches_the_product_of_open_gates_is_exact(gate: list[str], bias: float) -> None:
    config = _config((3,), order="relu_before_add", mixing=Mixing(gate=gate[0], gate_bias=bias))
    network = _silent_branches(create_model(config.architecture()))
    with torch.no_grad():
        for name in unit_names(network.description):
            part(network, f"{name}.gate.conv").weight.zero_()
    found = propagation(network, _batch())
    opening = 1 - float(torch.tensor(bias, dtype=torch.float64).sigmoid())
    last_bits = 2 * torch.finfo(torch.float32).eps  # of a gate near 1, from which it is taken
    assert [row.factor for row in found.rows] == pytest.approx([opening] * 3, rel=1e-6, abs=last_bits)
    assert [row.gradient for row in found.rows] == pytest.approx([row.direct for row in found.rows], rel=1e-5)


@pytest.mark.medium
def test_a_gates_factor_is_the_mean_of_what_it_leaves_to_the_shortcut() -> None:
    network, batch = create_model(ALL["exclusive gating, bias 0"].architecture()), _batch()
    first, second = unit_names(network.description)[:2]
    row = propagation(network, batch).rows[1]
    other = copy.deepcopy(network).train()
    x = part(other, first)(part(other, "stem")(batch.images))
    gate, shortcut = part(other, f"{second}.gate")(x), part(other, f"{second}.shortcut")(x)
    branch = part(other, f"{second}.branch")(x)
    assert row.factor == pytest.approx(sum((1 - gate).flatten().tolist()) / gate.numel(), rel=1e-6)
    assert row.shortcut_square == pytest.approx(_mean_square((1 - gate) * shortcut), rel=1e-5)
    assert row.branch_square == pytest.approx(_mean_square(gate * branch), rel=1e-5)
    assert 0.3 < row.factor < 0.7


@pytest.mark.medium
def test_products_are_those_of_the_factors_from_here_to_the_end() -> None:
    found = propagation_at_start(ALL, _batch())
    for variant in found.variants:
        rows = found.of(variant)
        for place, row in enumerate(rows):
            assert row.product == pytest.approx(prod(later.factor for later in rows[place:]), rel=1e-12)
            last = found.last_gradient[found.variants.index(variant)]
            assert row.direct == pytest.approx(row.product * last, rel=1e-12)
    assert {row.factor for row in found.of("original")} == {1}
    assert {row.factor for row in found.of("scaling 0")} == {row.product for row in found.of("scaling 0")} == {0}
    assert {row.factor for row in found.of("scaling 0.5, 0.5")} == {0.5}
    assert {row.factor for row in found.of("dropout 0.5")} == {1}
    assert {row.factor_from for row in found.of("1x1 convolution")} == {"measured"}


def test_the_signal_grows_by_a_branch_a_unit_where_f_is_the_identity() -> None:
    config = _config((8,), order="relu_pre")
    rows = propagation(create_model(config.architecture()), _batch(16)).rows
    start = rows[0].shortcut_square
    grown = [start + sum(row.branch_square for row in rows[: place + 1]) for place in range(8)]
    assert [row.added_square for row in rows] == pytest.approx(grown, rel=1e-6)
    assert [row.mean_square for row in rows] == pytest.approx(grown, rel=0.2)
    assert [row.branch_square for row in rows] == pytest.approx([1] * 8, rel=1e-2)  # behind a fresh norm


@pytest.mark.medium
def test_a_projections_factor_is_the_gain_of_its_weights() -> None:
    config = _config((1,), shortcut="C", order="relu_before_add")
    network, batch = create_model(config.architecture()), _batch()
    factors = []
    for seed in range(40):
        (row,) = propagation(network, batch, statistics="running", seed=seed).rows
        factors.append(row.factor**2)
    conv, norm = part(network, "stage1.unit1.shortcut.conv"), part(network, "stage1.unit1.shortcut.norm")
    gain = conv.weight.detach().double().square().sum() / 4 / (1 + norm.eps)
    assert sum(factors) / len(factors) == pytest.approx(float(gain), rel=0.05)  # ||W^T u||^2 / ||u||^2 on average


def test_a_shortcut_behind_a_norm_of_its_unit_is_measured() -> None:
    rows = propagation(create_model(_config(order="pre").architecture()), _batch()).rows
    assert [row.factor_from for row in rows] == ["equation"] * 3 + ["measured", "equation"]
    assert 0 < rows[3].factor < 1  # its norm divides by the spread of a signal that has grown


@pytest.mark.medium
def test_every_row_of_both_tables_has_every_unit() -> None:
    for variants, wanted in (
        (shortcut_variants(_config()), [*SHORTCUTS, "1x1 convolution"]),
        (order_variants(_config()), list(ORDERS)),
    ):
        ticks: list[tuple[int, int]] = []
        found = propagation_at_start(variants, _batch(), on_progress=lambda *seen, to=ticks: to.append(seen))
        assert list(found.variants) == wanted
        units = unit_names(_config().architecture())
        assert [(row.variant, row.unit) for row in found.rows] == [(name, unit) for name in wanted for unit in units]
        assert ticks == [(done, len(wanted)) for done in range(1, len(wanted) + 1)]
        assert len({row.gradient for row in found.rows}) > len(units) * len(wanted) * 0.9


@pytest.mark.medium
def test_variants_begin_as_the_network_that_the_seed_makes() -> None:
    started = propagation_at_start({"this": _config()}, _batch(), seed=5)
    network = create_model(_config().architecture(), seed=5)
    same = propagation(network, _batch(), seed=5)
    assert [row.gradient for row in started.rows] == [row.gradient for row in same.rows]
    other = propagation_at_start({"this": _config()}, _batch(), seed=6)
    assert [row.gradient for row in started.rows] != [row.gradient for row in other.rows]


def test_gated_layers_and_plain_networks_are_followed_too() -> None:
    highway = HighwayConfig(name="gated", **SMALL, layer="linear", depths=(3,), widths=(5,))
    found = propagation(create_model(highway.architecture()), _batch())
    assert len(found.rows) == 3
    assert all(0.8 < row.factor < 0.95 for row in found.rows)  # 1 - sigmoid(-2)
    plain = propagation(create_model(_config(shortcut="none").architecture()), _batch())
    assert {row.shortcut_square for row in plain.rows} == {row.factor for row in plain.rows} == {0}


@pytest.mark.parametrize("statistics", ["batch", "running"])
@pytest.mark.medium
def test_the_network_is_left_as_it_was_and_answers_the_same_again(statistics: str) -> None:
    network, batch = create_model(ALL["dropout 0.5"].architecture()).eval(), _batch()
    part(network, "stage2").train()
    part(network, "stem.conv").requires_grad_(False)
    part(network, "head.fc").weight.grad = torch.ones_like(part(network, "head.fc").weight)
    state, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    before = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in network.modules()]
    flags = [(p.requires_grad, p.grad is None) for p in network.parameters()]
    found = propagation(network, batch, statistics=statistics, seed=1)
    torch.rand(7)
    again, other = (propagation(network, batch, statistics=statistics, seed=seed) for seed in (1, 2))
    assert found == again
    assert parse(Propagation, found.to_json(), "propagation") == found
    assert (found.rows == other.rows) is (statistics == "running")
    with torch.no_grad():
        part(network, "stage1.unit2.branch.conv1").weight.mul_(float("nan"))
    with pytest.raises(
        RunError, match=r"^small \(given\): stage1\.unit1: gradient is not finite; give fewer units, or"
    ):
        propagation(network, batch, statistics=statistics)
    del state["stage1.unit2.branch.conv1.weight"]
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in state.items())
    assert [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in network.modules()] == before
    assert [(p.requires_grad, p.grad is None) for p in network.parameters()] == flags
    assert not batch.images.requires_grad
    torch.set_rng_state(random)
    propagation_at_start({"this": _config()}, batch)
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.medium
def test_what_cannot_be_followed_is_refused() -> None:
    network, batch = create_model(_config().architecture()), _batch()
    dense = DenseNetConfig(name="dense", **SMALL, stem="cifar", depths=(2, 1), growth=2).architecture()
    with pytest.raises(
        InputError, match=r"^dense: stage1\.unit1 is no sum of a branch and a shortcut, .* wanted a resid"
    ):
        propagation(create_model(dense), batch)
    with pytest.raises(InputError, match=r"^fractal\S+: stage1\S* is no sum of a branch and a shortcut, of which eq"):
        propagation(create_model(architecture("fractalnet20_cifar")), batch)
    with pytest.raises(InputError, match=r"^small: no classifier, so no gradient of a loss; build it with num_classes"):
        propagation(create_model(_config().architecture(), num_classes=0), batch)
    with pytest.raises(InputError, match=r"^small: no images were given to follow through it; wanted at least one$"):
        propagation(network, Batch(batch.images[:0], batch.targets[:0], batch.indices[:0]))
    with pytest.raises(
        InputError, match=r"^small: labels are mixed, torch\.float32; wanted int64, give batches without"
    ):
        propagation(network, Batch(batch.images, torch.rand(6, 4), batch.indices))
    with pytest.raises(InputError, match=r"^small: label 9 with 4 classes; build it with num_classes of the labels$"):
        propagation(network, Batch(batch.images, batch.targets + 9 - batch.targets.max(), batch.indices))
    with pytest.raises(InputError, match=r"^small: a plain network has no shortcuts to vary; give its residual twin$"):
        shortcut_variants(_config(shortcut="none"))
    with pytest.raises(InputError, match=r"^variants: none; wanted one at least, such as those of shortcut_variants"):
        propagation_at_start({}, batch)
    with pytest.raises(InputError, match=r"^small: variant 'givn': unknown; did you mean given\?$"):
        propagation(network, batch).of("givn")
