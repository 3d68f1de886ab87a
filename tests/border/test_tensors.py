"""Weights whose values no trained network has: refused in one line, by every door alike; other precisions converted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network
from deepres.nn.weights.formats import Preprocessing

VAR, CONV, FC = "stage1.unit1.branch.norm1.running_var", "stem.conv.weight", "head.fc.weight"


BARE = ["--model", "resnet20_cifar", "--variant", "resnet20_cifar", "--preprocessing", "0.5"]


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


@pytest.mark.medium
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


@pytest.mark.medium
def test_several_broken_tensors_are_counted(tmp_path: Path) -> None:
    given = {name: t.int() if t.is_floating_point() else t for name, t in tensors().items()}
    save_file(given, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r" is int32, .*; \d\d more tensors are like it"):
        create_model("resnet20_cifar", weights=tmp_path / "w.safetensors", variant="resnet20_cifar")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.medium
def test_other_precisions_are_converted_and_right(dtype: torch.dtype, tmp_path: Path) -> None:
    given = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors().items()}
    save_file(given, tmp_path / "w.safetensors")
    loaded = create_model("resnet20_cifar", weights=tmp_path / "w.safetensors", variant="resnet20_cifar").state_dict()
    assert {t.dtype for t in loaded.values()} == {torch.float32, torch.int64}
    for name, tensor in given.items():
        assert torch.equal(loaded[name], tensor.to(loaded[name].dtype)), name


@pytest.mark.medium
def test_finite_weights_whose_answers_are_not_are_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tensors()
    given[CONV].fill_(1e30)
    given[FC].fill_(1e30)
    save_file(given, tmp_path / "w.safetensors")
    draw = np.random.default_rng(0)
    x = draw.integers(0, 255, (10, 32, 32, 3), dtype=np.uint8)
    Image.fromarray(x[0]).save(tmp_path / "a.png")
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(10), classes=np.array(list("abcdefghij")))
    for verb, images in {"predict": "a.png", "eval": "set.npz"}.items():
        words = [verb, str(tmp_path / "w.safetensors"), str(tmp_path / images), *BARE, "--device", "cpu"]
        assert run(words) == 1
        said = capsys.readouterr()
        assert "not finite" in said.err
        assert "%" not in said.out


@pytest.mark.medium
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


def one_logit() -> ResidualNetwork:
    """A network that is not too sure of noise."""
    net = create_model("resnet20_cifar", num_classes=1, seed=4).eval()
    net.get_parameter("head.fc.weight").data.mul_(0.1)
    return net


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of one logit, bare and in a folder that names one class or two; a set of two classes."""
    folder = tmp_path_factory.mktemp("single")
    net = one_logit()
    save_file(net.state_dict(), folder / "bare.safetensors")
    prepared = Preprocessing(crop=32, resize=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    for name, classes in {"one": ("cat",), "two": ("dog", "cat"), "three": ("a", "b", "c")}.items():
        (folder / name).mkdir()
        save_network(folder / name, net, classes, {}, prepared)
    (folder / "none").mkdir()
    save_network(folder / "none", create_model("resnet20_cifar", num_classes=0, seed=4), (), {}, prepared)
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 255, (12, 32, 32, 3), dtype=np.uint8), np.arange(12) % 2
    np.savez(folder / "set.npz", x=x, y=y, classes=np.array(["dog", "cat"]))
    Image.fromarray(x[0]).save(folder / "a.png")
    return folder


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "classes"), [("bare.safetensors", ("0", "1")), ("one", ("not cat", "cat")), ("two", ("dog", "cat"))]
)
def test_one_logit_is_of_two_classes(
    name: str, classes: tuple[str, str], single: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(single / name), str(single / "a.png"), "--json", *(BARE if "bare" in name else [])]
    assert run(words) == 0
    said = capsys.readouterr()
    assert f"one logit: its sigmoid is the probability of '{classes[1]}'" in said.err
    guesses = {guess["name"]: guess["probability"] for guess in json.loads(said.out)["guesses"]}
    net = one_logit()
    pixels = torch.from_numpy(np.array(Image.open(single / "a.png"))).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        sure = float(net((pixels - 0.5) / 0.5).sigmoid())
    assert 0.001 < sure < 0.999
    assert guesses == pytest.approx({classes[0]: 1 - sure, classes[1]: sure}, abs=1e-5)


@pytest.mark.slow
def test_one_logit_is_measured_joined_and_taken_apart(
    single: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from deepres.predict.predictor import Predictor

    data = np.load(single / "set.npz")
    net = one_logit()
    pixels = torch.from_numpy(data["x"]).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        wrong = int(((net((pixels - 0.5) / 0.5)[:, 0] > 0).long() != torch.from_numpy(data["y"])).sum())
    told = f"{wrong} of 12 images wrong"
    assert run(["eval", str(single / "two"), str(single / "set.npz"), "--device", "cpu"]) == 0
    assert told in capsys.readouterr().out
    assert run(["eval", str(single / "bare.safetensors"), str(single / "set.npz"), *BARE, "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert told in said
    assert "one logit: its sigmoid is the probability of '1'" in said
    shutil.copytree(single / "two", tmp_path / "twin")  # an ensemble's members have to be different files
    weights = tmp_path / "twin" / "model.safetensors"
    save_file(load_file(weights), weights, {"is": "twin"})
    both = ["eval", str(single / "two"), str(tmp_path / "twin"), str(single / "set.npz"), "--device", "cpu"]
    assert run(both) == 0
    assert told in capsys.readouterr().out
    few = [
        "analyze",
        "lesion",
        str(single / "two"),
        str(single / "set.npz"),
        "--images",
        "4",
        "--output",
        str(tmp_path),
    ]
    assert run([*few, "--device", "cpu"]) == 0
    predictor = Predictor.load(single / "two", torch.device("cpu"))
    dog, cat = (predictor.maps(pixels[:1], torch.tensor([[label]])) for label in (0, 1))
    torch.testing.assert_close(dog, -cat)


@pytest.mark.medium
def test_names_that_fit_no_logit_and_no_classifier_are_refused(
    single: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(single / "three"), str(single / "a.png")]) == 2
    assert "2 logits for 3 class names" in capsys.readouterr().err
    assert run(["predict", str(single / "none"), str(single / "a.png")]) == 2
    said = capsys.readouterr().err
    assert "no classifier in it, so no answers" in said
