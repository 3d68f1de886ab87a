from collections.abc import Collection, Iterator
from functools import partial
from itertools import combinations
from math import comb, fsum

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deepres.analyze.path_gradient import TracedPass, measuring
from deepres.analyze.paths import LengthGradient, PathGradients, active_units, decay, effective_range, path_gradients
from deepres.analyze.units import without
from deepres.arch.architecture import Architecture, unit_names
from deepres.arch.families.densenet import DenseNetConfig
from deepres.arch.families.highway import HighwayConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.families.rir import RirConfig
from deepres.arch.readings.paths import path_lengths
from deepres.arch.units import Mixing, Style
from deepres.base.errors import InputError
from deepres.base.records import parse
from deepres.data.images import Batch
from deepres.nn import layers
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.create import create_model
from deepres.nn.init import initialise

SMALL = {"input": (3, 8, 8), "num_classes": 4}


def _resnet(depths: tuple[int, ...] = (3, 2), shortcut: str = "A", **style: object) -> Architecture:
    widths = (4, 8, 16)[: len(depths)]
    given = {"stem": "cifar", "stem_width": 4, "depths": depths, "widths": widths, "shortcut": shortcut}
    return ResNetConfig(name="small", **SMALL, **given, style=Style(**style)).architecture()


NETWORKS = {
    "original, A": _resnet((3, 3), order="original"),
    "original, B": _resnet((3, 2), "B", order="original"),
    "pre-activated, A": _resnet((4, 4), order="pre"),
    "pre-activated, B": _resnet((2, 3), "B", order="pre"),
    "norm after addition": _resnet((2, 2), "C", order="bn_after_add"),
    "exclusive gate": _resnet((2, 2), mixing=Mixing(gate="exclusive", gate_bias=-1)),
    "shortcut-only gate": _resnet((2, 2), mixing=Mixing(gate="shortcut", gate_bias=-1)),
    "dense": DenseNetConfig(name="dense", **SMALL, stem="cifar", stem_width=4, depths=(3, 2), growth=3).architecture(),
    "highway": HighwayConfig(name="way", **SMALL, depths=(2, 2), widths=(4, 6)).architecture(),
    "two streams": RirConfig(name="two", **SMALL, depths=(1, 2), widths=(4, 8)).architecture(),
}


def _lived_in(description: Architecture, dtype: torch.dtype = torch.float32) -> ResidualNetwork:
    network = build(description)
    initialise(network, 0)
    network.to(dtype)
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias, std=0.3)
    network.train()
    with torch.no_grad():
        for _ in range(5):
            network(torch.randn(16, *description.input, dtype=dtype))
    return network.eval()


def _batches(count: int = 1) -> list[Batch]:
    torch.manual_seed(2)
    return [
        Batch(torch.randn(4, 3, 8, 8), torch.randint(4, (4,)), torch.arange(4 * number, 4 * number + 4))
        for number in range(count)
    ]


def _whole(network: ResidualNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
    images = batch.images.to(next(network.parameters())).requires_grad_()
    logits = network(images)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, batch.targets), images)
    return logits.detach(), gradient


@pytest.mark.medium
@pytest.mark.parametrize("statistics", ["batch", "running"])
@pytest.mark.parametrize("which", NETWORKS)
def test_the_gradients_along_all_paths_add_up_to_the_whole_gradient(which: str, statistics: str) -> None:
    network, (batch,) = _lived_in(NETWORKS[which], torch.float64), _batches()
    names = unit_names(network.description)
    with measuring(network, statistics):
        logits, whole = _whole(network, batch)
        traced = TracedPass(network, batch)
        total = torch.zeros_like(whole)
        for length in range(len(names) + 1):
            for through in combinations(names, length):
                total += traced.along(through)
        together = traced.whole()
    assert len(names) <= 8
    assert torch.equal(traced.logits, logits)
    assert (total - whole).abs().max() < 1e-12 * whole.abs().max()
    assert (together - whole).abs().max() < 1e-12 * whole.abs().max()
    assert whole.abs().max() > 0


def _routed(unit: layers.Parallel, through: bool, x: Tensor) -> Tensor:
    """The values of the unit, the gradient along one way."""
    h = unit.pre(x)
    s, f = unit.get_submodule("shortcut")(h), unit.get_submodule("branch")(h)
    return unit.act(s.detach() + f if through else s + f.detach())


@pytest.mark.medium
@pytest.mark.parametrize("which", ["original, A", "original, B", "pre-activated, A", "pre-activated, B"])
@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_a_paths_gradient_is_that_of_a_network_whose_other_ways_are_detached(which: str, statistics: str) -> None:
    network, (batch,) = _lived_in(NETWORKS[which], torch.float64), _batches()
    names = unit_names(network.description)
    for through in [(), names[:1], names[1::2], names[2:], names]:
        with measuring(network, statistics):
            along = TracedPass(network, batch).along(through)
            for name in names:
                unit = network.get_submodule(name)
                unit.forward = partial(_routed, unit, name in through)
            _, wanted = _whole(network, batch)
            for name in names:
                del network.get_submodule(name).forward
        assert (along - wanted).abs().max() < 1e-12 * wanted.abs().max()
        assert wanted.abs().max() > 0


