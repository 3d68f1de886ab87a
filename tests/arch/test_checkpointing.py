from math import sqrt

import pytest

from deepres.arch.algebra import Parallel, Sequence
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.checkpointing import MOST_RECOMPUTED, make_plan
from deepres.arch.readings.memory import step_memory
from deepres.arch.readings.segments import chain, segments


@pytest.mark.medium
@pytest.mark.parametrize("name", ["preresnet164_cifar", "densenet_bc100_k12_cifar", "resnet50"])
def test_the_smallest_peak_is_below_the_plain_one_and_recomputes_no_more_than_it_may(name: str) -> None:
    net = architecture(name)
    plan = make_plan(net, 16)
    assert 0 < plan.recomputed <= MOST_RECOMPUTED
    assert plan.peak_bytes == step_memory(net, 16, plan=plan).total
    assert plan.plain_bytes == step_memory(net, 16).total
    assert plan.peak_bytes < 0.7 * plan.plain_bytes
    assert [link.name for step in segments(net, plan) for link in step.links] == [link.name for link in chain(net)]


@pytest.mark.long
def test_very_deep_and_very_dense_networks_need_less_than_a_quarter() -> None:
    # the networks of He et al. 2016, table 4, and of Huang et al. 2017, table 2, at their papers' batch sizes
    for name, batch_size in (
        ("preresnet1001_cifar", 128),
        ("densenet_bc190_k40_cifar", 64),
        ("densenet_bc100_k12_cifar", 64),
    ):
        plan = make_plan(architecture(name), batch_size)
        assert plan.peak_bytes < plan.plain_bytes / 4, name


@pytest.mark.slow
def test_of_equal_units_about_the_square_root_is_kept() -> None:
    net = architecture("preresnet164_cifar")
    (_, stage), *_ = [part for part in net.body if part[0] == "stage1"]
    assert isinstance(stage, Sequence)
    last = dict(stage.parts)["unit18"]
    assert isinstance(last, Parallel)
    for n in (64, 256):
        units = (*stage.parts[:1], *((f"more{place}", last) for place in range(n)))
        deep = net.replace(body=(*net.body[:1], ("stage1", Sequence(parts=units)), net.body[-1]))
        plan = make_plan(deep, 4, most=1.0)
        # with s bytes inside a unit and b between two, sqrt(n s / b) runs are best: s / b is 3 here
        assert 0.4 * sqrt(3 * n) < len(plan.segments) < 2 * sqrt(3 * n)
        assert plan.peak_bytes < 5 * plan.plain_bytes / sqrt(n)


@pytest.mark.slow
def test_a_budget_is_kept_with_as_little_recomputing_as_it_allows() -> None:
    net = architecture("preresnet164_cifar")
    plain = step_memory(net, 32).total
    shares = []
    for part in (1.0, 0.8, 0.6, 0.4, 0.25):
        plan = make_plan(net, 32, int(part * plain))
        assert plan.peak_bytes <= part * plain
        shares.append(plan.recomputed)
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert make_plan(net, 32, 1) == make_plan(net, 32)


@pytest.mark.medium
def test_in_dense_units_convolutions_are_not_computed_again() -> None:
    net = architecture("densenet_bc100_k12_cifar")
    plan = make_plan(net, 8)
    inside = [segment for segment in plan.segments if segment[0].startswith("stage1")]
    assert inside[2] == tuple(f"stage1.unit2.branch.{layer}" for layer in ("norm1", "act1", "conv1"))
    assert inside[3] == tuple(f"stage1.unit2.branch.{layer}" for layer in ("norm2", "act2", "conv2"))
