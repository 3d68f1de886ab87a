import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_run import NAMES, TASKS

from deepres.arch.catalogue.lookup import architecture
from deepres.base.errors import InputError
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import imagenet_statistics
from deepres.export.facts import bundle_of
from deepres.export.timm_folder import read, require_known, write
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network
from deepres.predict.predictor import Predictor


def _run(folder: Path, name: str, preparation: Preparation, task: str = "classification") -> Predictor:
    folder.mkdir(exist_ok=True)
    network = create_model(name, num_classes=3, seed=0)
    facts, told = preparation.model_dump(mode="json"), TASKS[task].model_dump(mode="json")
    save_network(folder, network, NAMES, facts, task=told)
    imagenet_statistics().save(folder / "statistics.safetensors")
    return Predictor.load(folder, "cpu")


@pytest.mark.slow
def test_timm_makes_the_same_network_of_the_folder(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    predictor = _run(tmp_path / "run", "resnet18", Preparation(fit="crop", resize=72, crop=64))
    (tmp_path / "out").mkdir()
    file = write(tmp_path / "out", predictor, bundle_of(predictor, str(tmp_path / "run")))
    network = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(network(x), predictor.network(x), rtol=1e-4, atol=1e-4)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert read(file, predictor)(images).sum(1).tolist() == pytest.approx([1, 1], abs=1e-5)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["label_names"] == list(NAMES)
    assert config["license"] == "not stated"
    assert json.loads(config["deepres"]["export"]["names"]) == {"0": "ant", "1": "bee", "2": "cat"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields", "task", "told"),
    [
        (
            "resnet20_cifar",
            {"fit": "crop", "resize": 32, "crop": 32},
            "classification",
            "network of timm 'resnet20_cifar'",
        ),
        ("resnet18", {"fit": None}, "classification", "no such way to cut an image"),
        ("resnet18", {"fit": "crop", "resize": 32, "crop": 32}, "regression", "one logit a class"),
    ],
)
def test_what_timm_lacks_is_refused(tmp_path: Path, name: str, fields: dict[str, object], task: str, told: str) -> None:
    predictor = _run(tmp_path / "run", name, Preparation(**fields), task)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=told):
        require_known(predictor)


def test_a_network_that_was_edited_is_not_timms_of_that_name() -> None:
    edited = architecture("resnet34").replace(name="resnet18")
    predictor: Any = SimpleNamespace(network=SimpleNamespace(description=edited), preparation=Preparation())
    with pytest.raises(InputError, match="resnet18: edited, and timm has it as it is published alone; wanted --format"):
        require_known(predictor)
