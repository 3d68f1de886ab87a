"""Weights whose names no library has: told by structure; networks of others that have a name here, or are an edit."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from deepres.cli.main import run
from deepres.nn.create import create_model


def _refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


@pytest.fixture
def images(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 255, (10, 32, 32, 3), dtype=np.uint8), np.arange(10)
    np.savez(tmp_path / "images.npz", x=x, y=y, classes=np.array(list("abcdefghij")))
    return tmp_path / "images.npz"


@pytest.mark.parametrize(
    "flags", [("--model", "resnet20_cifar_b"), ("--model", "resnet20_cifar", "--set", "model.shortcut=B")]
)
def test_option_b_has_a_name_and_every_verb_can_describe_it(
    tmp_path: Path, images: Path, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    net = create_model("resnet20_cifar_b")
    names = {"shortcut.conv": "downsample.0", "shortcut.norm": "downsample.1", "head.fc": "fc", "stem.norm": "bn1"}
    theirs = {}
    for name, tensor in net.state_dict().items():
        for ours, other in {**names, "stem.conv": "conv1", "branch.conv": "conv", "branch.norm": "bn"}.items():
            name = name.replace(ours, other)
        name = re.sub(r"unit(\d+)", lambda found: str(int(found[1]) - 1), name.replace("stage", "layer"))
        theirs[f"module.{name}"] = tensor
    torch.save({"state_dict": theirs}, tmp_path / "theirs.pth")
    half = ("--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--device", "cpu")
    assert run(["eval", str(tmp_path / "theirs.pth"), str(images), *flags, *half]) == 0
    lesion = ("--images", "2", "--output", str(tmp_path / "out"))
    assert run(["analyze", "lesion", str(tmp_path / "theirs.pth"), str(images), *flags, *half, *lesion]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--set", "model.shortcut=B"), "--set model.shortcut=B: of which network? name it with --model"),
        (("--model", "resnet20_cifar", "--set", "data.x=1"), "wanted model.NAME=VALUE"),
        (("--model", "resnet20_cifar", "--set", "model.shortcat=B"), "did you mean shortcut"),
        (("--model", "resnet20_cifar", "--set", "model.shortcut=Z"), "shortcut"),
    ],
)
def test_what_describes_no_network_is_refused(
    tmp_path: Path, images: Path, flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "a.pth")
    assert said in _refused(capsys, "eval", tmp_path / "a.pth", images, *flags)
