"""Weights whose values no trained network has: refused in one line, by every door alike; other precisions converted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.nn.create import create_model

VAR, CONV, FC = "stage1.unit1.branch.norm1.running_var", "stem.conv.weight", "head.fc.weight"


def tensors() -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in create_model("resnet20_cifar", seed=1).state_dict().items()}


def with_value(name: str, value: float) -> Callable[[dict[str, Tensor]], None]:
    def change(given: dict[str, Tensor]) -> None:
        given[name].view(-1)[0] = value

    return change


def as_type(dtype: torch.dtype, factor: float = 1.0, name: str = CONV) -> Callable[[dict[str, Tensor]], None]:
    def change(given: dict[str, Tensor]) -> None:
        given[name] = (given[name].to(torch.float64) * factor).to(dtype)

    return change


def as_shape(name: str, *shape: int) -> Callable[[dict[str, Tensor]], None]:
    def change(given: dict[str, Tensor]) -> None:
        given[name] = torch.zeros(shape)

    return change


BROKEN: dict[str, tuple[Callable[[dict[str, Tensor]], None], str]] = {
    "integers": (as_type(torch.int8, 100), "stem.conv.weight is int8, wanted real numbers"),
    "booleans": (as_type(torch.bool), "stem.conv.weight is bool, wanted real numbers"),
    "int64 in a norm": (as_type(torch.int64, name=VAR), "norm1.running_var is int64, wanted real numbers"),
    "NaN": (with_value(CONV, float("nan")), "stem.conv.weight has 1 of 432 values that are not finite"),
    "infinity": (with_value(FC, float("-inf")), "head.fc.weight has 1 of 640 values that are not finite"),
    "NaN in a buffer": (with_value(VAR, float("nan")), "running_var has 1 of 16 values that are not finite"),
    "larger than float32": (as_type(torch.float64, 1e300), "stem.conv.weight has 432 of 432 values that are not"),
    "negative variance": (with_value(VAR, -0.5), r"norm1.running_var has a negative variance \(-0.5\)"),
    "no channels": (as_shape(CONV, 0, 3, 3, 3), "do not fit the network"),
    "no classes": (as_shape(FC, 0, 64), "weights know 0 classes"),
    "a number for a vector": (as_shape("head.fc.bias"), "do not fit the network"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_broken_values_are_refused_in_one_line(name: str, suffix: str, tmp_path: Path) -> None:
    change, said = BROKEN[name]
    given = tensors()
    change(given)
    path = tmp_path / f"weights{suffix}"
    save_file(given, path) if suffix == ".safetensors" else torch.save(given, path)
    with pytest.raises(InputError, match=said) as caught:
        create_model("resnet20_cifar", weights=path, variant="resnet20_cifar")
    assert "\n" not in caught.value.message
    assert "weights" + suffix in caught.value.message


def test_several_broken_tensors_are_counted(tmp_path: Path) -> None:
    given = {name: t.int() if t.is_floating_point() else t for name, t in tensors().items()}
    save_file(given, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r" is int32, .*; \d\d more tensors are like it"):
        create_model("resnet20_cifar", weights=tmp_path / "w.safetensors", variant="resnet20_cifar")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted_and_right(dtype: torch.dtype, tmp_path: Path) -> None:
    given = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors().items()}
    save_file(given, tmp_path / "w.safetensors")
    loaded = create_model("resnet20_cifar", weights=tmp_path / "w.safetensors", variant="resnet20_cifar").state_dict()
    assert {t.dtype for t in loaded.values()} == {torch.float32, torch.int64}
    for name, tensor in given.items():
        assert torch.equal(loaded[name], tensor.to(loaded[name].dtype)), name


@pytest.mark.parametrize("name", ["NaN", "negative variance", "integers", "no classes"])
def test_every_verb_refuses_them_alike(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change = BROKEN[name][0]
    given = tensors()
    change(given)
    path, image = tmp_path / "w.safetensors", tmp_path / "a.png"
    save_file(given, path)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(image)
    x, y = np.zeros((4, 32, 32, 3), np.uint8), np.arange(4) % 10
    np.savez(tmp_path / "set.npz", x=x, y=y, classes=np.array(list("abcdefghij")))
    told = [
        "--model",
        "resnet20_cifar",
        "--variant",
        "resnet20_cifar",
        "--mean",
        "0.5,0.5,0.5",
        "--std",
        "0.5,0.5,0.5",
        "--device",
        "cpu",
    ]
    answers = []
    for verb in (["predict", str(path), str(image)], ["eval", str(path), str(tmp_path / "set.npz")]):
        assert run([*verb, *told]) == 2
        answers.append(capsys.readouterr().err)
    assert answers[0] == answers[1]
    assert "Traceback" not in answers[0]
