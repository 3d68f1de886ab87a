"""Training on effective paths only: exactly so many units in each batch, also across an interruption."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from deepres.arch.architecture import unit_names
from deepres.arch.catalogue.lookup import entry
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.readings.cost import cost
from deepres.base.errors import InputError
from deepres.data.facts import DatasetFacts, facts_of
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.hooks import outputs
from deepres.nn.layers import CountDropPath, draw_branches
from deepres.recipes.papers import effective_paths
from deepres.recipes.run import Run
from deepres.runs.session import Session
from deepres.runs.train import Event, resume, start
from deepres.train.loop import Step

FACTS = DatasetFacts("somewhere", num_classes=10, num_images=1000, channels=3, side=32)
CPU = torch.device("cpu")


def _config(active: int, model: str = "preresnet110_cifar") -> ResNetConfig:
    config = entry(model).config
    assert isinstance(config, ResNetConfig)
    return config.replace(active_units=active, input=(3, 8, 8), stem_width=4, widths=(4, 8, 8))


def _network(active: int) -> ResidualNetwork:
    return create_model(_config(active).architecture()).train()


def _branches(network: ResidualNetwork) -> list[str]:
    return [f"{name}.branch" for name in unit_names(network.description)]


def test_the_recipe_trains_23_of_54_units() -> None:
    run = effective_paths(FACTS)
    assert run.model.name == "preresnet110_cifar"
    assert isinstance(run.model, ResNetConfig)
    assert (sum(run.model.depths), run.model.active_units, run.train.accumulate) == (54, 23, 1)
    whole = entry("preresnet110_cifar").config.architecture()
    assert cost(run.model.architecture()).parameters == cost(whole).parameters
    assert effective_paths(FACTS, "resnet20_cifar").model.active_units == 4  # type: ignore[union-attr]


@pytest.mark.parametrize("model", ["plain20_cifar", "densenet40_k12_cifar"])
def test_a_network_without_units_to_draw_is_refused(model: str) -> None:
    with pytest.raises(InputError, match=f"recipe effective_paths: {model} has no residual units to draw"):
        effective_paths(FACTS, model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"active_units": 55}, "active_units 55 of 54 units; wanted 1 to all of them"),
        ({"active_units": 5, "drop_path": 0.5}, "active_units 5 with drop_path 0.5; give one of the two"),
        ({"active_units": 5, "shortcut": "none"}, "active_units 5 with shortcut 'none'"),
    ],
)
def test_units_that_cannot_be_drawn_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        entry("preresnet110_cifar").config.replace(**changes)


@pytest.mark.slow
def test_each_batch_has_exactly_23_branches_and_gradients_for_those_alone() -> None:
    network = _network(23)
    seen = set()
    torch.manual_seed(0)
    for _ in range(6):
        network.zero_grad()
        with outputs(network, _branches(network)) as gave:
            network(torch.randn(2, 3, 8, 8)).sum().backward()
        active = frozenset(name for name, y in gave.items() if bool(y.abs().sum() > 0))
        assert len(active) == 23
        for name in gave:
            weights = [
                p.grad for n, p in network.named_parameters() if n.startswith(name) and n.endswith("conv1.weight")
            ]
            assert all(grad is not None and bool(grad.abs().sum() > 0) == (name in active) for grad in weights)
        seen.add(active)
    assert len(seen) == 6


@pytest.mark.medium
def test_every_unit_comes_up_equally_often() -> None:
    paths = _network(23).counted
    torch.manual_seed(1)
    often = torch.zeros(54)
    for _ in range(2000):
        draw_branches(paths, torch.zeros(1))
        often += torch.stack([path.kept for path in paths if path.kept is not None])
    assert torch.equal(often.sum(), torch.tensor(2000.0 * 23))
    assert ((often / 2000 - 23 / 54).abs() < 5 * (23 * 31 / 54**2 / 2000) ** 0.5).all()


@pytest.mark.medium
def test_in_evaluation_each_branch_counts_23_54ths() -> None:
    network = _network(23).eval()
    whole = create_model(_config(54).architecture()).eval()
    whole.load_state_dict(network.state_dict())
    x = torch.randn(2, 3, 8, 8)
    (first, other) = (_first_branch(net, x) for net in (network, whole))
    torch.testing.assert_close(first, other * 23 / 54)
    assert all(isinstance(path, CountDropPath) for path in network.counted)


def _first_branch(network: nn.Module, x: Tensor) -> Tensor:
    with outputs(network, ["stage1.unit1.branch"]) as gave, torch.no_grad():
        network(x)
    return gave["stage1.unit1.branch"]


class _StopError(Exception):
    pass


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    facts = facts_of(open_source(DataConfig(source="digits")))
    run = effective_paths(facts, "resnet20_cifar")
    run = run.replace(
        data=run.data.replace(source="digits"),
        train=run.train.replace(iterations=6, batch_size=8, save_every_seconds=1e-6, compile="off"),
    )

    def stop(event: Event) -> None:
        if isinstance(event, Step) and event.step == 3:
            raise _StopError

    through = _weights(run, tmp_path / "through")
    with pytest.raises(_StopError):
        start(run, Session(tmp_path / "stopped", CPU, stop))
    resume(Session(tmp_path / "stopped", CPU))
    assert (tmp_path / "stopped" / "model.safetensors").read_bytes() == through


def _weights(run: Run, folder: Path) -> bytes:
    start(run, Session(folder, CPU))
    return (folder / "model.safetensors").read_bytes()