def _norms(network: ResidualNetwork, batches: list[Batch], length: int) -> list[float]:
    found = []
    with measuring(network, "batch"):
        for batch in batches:
            traced = TracedPass(network, batch)
            for through in combinations(unit_names(network.description), length):
                found.append(float(traced.along(through).double().norm()))
    return found


@pytest.mark.medium
def test_where_all_paths_are_taken_the_mean_is_the_expectation() -> None:
    network, batches = _lived_in(NETWORKS["original, B"]), _batches(2)
    found = path_gradients(network, batches, draws=10)
    totals = []
    for row in found.lengths:
        norms = _norms(network, batches, row.length)
        assert row.num_measured == len(norms) == 2 * comb(5, row.length)
        assert row.mean_norm == pytest.approx(fsum(norms) / len(norms))
        totals.append(comb(5, row.length) * fsum(norms) / len(norms))
        assert row.total == pytest.approx(totals[-1])
    assert [row.share for row in found.lengths] == pytest.approx([total / sum(totals) for total in totals])
    whole = []
    for batch in batches:
        with measuring(network, "batch"):
            whole.append(float(_whole(network, batch)[1].norm()))
    assert found.whole_norm == pytest.approx(sum(whole) / 2)


@pytest.mark.medium
def test_statistics_are_the_batchs_or_the_running_ones() -> None:
    network, batches = _lived_in(NETWORKS["original, B"]), _batches()
    found = {s: path_gradients(network, batches, draws=1, statistics=s).whole_norm for s in ("running", "batch")}
    assert found["running"] == pytest.approx(float(_whole(network, batches[0])[1].norm()), rel=1e-5)
    assert found["batch"] == pytest.approx(float(_whole(network.train(), batches[0])[1].norm()), rel=1e-5)
    assert found["batch"] != pytest.approx(found["running"], rel=1e-2)


@pytest.mark.medium
def test_drawn_paths_come_near_the_expectation() -> None:
    network, batches = _lived_in(NETWORKS["pre-activated, A"]), _batches()
    found = path_gradients(network, batches, draws=60, lengths=[4])
    (row,) = found.lengths
    expected = _norms(network, batches, 4)
    assert (row.num_measured, len(expected)) == (60, 70)
    assert row.spread > 0
    assert abs(row.mean_norm - fsum(expected) / 70) < 4 * row.spread / 60**0.5


@pytest.mark.medium
def test_paths_repeat_with_their_seed_and_are_counted_as_the_description_counts_them() -> None:
    network, batches = _lived_in(NETWORKS["pre-activated, A"]), _batches(2)
    found = path_gradients(network, batches, draws=2, seed=4)
    assert {row.length: row.num_paths for row in found.lengths} == path_lengths(network.description)
    assert found == path_gradients(network, batches, draws=2, seed=4)
    assert found != path_gradients(network, batches, draws=2, seed=5)
    some = path_gradients(network, batches, draws=2, seed=4, lengths=[3])
    assert some.lengths[0].mean_norm == found.lengths[3].mean_norm
    assert parse(PathGradients, found.to_json(), "paths") == found


def _geometric(rate: float, num_units: int = 54) -> PathGradients:
    whole = (1 + rate) ** num_units
    rows = tuple(
        LengthGradient(
            length=k,
            num_paths=comb(num_units, k),
            num_measured=1,
            mean_norm=rate**k,
            spread=0,
            total=comb(num_units, k) * rate**k,
            share=comb(num_units, k) * rate**k / whole,
        )
        for k in range(num_units + 1)
    )
    facts = {"network": "n", "num_units": num_units, "num_batches": 1, "statistics": "batch", "seed": 0}
    return PathGradients(**facts, whole_norm=1, lengths=rows)


def test_the_papers_range_is_that_of_a_decay_to_a_quarter_a_unit() -> None:
    """5 to 17 of 54 units, 0.45 % of all paths."""
    gradients = _geometric(0.241)
    found = effective_range(gradients, 0.97)
    assert (found.shortest, found.longest) == (5, 17)
    assert found.gradient_share == pytest.approx(0.976, abs=1e-3)
    assert found.paths_share == pytest.approx(0.004537, abs=1e-6)
    assert decay(gradients) == pytest.approx(0.241)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8, 0.95, 1.0])
def test_no_shorter_range_holds_the_share(share: float) -> None:
    gradients = _geometric(0.7, 9)
    shares = [row.share for row in gradients.lengths]
    found = effective_range(gradients, share)
    assert found.gradient_share == pytest.approx(sum(shares[found.shortest : found.longest + 1]))
    assert found.gradient_share >= share - 1e-12
    width = found.longest - found.shortest
    for first in range(10 - width):
        assert sum(shares[first : first + width + 1]) <= found.gradient_share + 1e-12
        assert sum(shares[first : first + width]) < share


