import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.cli.main import run
from deepres.runs.bottleneck import Rates, bottleneck_of


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(12):
        place = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place)
    return tmp_path / "photos"


@pytest.mark.medium
def test_a_named_network_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "resnet20_cifar", "--seconds", "0.1", "-b", "4", "--device", "cpu", "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["model"] == "resnet20_cifar"
    assert found["rates"]["batch_size"] == 4
    assert min(found["rates"][name] for name in ("step", "answer_one", "answer_batch")) > 0
    assert found["rates"]["load"] is None
    assert found["verdict"] == bottleneck_of(Rates(**found["rates"])).model_dump()


@pytest.mark.medium
def test_with_image_files_the_disk_and_the_reading_are_measured(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    command = ["bench", "resnet20_cifar", "--data", str(photos), "--seconds", "0.1", "-b", "4", "--device", "cpu"]
    assert run(command) == 0
    said = capsys.readouterr()
    assert "training step" in said.out
    assert "files from disk" in said.out
    assert "one process; this run has" in said.out
    assert "limits training here" in said.out.splitlines()[-1]
    assert torch.get_num_threads() == threads


@pytest.mark.medium
def test_arrays_lie_on_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "resnet20_cifar", "--data", "digits", "--seconds", "0.1", "-b", "4", "--device", "cpu"]) == 0
    assert "images lie on the device" in capsys.readouterr().out


def test_what_is_no_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "resnet5"]) == 2
    assert "model 'resnet5': unknown" in capsys.readouterr().err
    assert run(["bench", str(tmp_path)]) == 2
    assert "no run.json in this folder; name a run folder, or a network" in capsys.readouterr().err
