"""The memory reading of the description against what a training step really keeps, and takes at its largest moment."""

import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.lookup import entry
from deepres.arch.readings.checkpointing import make_plan
from deepres.arch.readings.memory import StepMemory, step_memory
from deepres.arch.readings.segments import CheckpointPlan
from deepres.nn.create import create_model
from deepres.nn.memory import apply


class Living(TorchDispatchMode):
    """Bytes of all tensors alive that some operation made, now and at most; what the network owns is left out."""

    def __init__(self, own: list[Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self.own = {tensor.untyped_storage()._cdata for tensor in own}
        self.seen: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.own or key in self.seen:
            return

        def gone(_: object) -> None:
            self.now -= size
            del self.seen[key]

        self.seen[key] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.count(leaf)
        return out


def _measured(description: Architecture, batch_size: int, value_bytes: int, plan: CheckpointPlan) -> tuple[int, int]:
    """Bytes kept at the end of the forward pass, and at the largest moment of forward and backward pass."""
    net = create_model(description).train().to(memory_format=torch.channels_last)
    x = torch.randn(batch_size, *description.input).contiguous(memory_format=torch.channels_last)
    torch.manual_seed(0)
    with apply(net, plan), Living([*net.parameters(), *net.buffers()]) as living:
        living.count(x)
        with torch.autocast("cpu", torch.bfloat16, enabled=value_bytes == 2):
            loss = F.cross_entropy(net(x).float(), torch.zeros(batch_size, dtype=torch.int64))
        saved = living.now
        loss.backward()
    return saved, living.most


# the same units, fewer of them or narrower ones
SHORT: dict[str, dict[str, tuple[int, ...]]] = {
    "preresnet110_cifar": {"depths": (4, 4, 4)},
    "resnet110_stochastic_cifar": {"depths": (6, 6, 6)},
    "densenet40_k12_cifar": {"depths": (6, 6, 6)},
    "fractalnet20_drop_cifar": {"widths": (32, 64, 128, 128, 128)},
    "rir18_wide_cifar": {"widths": (32, 64, 128)},
    "resnet34_c": {"depths": (2, 2, 2, 2)},
    "resnet50_v1": {"depths": (2, 2, 2, 2)},
    "resnet50d": {"depths": (2, 2, 2, 2)},
}


def _short(name: str) -> Architecture:
    config = entry(name).config
    side = min(64, config.input[1])
    return config.replace(num_classes=10, input=(3, side, side), **SHORT.get(name, {})).architecture()


def _peak(predicted: StepMemory) -> int:
    return predicted.saved + predicted.transient


@pytest.mark.long
@pytest.mark.parametrize("value_bytes", [4, 2])
@pytest.mark.parametrize(
    "name",
    [
        "resnet20_cifar",
        "plain20_cifar",
        "preresnet110_cifar",
        "resnet110_stochastic_cifar",
        "densenet40_k12_cifar",
        "fractalnet20_drop_cifar",
        "highway19_cifar",
        "rir18_wide_cifar",
        "resnet34_c",
        "resnet50_v1",
        "seresnet18",
        "resnet18_blur4",
        "resnet50d",
        "res2net50_26w_4s",
        "res2net50_26w_8s",
        "resnest26d",
        "skresnet18",
    ],
)
def test_what_is_kept_and_the_peak_are_as_predicted(name: str, value_bytes: int) -> None:
    description = _short(name)
    saved, peak = _measured(description, 4, value_bytes, CheckpointPlan())
    predicted = step_memory(description, 4, value_bytes)
    assert predicted.saved == pytest.approx(saved, rel=0.02)
    assert _peak(predicted) == pytest.approx(peak, rel=0.05)


@pytest.mark.medium
@pytest.mark.parametrize(
    "style",
    [
        {"norm": "group", "norm_groups": 4},
        {"norm": "frozen"},
        {"activation": "silu"},
        {"activation": "elu"},
        {"activation": "gelu"},
        {"activation": "leaky_relu"},
        {"dropout": 0.3},
        {"se_ratio": 0.25},
        {"eca_kernel": 3},
        {"radix": 1},
        {"radix": 2},
        {"kernels": "whole"},
        {"kernels": "halves"},
        {"order": "bn_after_add"},
        {"mixing": {"shortcut_scale": 0.5, "branch_scale": 0.5}},
        {"mixing": {"gate": "exclusive"}},
        {"mixing": {"gate": "shortcut"}},
        {"mixing": {"shortcut_dropout": 0.5}},
    ],
    ids=str,
)
def test_every_style_is_as_predicted(style: dict[str, Any]) -> None:
    config = entry("resnet20_cifar").config
    description = config.model_validate({**config.model_dump(), "style": style, "depths": (2, 2, 2)}).architecture()
    saved, peak = _measured(description, 8, 4, CheckpointPlan())
    predicted = step_memory(description, 8)
    assert predicted.saved == pytest.approx(saved, rel=0.02)
    assert _peak(predicted) == pytest.approx(peak, rel=0.05)


@pytest.mark.long
@pytest.mark.parametrize("value_bytes", [4, 2])
@pytest.mark.parametrize(
    "name", ["preresnet110_cifar", "densenet40_k12_cifar", "resnet110_stochastic_cifar", "resnet50d", "highway19_cifar"]
)
def test_under_a_plan_they_are_as_predicted_too(name: str, value_bytes: int) -> None:
    description = _short(name)
    plan = make_plan(description, 8, value_bytes=value_bytes)
    saved, peak = _measured(description, 8, value_bytes, plan)
    predicted = step_memory(description, 8, value_bytes, plan)
    assert predicted.saved == pytest.approx(saved, rel=0.02)
    assert _peak(predicted) == pytest.approx(peak, rel=0.05)
    assert predicted.total == plan.peak_bytes