@pytest.mark.slow
def test_of_54_units_23_train_each_equally_often() -> None:
    network = build(create_model("preresnet110_cifar").description)
    names = unit_names(network.description)
    draws = [active_units(network, 23, seed=1, step=step) for step in range(300)]
    assert {len(draw) for draw in draws} == {23}
    counts = [sum(name in draw for draw in draws) for name in names]
    assert sum(counts) == 23 * 300
    assert 85 < min(counts) <= max(counts) < 175  # 128 +- 5 standard deviations of 8.6
    assert draws[7] == active_units(network, 23, seed=1, step=7) != active_units(network, 23, seed=2, step=7)
    keep = ("stage2.unit1", "stage3.unit1")
    kept = [active_units(network, 23, 1, step, keep=keep) for step in range(20)]
    assert all(len(draw) == 23 and draw >= set(keep) for draw in kept)


@pytest.mark.medium
def test_units_left_out_train_nothing_and_their_norms_see_nothing() -> None:
    network, (batch,) = _lived_in(NETWORKS["pre-activated, A"]).train(), _batches()
    active = active_units(network, 3, seed=0, step=0)
    idle = set(unit_names(network.description)) - active
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with without(network, idle):
        F.cross_entropy(network(batch.images), batch.targets).backward()
    for name in active | idle:
        unit = network.get_submodule(f"{name}.branch")
        assert all((parameter.grad is None) == (name in idle) for parameter in unit.parameters())
        same = [torch.equal(v, before[f"{name}.branch.{k}"]) for k, v in unit.named_buffers()]
        assert all(same) if name in idle else not any(same)


class _TornError(Exception):
    pass


def _torn(batches: list[Batch]) -> Iterator[Batch]:
    yield from batches
    raise _TornError


def _condition(network: ResidualNetwork) -> tuple[object, ...]:
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())
    modes = [module.training for module in network.modules()]
    flags = [(p.requires_grad, p.grad is None) for p in network.parameters()]
    values = {key: value.tolist() for key, value in network.state_dict().items()}
    return hooks, modes, flags, values, torch.get_rng_state().tolist()


@pytest.mark.parametrize("statistics", ["batch", "running"])
@pytest.mark.medium
def test_the_network_is_left_as_it_was_also_after_an_exception(statistics: str) -> None:
    network, batches = _lived_in(NETWORKS["original, B"]).train(), _batches()
    network.get_submodule("stage1").eval()
    before, images = _condition(network), batches[0].images.clone()
    path_gradients(network, batches, draws=1, statistics=statistics)
    with pytest.raises(_TornError):
        path_gradients(network, _torn(batches), draws=1, statistics=statistics)
    assert _condition(network) == before
    assert torch.equal(batches[0].images, images)
    assert not batches[0].images.requires_grad


def test_drop_path_and_dropout_are_off() -> None:
    description = ResNetConfig(
        name="s", **SMALL, stem="cifar", stem_width=4, depths=(2,), widths=(4,), drop_path=0.5, head_dropout=0.5
    ).architecture()
    network, batches = _lived_in(description), _batches()
    assert path_gradients(network, batches) == path_gradients(network.train(), batches)


@pytest.mark.medium
def test_progress_counts_paths() -> None:
    seen: list[tuple[int, int]] = []
    path_gradients(
        _lived_in(NETWORKS["original, B"]),
        _batches(2),
        draws=3,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(done, 28) for done in range(1, 29)]


def _error(text: str) -> Collection[object]:
    return pytest.raises(InputError, match=text)


@pytest.mark.medium
def test_what_cannot_be_done_is_said() -> None:
    network, batches = _lived_in(NETWORKS["original, B"]), _batches()
    with _error(r"lengths: \(0, 6\); small has 5 units, wanted 0 to all of them"):
        path_gradients(network, batches, lengths=[6, 0])
    with _error("draws: 0; wanted 1 or more"):
        path_gradients(network, batches, draws=0)
    with _error("path gradients: no batches were given"):
        path_gradients(network, [])
    with _error("small: no unit has a branch and a shortcut; there is one path only"):
        path_gradients(_lived_in(_resnet((2, 2), "none")), batches)
    with _error("share: 0; wanted a fraction above 0 and up to 1"):
        effective_range(_geometric(0.5, 4), 0)
    with _error("small: 2 of 6 lengths were measured; wanted all of them"):
        effective_range(path_gradients(network, batches, draws=1, lengths=[0, 1]))
    with _error("small: 1 lengths have a gradient; wanted 2 or more for a slope"):
        decay(path_gradients(network, batches, draws=1, lengths=[2]))
    with _error("count: 6 units; wanted 1 to 5"):
        active_units(network, 6, 0, 0)
    with _error("count: 1 units; wanted 2 to 5"):
        active_units(network, 1, 0, 0, keep=["stage1.unit1", "stage1.unit2"])
    with _error(r"small: unit 'stage1\.unit7': unknown; did you mean"):
        active_units(network, 3, 0, 0, keep=["stage1.unit7"])


def test_a_gradient_that_is_not_finite_stops() -> None:
    network, batches = _lived_in(NETWORKS["original, B"]), _batches()
    with torch.no_grad():
        network.get_submodule("stem.conv").weight.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="path gradients: a gradient's norm is nan; the weights are damaged"):
        path_gradients(network, batches)
