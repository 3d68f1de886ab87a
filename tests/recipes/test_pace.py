from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from deepres.data.sources import DataConfig, open_source
from deepres.data.statistics import imagenet_statistics
from deepres.data.workers import Workers
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.recipes import catalogue, pace
from deepres.recipes.pace import settle_workers, step_rate
from deepres.recipes.run import facts_of
from deepres.recipes.setting import Setting
from deepres.train.precision import choose

CPU = torch.device("cpu")


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    source = open_source(DataConfig(source=str(tmp_path)))
    facts = facts_of(source)
    run = catalogue.recipe(None, facts, None).fitted(facts)
    return Setting(
        run.replace(data=run.data.replace(workers="auto")),
        source,
        tmp_path,
        imagenet_statistics(),
        choose("float32", CPU),
    )


def network() -> ResidualNetwork:
    made = create_model("resnet20_cifar")
    assert isinstance(made, ResidualNetwork)
    return made


def with_workers(setting: Setting, workers: int) -> Setting:
    return replace(setting, run=setting.run.replace(data=setting.run.data.replace(workers=workers)))


def test_auto_is_settled_from_both_rates_and_said(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "step_rate", lambda *_: 300.0)
    monkeypatch.setattr("deepres.data.loader.TrainLoader.rate", lambda _: 100.0)
    monkeypatch.setattr(pace, "num_cores", lambda: 8)
    found = settle_workers(setting, network())
    assert found == Workers(4, "workers: 4 (one gives 100 images/s, steps take 300, 8 cores)")
    assert replace(setting, workers=4).loader()._workers == 4


def test_a_number_given_is_kept(setting: Setting) -> None:
    given = with_workers(setting, 3)
    assert settle_workers(given, network()) is None
    assert given.loader()._workers == 3


def test_measuring_changes_neither_network_nor_generators_nor_batches(setting: Setting) -> None:
    made = network()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    random = torch.get_rng_state()
    loader = with_workers(setting, 0).loader()
    first = next(loader.batches(0, 1)).images
    assert step_rate(made, choose("float32", CPU), 2, seconds=0.01) > 0
    assert loader.rate() > 0
    assert torch.equal(next(loader.batches(0, 1)).images, first)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert all(parameter.grad is None for parameter in made.parameters())
