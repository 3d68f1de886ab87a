"""Detectors on the pretended device: answers, losses and gradients; the CPU's bits throughout."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.data.boxes import Boxes, BoxTargets
from deepres.tasks.detection.losses import loss

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks" / "detection"))
import tiny

Same = Callable[[Callable[[torch.device], Any]], Any]
AS_CUDA = pytest.mark.parametrize("device", [True], indirect=True, ids=["as CUDA"])


@AS_CUDA
@pytest.mark.parametrize("neck", ["fpn", "c4"])
@pytest.mark.medium
def test_answers_are_the_cpus(neck: str, same: Same) -> None:
    def answered(device: torch.device) -> dict[str, Tensor]:
        net = tiny.network(neck).to(device).eval()
        with torch.no_grad():
            found = net(tiny.pictures().to(device), torch.tensor([[64, 50], [33, 64]]))
        assert all(each.masks is None for each in found)  # it draws none
        fields = [name for name in found[0]._fields if name != "masks"]
        return {f"{place}.{name}": getattr(each, name) for place, each in enumerate(found) for name in fields}

    same(answered)


@pytest.mark.medium
@AS_CUDA
@pytest.mark.parametrize("neck", ["fpn", "c4"])
def test_losses_and_gradients_are_the_cpus(neck: str, same: Same) -> None:
    crowd = Boxes.of([[8, 8, 30, 40], [20, 10, 60, 50], [0, 0, 20, 20]], [0, 2, 1], [False, False, True])

    def learnt(device: torch.device) -> dict[str, Tensor]:
        net = tiny.network(neck).to(device).train()
        given = tiny.batch(tiny.pictures(), [crowd, tiny.NONE])
        given = replace(given, images=given.images.to(device), targets=given.targets.to(device))
        value, counts = loss(net, given)
        value.backward()  # type: ignore[no-untyped-call]
        gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        return {"loss": value.detach(), **counts, **gradients}

    same(learnt)


@pytest.mark.parametrize("device", [False], indirect=True, ids=["as Apple"])
def test_a_device_without_float64_is_refused(device: torch.device) -> None:
    net, boxes = tiny.network("fpn").to(device), Boxes.of([[8, 8, 30, 40]], [0])
    for work in (
        lambda: net(tiny.pictures().to(device)),
        lambda: boxes.to(device),
        lambda: BoxTargets.of([boxes]).to(device),
    ):
        with pytest.raises(InputError, match=r"--device pretend:0: boxes are moved in float64, which it lacks; leave"):
            work()
