from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.lookup import architecture, entry
from deepres.arch.readings.checkpointing import make_plan
from deepres.arch.readings.memory import step_memory
from deepres.arch.readings.segments import CheckpointPlan, chain
from deepres.base import ram
from deepres.base.errors import InputError
from deepres.data.images import Batch
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.memory import apply, available_bytes, require_fits
from deepres.tasks.classification.losses import cross_entropy
from deepres.train.config import SgdConfig, TrainConfig
from deepres.train.loop import TrainingContext, train
from deepres.train.precision import Precision
from deepres.train.schedules import ScheduleConfig
from deepres.train.state import State


def _dense(**fields: object) -> Architecture:
    return entry("densenet_bc100_k12_cifar").config.replace(depths=(3, 3), input=(3, 8, 8), **fields).architecture()


def _small(name: str, **fields: object) -> Architecture:
    return entry(name).config.replace(input=(3, 16, 16), **fields).architecture()


NARROW = "widths=16,32,64,128+stem_width=16"
NETWORKS = {
    "original": _small("resnet20_cifar"),
    "pre": _small("preresnet110_cifar", depths=(4, 4, 4)),
    "bottleneck": _small("preresnet164_cifar", depths=(3, 3, 3)),
    "dense": _dense(),
    "dense, dropout": _dense(dropout=0.2),
    "dense, plain": _small("densenet40_k12_cifar", depths=(3, 3)),
    "drop-path": _small("resnet110_stochastic_cifar", depths=(4, 4, 4)),
    "columns": entry("fractalnet20_drop_cifar").config.replace(widths=(8,) * 5).architecture(),
    "gates": _small("highway19_cifar", depths=(3, 2, 2)),
    "eca": architecture(f"resnet18+style.eca_kernel=auto+{NARROW}", num_classes=10, input=(3, 32, 32)),
    "scales": architecture(f"resnet50+style.scales=4+depths=1,1,1,1+{NARROW}", num_classes=10, input=(3, 32, 32)),
    "splits": architecture(f"resnest14d+{NARROW}", num_classes=10, input=(3, 32, 32)),
    "squeezed": architecture(f"seresnet18+{NARROW}", num_classes=10, input=(3, 32, 32)),
}


