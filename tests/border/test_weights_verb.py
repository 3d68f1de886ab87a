"""`deepres weights inspect` and `convert`: what is said of a file, and a folder that every verb takes."""

import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from deepres.cli.main import run
from deepres.data.transforms.statistics import Statistics
from deepres.nn.create import create_model
from deepres.tasks.networks import load


def _say(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) == code, capsys.readouterr().err
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.out if code == 0 else said.err


def _other_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`stage1.unit2.branch.conv1` as `net.s1_2_branch.c1`."""
    told = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        for ours, theirs in (("stage", "s"), (".unit", "_"), (".branch", ".main"), ("conv", "c"), ("norm", "n")):
            module = module.replace(ours, theirs)
        told[f"net.{module}.{leaf}"] = tensor
    return told


@pytest.mark.medium
@pytest.mark.parametrize("name", ["resnet20_cifar_b", "resnet20_cifar", "resnet8_tiny", "wrn16_4_cifar"])
@pytest.mark.parametrize("form", ["torch", "legacy", "safetensors"])
def test_a_file_of_other_names_is_told_by_its_layers(
    tmp_path: Path, name: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ("a.safetensors" if form == "safetensors" else "a.pth")
    tensors = _other_names(create_model(name, num_classes=7).state_dict())
    if form == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=form == "torch")
    found = json.loads(_say(capsys, "weights", "inspect", path, "--json"))
    wanted = ["plain20_cifar", "resnet20_cifar"] if name == "resnet20_cifar" else [name]
    forms = {"torch": "a torch checkpoint", "legacy": "a torch checkpoint as before version 1.6"}
    assert found["form"] == forms.get(form, form)
    assert (found["prefix"], found["classes"], found["channels"]) == ("net", 7, 3)
    assert found["values"] == {"not_finite": 0, "negative_variances": 0, "integers": 0}
    if found["networks"] or not (form == "safetensors" and name == "wrn16_4_cifar"):  # activated first, and sorted
        assert found["networks"] == wanted
        assert len(found["table"]) == sum(t.dim() in (2, 4) or n.endswith("running_mean") for n, t in tensors.items())
    text = _say(capsys, "weights", "inspect", path)
    assert text.startswith(f"file            {path}, {found['form']}\n")
    if found["networks"]:
        assert "next: deepres eval" in text
        assert ("say it as NAME" in text) == (len(wanted) > 1)


@pytest.mark.medium
def test_the_last_of_several_linear_layers_is_the_classifier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = {"a.weight": torch.ones(8, 3, 3, 3), "b.weight": torch.ones(6, 8), "c.weight": torch.ones(4, 6)}
    for name, given, wanted in (("kept", tensors, None), ("turned", dict(reversed(tensors.items())), 6)):
        torch.save(given, tmp_path / f"{name}.pth")  # the first is sorted by name, as if the order was lost
        assert json.loads(_say(capsys, "weights", "inspect", tmp_path / f"{name}.pth", "--json"))["classes"] == wanted


@pytest.mark.medium
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {**t, "net.s1_1.main.c1.weight": t["net.s1_1.main.c1.weight"] * torch.nan}, "1 tensors with NaN"),
        (lambda t: {**t, "net.stem.n.running_var": -t["net.stem.n.running_var"]}, "1 negative variances"),
        (lambda t: {**t, "net.stem.c.weight": t["net.stem.c.weight"].long()}, "1 integer tensors"),
        (lambda t: {**t, "criterion.weight": torch.ones(3, 3, 3)}, "criterion (weight) is no convolution"),
        (lambda t: {**t, "ema.decay": torch.ones(())}, "ema.decay is no weight"),
        (lambda t: dict(list(t.items())[:-4]), "none of the catalogue"),
        (lambda t: {**t, "criterion.weight": torch.ones(3)}, "with --ignore NAME"),
        (
            lambda t: {**t, "net.stem.c.bias": torch.ones(16)},
            "net.stem.c has bias and weight; wanted weight (stem.conv)",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told(
    tmp_path: Path, change: object, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = _other_names(create_model("resnet20_cifar_b").state_dict())
    torch.save(change(tensors), tmp_path / "a.pth")  # type: ignore[operator]
    assert said in _say(capsys, "weights", "inspect", tmp_path / "a.pth")


@pytest.mark.medium
def test_what_is_converted_is_measured_and_predicted_as_a_run(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, out, names = create_model("resnet20_cifar_b", seed=3), tmp_path / "ours", tmp_path / "names.txt"
    torch.save(_other_names(theirs.state_dict()), tmp_path / "a.pth")
    names.write_text("\n".join("jihgfedcba"))
    plan = ("weights", "convert", tmp_path / "a.pth", out, "--variant", "resnet20_cifar_b", "--preprocessing", "0.5")
    said = _say(capsys, *plan, "--classes", names)
    assert said.startswith(f"{out}: resnet20_cifar_b, 10 classes; mean 0.5, std 0.5")
    ours = load(out)
    assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in theirs.state_dict().items())
    half = ("--variant", "resnet20_cifar_b", "--preprocessing", "0.5", "--device", "cpu")
    _say(capsys, "weights", "convert", tmp_path / "a.pth", tmp_path / "unnamed", *half[:-2])
    first = json.loads(_say(capsys, "eval", tmp_path / "unnamed", images, "--json", "--device", "cpu"))
    second = json.loads(_say(capsys, "eval", tmp_path / "a.pth", images, "--json", *half))
    assert first["cross_entropy"] == second["cross_entropy"]
    third = json.loads(_say(capsys, "eval", out, images, "--json", "--device", "cpu"))
    assert third["cross_entropy"] != first["cross_entropy"]  # its classes are the other way round, and matched by name


@pytest.mark.medium
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "does not say which network it is of; see deepres weights inspect"),
        (
            ("--model", "resnet20_cifar_b", "--preprocessing", "0.5"),
            "look through the table and, if it is right, say --v",
        ),
        (("--variant", "resnet20_cifar_b"), "does not say how its images were normalised"),
        (
            ("--variant", "resnet20_cifar", "--preprocessing", "0.5"),
            "does not fit resnet20_cifar by structure: 22 convol",
        ),
        (
            ("--variant", "resnet20_cifar_b", "--preprocessing", "0.5", "--classes", "NAMES"),
            "2 names, the network knows 10",
        ),
    ],
)
def test_what_is_not_known_is_not_converted(
    tmp_path: Path, flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(_other_names(create_model("resnet20_cifar_b").state_dict()), tmp_path / "a.pth")
    (tmp_path / "names").write_text("a\nb\n")
    given = [str(tmp_path / "names") if flag == "NAMES" else flag for flag in flags]
    assert said in _say(capsys, "weights", "convert", tmp_path / "a.pth", tmp_path / "out", *given, code=2)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    plan = ("weights", "convert", tmp_path / "a.pth", tmp_path / "out", "--variant", "resnet20_cifar_b")
    assert "is there already" in _say(capsys, *plan, code=2)


@pytest.mark.medium
def test_a_disk_that_is_full_leaves_no_half_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    torch.save(create_model("resnet20_cifar_b").state_dict(), tmp_path / "a.pth")
    monkeypatch.setattr(Statistics, "save", full)
    plan = ("weights", "convert", tmp_path / "a.pth", tmp_path / "out", "--variant", "resnet20_cifar_b")
    assert "the disk is full" in _say(capsys, *plan, "--preprocessing", "0.5", code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]
