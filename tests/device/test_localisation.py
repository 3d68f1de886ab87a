"""Localisers on the pretended device: what is learnt and what is guessed; the CPU's bits throughout."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deepres.nn.weights.files import save_network
from deepres.tasks.localisation.task import Localising
from deepres.tasks.task import Learning

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks" / "localisation"))
import small_localiser as small

Same = Callable[[Callable[[torch.device], Any]], Any]


@pytest.mark.medium
@pytest.mark.parametrize("device", [True], indirect=True, ids=["as CUDA"])  # boxes are refused on the other
@pytest.mark.parametrize("of_regions", [False, True])
def test_losses_gradients_and_guesses_are_the_cpus(of_regions: bool, same: Same, tmp_path: Path) -> None:
    task, fit = small.TASK, "crop"
    if of_regions:
        save_network(tmp_path, small.network(), small.NAMES, {}, task=task.model_dump(mode="json"))
        task = Localising(proposer=str(tmp_path), proposals=4, side=small.SIDE, anchors=task.anchors)
        fit = "sides"

    def learnt(device: torch.device) -> dict[str, Tensor]:
        net = small.network(0 if of_regions else 6).to(device)
        given, _ = small.batch(fit=fit)
        given = replace(given, images=given.images.to(device), targets=given.targets.to(device))
        value, counts = task.loss(Learning())(net, given)
        value.backward()  # type: ignore[no-untyped-call]
        gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        return {"loss": value.detach(), **counts, **gradients}

    def guessed(device: torch.device) -> dict[str, list[Any]]:
        given, _ = small.batch(fit=fit)
        given = replace(given, images=given.images.to(device))
        found = task.outputs(small.network(0 if of_regions else 6).to(device), given)
        return {name: column.tolist() for name, column in found.columns().items()}

    same(learnt)
    same(guessed)