def _step(net: ResidualNetwork, plan: CheckpointPlan, dtype: torch.dtype, size: int = 4) -> tuple[Tensor, Tensor]:
    """One forward and backward pass; the loss, and the next number of the generator."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(size, *net.description.input, generator=draw)
    torch.manual_seed(2)
    with apply(net, plan), torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        loss = F.cross_entropy(net(x).float(), torch.arange(size))
        loss.backward()
    return loss.detach(), torch.rand(1)


def _everything(description: Architecture) -> CheckpointPlan:
    """The plan of the smallest peak, whatever it recomputes."""
    plan = make_plan(description, 4, most=1.0)
    assert plan.segments
    return plan


@pytest.mark.medium
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_planned_step_has_the_bits_of_the_plain_one(name: str, dtype: torch.dtype) -> None:
    plain = create_model(NETWORKS[name]).train()
    planned = deepcopy(plain)
    ends = [_step(plain, CheckpointPlan(), dtype), _step(planned, _everything(NETWORKS[name]), dtype)]
    assert torch.equal(ends[0][0], ends[1][0])
    assert torch.equal(ends[0][1], ends[1][1])  # the random state goes on as if nothing had been drawn twice
    for (where, mine), other in zip(planned.named_parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        assert torch.equal(mine.grad, other.grad), where
    state = plain.state_dict()
    assert list(state) == list(planned.state_dict())
    for where, buffer in planned.named_buffers():
        assert torch.equal(buffer, state.get(where, dict(plain.named_buffers())[where])), where


@pytest.mark.medium
def test_norms_count_a_batch_once() -> None:
    net = create_model(NETWORKS["pre"]).train()
    _step(net, _everything(NETWORKS["pre"]), torch.float32)
    counts = {int(module.num_batches_tracked) for module in net.modules() if isinstance(module, nn.BatchNorm2d)}
    assert counts == {1}


def test_layers_are_really_run_twice_and_only_those_of_the_plan() -> None:
    net = create_model(NETWORKS["original"]).train()
    plan = CheckpointPlan((("stage1.unit1", "stage1.unit2"), ("stage3.unit1", "stage3.unit2", "stage3.unit3")))
    seen: dict[str, int] = {}
    for name, module in net.named_modules():
        module.register_forward_hook(lambda *_, name=name: seen.update({name: seen.get(name, 0) + 1}))
    _step(net, plan, torch.float32)
    again = {name for name, count in seen.items() if count == 2}
    assert {"stage1.unit1.branch.conv1", "stage1.unit2.branch.conv1", "stage3.unit2.act"} <= again
    assert not [name for name in again if not name.startswith(("stage1.unit1", "stage1.unit2", "stage3"))]
    assert "stage3.unit3.act" not in seen or seen["stage3.unit3.branch.norm1"] == 2


@pytest.mark.medium
def test_evaluation_and_inference_are_plain_and_the_network_is_restored_after_an_error() -> None:
    net = create_model(NETWORKS["dense"])
    x = torch.randn(2, 3, 8, 8)
    before = dict(net.__dict__)
    expected = net.eval()(x)
    with apply(net, _everything(NETWORKS["dense"])):
        assert torch.equal(net(x), expected)
        net.train()
        with torch.inference_mode():
            assert net(x).shape == (2, 10)
    with pytest.raises(RuntimeError, match="channels"), apply(net, _everything(NETWORKS["dense"])):
        net(x[:, :1])
    assert net.__dict__.keys() == before.keys()
    assert "forward" not in net.__dict__


@pytest.mark.medium
def test_parts_that_are_frozen_stay_frozen() -> None:
    description = NETWORKS["pre"]
    plain = create_model(description).train()
    for part in (plain.stem, plain.stage1):
        part.eval().requires_grad_(False)
    planned = deepcopy(plain)
    _step(plain, CheckpointPlan(), torch.float32)
    _step(planned, _everything(description), torch.float32)
    for mine, other in zip(planned.parameters(), plain.parameters(), strict=True):
        assert (mine.grad is None) == (other.grad is None)
        assert mine.grad is None or torch.equal(mine.grad, other.grad)
    assert all(torch.equal(a, b) for a, b in zip(planned.buffers(), plain.buffers(), strict=True))


class _Fixed:
    waited_seconds = 0.0

    def batches(self, start: int, stop: int):  # type: ignore[no-untyped-def]
        for step in range(start, stop):
            images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(step))
            yield Batch(images, torch.arange(8) % 10, torch.arange(8))


@pytest.mark.medium
def test_the_training_loop_ends_with_the_same_weights() -> None:
    config = TrainConfig(
        iterations=3, batch_size=8, accumulate=2, schedule=ScheduleConfig(kind="constant", lr=0.1), ema_decay=0.9
    )
    ends = []
    for plan in (CheckpointPlan(), _everything(_dense(dropout=0.2))):
        net = create_model(_dense(dropout=0.2))
        state = State(net, SgdConfig(), averaged=True)
        float32 = Precision(torch.device("cpu"), torch.float32, channels_last=True)
        with apply(net, plan):
            list(
                train(
                    state,
                    config,
                    _Fixed(),
                    cross_entropy(),
                    None,
                    TrainingContext(num_images=100, precision=float32, seed=0),
                )
            )
        assert state.average is not None
        ends.append({**net.state_dict(), **{f"average {n}": t for n, t in state.average.state_dict().items()}})
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


@pytest.mark.medium
@given(st.lists(st.integers(0, 1), min_size=30, max_size=30), st.integers(2, 6))
@settings(max_examples=15, deadline=None)
def test_however_the_chain_is_cut_the_step_is_the_same(coins: list[int], longest: int) -> None:
    description = NETWORKS["dense, dropout"]
    runs, run = [], []
    for link, coin in zip(chain(description), coins * 2, strict=False):
        if run and (link.opens or run[-1].closes or coin or len(run) == longest):
            runs.append(run)
            run = []
        run.append(link)
    plan = CheckpointPlan(tuple(tuple(link.name for link in run) for run in runs))
    plain = create_model(description).train()
    planned = deepcopy(plain)
    assert torch.equal(_step(plain, CheckpointPlan(), torch.float32)[0], _step(planned, plan, torch.float32)[0])
    for mine, other in zip(planned.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)  # type: ignore[arg-type]


def test_a_plan_of_another_network_is_refused() -> None:
    net = create_model(NETWORKS["original"])
    with (
        pytest.raises(ValueError, match=r"no layer 'stage9.unit1' begins a segment; plan for this network"),
        apply(net, CheckpointPlan((("stage9.unit1",),))),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"stage1.unit1 … stage1.unit3 is no run of its layers"),
        apply(net, CheckpointPlan((("stage1.unit1", "stage1.unit3"),))),
    ):
        pass


@pytest.mark.medium
def test_what_fits_is_not_recomputed_and_what_does_not_is() -> None:
    description = architecture("preresnet110_cifar")
    plain = step_memory(description, 128).total
    assert require_fits(description, 128, 2 * plain, "auto").segments == ()
    assert require_fits(description, 128, 2 * plain, "keep").segments == ()
    assert require_fits(description, 128, 2 * plain, "save").segments
    saving = require_fits(description, 128, plain // 2, "auto")
    assert saving.segments
    assert saving.peak_bytes < plain / 4
    # under bfloat16 less is needed, under an average of the weights more
    assert require_fits(description, 128, 2 * plain, "auto", value_bytes=2).plain_bytes < 0.6 * plain
    assert require_fits(description, 128, 2 * plain, "auto", averaged=True).plain_bytes > plain


@pytest.mark.slow
def test_what_cannot_fit_is_refused_with_the_estimate_and_what_would_fit() -> None:
    description = architecture("preresnet110_cifar")
    plain = step_memory(description, 128).total
    with pytest.raises(
        InputError,
        match=r"preresnet110_cifar: 128 images at a time take about 1.0 GiB with --memory keep, "
        r"521 MiB are free; use --memory save or --batch-size \d+$",
    ) as refusal:
        require_fits(description, 128, plain // 2, "keep")
    batch = int(str(refusal.value).split()[-1])
    assert require_fits(description, batch, plain // 2, "keep").segments == ()
    with pytest.raises(InputError, match="use --memory save or"):
        require_fits(description, batch + 1, plain // 2, "keep")
    with pytest.raises(InputError, match=r"with --memory auto, 78 MiB are free; use --batch-size \d+$") as refusal:
        require_fits(description, 128, 78 << 20, "auto")
    batch = int(str(refusal.value).split()[-1])
    assert 16 < batch < 128
    require_fits(description, batch, 78 << 20, "auto")
    with pytest.raises(InputError, match="choose a smaller network, or a machine with more memory"):
        require_fits(description, 128, 1 << 20, "save")


def test_what_is_free_lies_within_the_machines_memory() -> None:
    assert 0 < available_bytes(torch.device("cpu")) < 1 << 50


def test_the_limits_of_control_groups_are_seen_and_those_around_them(tmp_path: Path) -> None:
    inner = tmp_path / "fs" / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("700\n")
    (inner.parent / "memory.max").write_text("1000\n")
    (inner.parent / "memory.current").write_text("800\n")
    (inner.parent / "memory.stat").write_text("anon 700\ninactive_file 100\n")
    membership = tmp_path / "cgroup"
    membership.write_text("1:name=systemd:/x\n0::/outer/inner\n")
    assert list(ram._limits(membership, tmp_path / "fs")) == [300]
    older = tmp_path / "fs" / "memory" / "box"
    older.mkdir(parents=True)
    (older / "memory.limit_in_bytes").write_text("500")
    (older / "memory.usage_in_bytes").write_text("100")
    membership.write_text("4:memory:/box\n0::/\n")
    assert list(ram._limits(membership, tmp_path / "fs")) == [400]
    assert list(ram._limits(tmp_path / "absent", tmp_path)) == []


def test_what_linux_says_is_available(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 10 kB\nMemAvailable:     7 kB\n")
    assert ram._free(tmp_path / "meminfo") == 7168
    assert ram._free(tmp_path / "absent") > 1 << 28
