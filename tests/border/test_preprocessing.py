"""What images are normalised with: said by the weights, said by the user, or asked for; impossible values are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from deepres.base.errors import InputError
from deepres.base.normalisation import NAMED
from deepres.cli.main import run
from deepres.nn.create import create_model
from deepres.nn.weights import hub
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.predictor import Predictor

CPU = torch.device("cpu")
NET = ["--model", "resnet20_cifar", "--variant", "resnet20_cifar"]
NAME = ("resnet20_cifar", "resnet20_cifar")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bare weights, a picture, and a set of forty."""
    folder = tmp_path_factory.mktemp("bare")
    save_file(create_model("resnet20_cifar", seed=1).state_dict(), folder / "bare.safetensors")
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 255, (40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 10
    np.savez(folder / "set.npz", x=x, y=y, classes=np.array(list("abcdefghij")))
    Image.fromarray(x[0]).save(folder / "a.png")
    return folder


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def ask(*words: object) -> str:
        capsys.readouterr()
        assert run([str(word) for word in words]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1, said
        return said

    return ask


@pytest.mark.medium
@pytest.mark.parametrize("verb", ["predict", "eval", "analyze", "train"])
def test_bare_weights_are_asked_for_their_normalisation(
    verb: str, home: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    weights = home / "bare.safetensors"
    words = {
        "predict": [weights, home / "a.png"],
        "eval": [weights, home / "set.npz"],
        "analyze": ["lesion", weights, home / "set.npz", "--output", tmp_path / "a"],
        "train": [home / "set.npz", "--weights", weights, "--output", tmp_path / "b"],
    }[verb]
    said = refused(verb, *words, *NET)
    assert "bare.safetensors: does not say how its images were normalised, which decides every answer" in said
    assert "--preprocessing imagenet|cifar10|cifar100|inception|0.5|none|0-255, or --mean and --std" in said


VALUES: dict[str, tuple[list[str], str]] = {
    "negative std": (["--mean", "0.5,0.5,0.5", "--std", "0.2,-0.2,0.2"], "a std is above 0"),
    "zero std": (["--mean", "0.5,0.5,0.5", "--std", "0.2,0,0.2"], "a std is above 0"),
    "as of 0 to 255": (
        ["--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375"],
        "divide by 255: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
    ),
    "Caffe's": (
        ["--mean", "123.68,116.779,103.939", "--std", "1,1,1"],
        "divide by 255: --mean 0.485,0.458,0.4076 --std 0.003922,0.003922,0.003922",
    ),
    "std alone as of 0 to 255": (
        ["--mean", "0.485,0.456,0.406", "--std", "58.395,57.12,57.375"],
        "divide by 255: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
    ),
    "negative mean": (["--mean=-0.5,0.5,0.5", "--std", "1,1,1"], "a mean of pixels is not below 0"),
    "NaN": (["--mean", "nan,0.5,0.5", "--std", "1,1,1"], "wanted finite numbers"),
    "infinite": (["--mean", "0.5,0.5,0.5", "--std", "inf,1,1"], "wanted finite numbers"),
    "two values": (["--mean", "0.5,0.5", "--std", "1,1"], "images of 3 channels, a mean of 2"),
    "numbers that differ": (["--mean", "0.5,0.5,0.5", "--std", "1"], "one mean and one std for each channel"),
    "std without mean": (["--std", "1,1,1"], "a std without a mean; give both"),
    "mean without std": (["--mean", "0.5,0.5,0.5"], "a mean without a std; give both"),
    "both ways": (["--preprocessing", "cifar10", "--std", "1,1,1"], "--preprocessing cifar10 with --mean or --std"),
    "no such name": (["--preprocessing", "svhn"], "'svhn' is not one of 'imagenet', 'cifar10'"),
    "no numbers": (["--mean", "a,b,c", "--std", "1,1,1"], "wanted numbers such as"),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.medium
def test_impossible_values_are_refused_with_the_remedy(name: str, home: Path, refused: Callable[..., str]) -> None:
    flags, wanted = VALUES[name]
    assert wanted in refused("predict", home / "bare.safetensors", home / "a.png", *NET, *flags)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("mean", "std", "wanted"),
    [
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "divide by 255"),
        ((0.5, 0.5, 0.5), (-1.0, 1.0, 1.0), "a std is above 0"),
        (None, (1.0, 1.0, 1.0), "a std without a mean"),
        ((0.5, 0.5, 0.5), None, "a mean without a std"),
        ((), (), "one mean and one std for each channel"),
        ("half", "half", "mean 'half': wanted numbers"),
        (0.5, (1.0, 1.0, 1.0), "one mean and one std for each channel"),
        (None, None, "does not say how its images were normalised"),
    ],
)
def test_python_refuses_them_too(mean: Any, std: Any, wanted: str, home: Path) -> None:
    with pytest.raises(InputError, match=wanted):
        Predictor.load(WeightsSpec(home / "bare.safetensors", *NAME, mean=mean, std=std), CPU)


@pytest.mark.medium
@pytest.mark.parametrize("name", NAMED)
def test_a_named_choice_is_used_and_said_beside_the_number(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", home / "bare.safetensors", home / "set.npz", *NET, "--preprocessing", name, "--device", "cpu"]
    assert run([str(word) for word in words]) == 0
    told = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("preprocessing: "))
    assert name in told.split("(")[1].split(")")[0].split(", ")
    assert told.endswith("assumed, as the weights do not say: RGB, 32 px of short side 32, bilinear")
    mean, std = (torch.tensor(values) for values in NAMED[name])
    predictor = Predictor.load(WeightsSpec(home / "bare.safetensors", *NAME, *NAMED[name]), CPU)
    picture = torch.arange(3 * 32 * 32, dtype=torch.uint8).view(3, 32, 32)
    wanted = (picture / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(predictor.prepare(picture), wanted, rtol=0, atol=1e-6)


@pytest.mark.medium
def test_python_takes_numbers_in_any_form(home: Path) -> None:
    for mean, std in ((0.5, 0.25), ([0.5] * 3, np.full(3, 0.25)), (torch.full((3,), 0.5), (0.25,) * 3)):
        told: Any = {"mean": mean, "std": std}
        predictor = Predictor.load(WeightsSpec(home / "bare.safetensors", *NAME, **told), CPU)
        assert predictor.statistics.std.tolist() == [0.25] * 3


@pytest.mark.medium
def test_a_file_of_a_run_is_told_where_it_is_said(tuned: Path, home: Path, refused: Callable[..., str]) -> None:
    said = refused("predict", tuned / "model.safetensors", home / "a.png")
    assert f"or give the folder {tuned}, which says it" in said


@pytest.mark.medium
def test_a_single_value_holds_for_grey_images_and_three_do_not(tmp_path: Path) -> None:
    grey = create_model("resnet20_cifar", in_chans=1, seed=1)
    save_file(grey.state_dict(), tmp_path / "grey.safetensors")
    from deepres.nn.weights.formats import Checkpoint
    from deepres.predict.preprocessing import prepared_for

    stored = Checkpoint("grey", {})
    assert prepared_for(stored, grey.description, *NAMED["0.5"]).statistics.mean.tolist() == [0.5]
    assert "; assumed, as the weights do not say: grey, " in prepared_for(stored, grey.description, (0.5,), (0.5,)).said
    with pytest.raises(InputError, match="images of 1 channels, a mean of 3"):
        prepared_for(stored, grey.description, *NAMED["cifar10"])


def test_what_weights_say_themselves_is_said_and_what_replaces_it_too(tmp_path: Path) -> None:
    from deepres.nn.weights.formats import Checkpoint, Preprocessing
    from deepres.predict.preprocessing import prepared_for

    net = create_model("resnet20_cifar").description
    stored = Checkpoint("w", {}, net, preprocessing=Preprocessing(crop=32, resize=32, mean=(0.5,) * 3, std=(0.5,) * 3))
    assert prepared_for(stored, net).said == "mean 0.5, std 0.5 (inception, 0.5), as the weights say"
    said = prepared_for(stored, net, *NAMED["none"]).said
    assert said == "mean 0, std 1 (none), as asked for in place of the weights' own mean 0.5, std 0.5 (inception, 0.5)"


@pytest.fixture(scope="module")
def tuned(home: Path) -> Path:
    """A run that was fine-tuned on bare weights with a named normalisation."""
    words = ["train", home / "set.npz", "--weights", home / "bare.safetensors", *NET, "--preprocessing", "cifar10"]
    words += ["--epochs", "1", "--compile", "off", "--workers", "0", "--output", home / "tuned", "--device", "cpu"]
    assert run([str(word) for word in words]) == 0
    return home / "tuned"


@pytest.mark.medium
def test_a_fine_tuned_run_normalises_as_its_weights_want(tuned: Path) -> None:
    statistics = load_file(tuned / "statistics.safetensors")
    torch.testing.assert_close(statistics["mean"], torch.tensor(NAMED["cifar10"][0]))
    torch.testing.assert_close(statistics["std"], torch.tensor(NAMED["cifar10"][1]))
    assert json.loads((tuned / "run.json").read_text())["weights_std"] == list(NAMED["cifar10"][1])
    assert Predictor.load(tuned, CPU).said == ""


@pytest.mark.medium
def test_a_run_has_its_own_and_training_from_nothing_takes_none(
    tuned: Path, home: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    assert "a run has its own mean and std; leave" in refused(
        "predict", tuned, home / "a.png", "--preprocessing", "cifar10"
    )
    new = ("train", home / "set.npz", "--output", tmp_path / "new", "--preprocessing", "cifar10")
    assert "they describe trained weights; add --weights W" in refused(*new)
    other = (*new, "--weights", home / "bare.safetensors", *NET, "--recipe", "small")
    assert "--mean and --std with --recipe small: it measures mean and std on its own images" in refused(*other)
    assert "with --resume" in refused("train", "--resume", tuned, "--preprocessing", "cifar10")


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("std", [0.2, -0.1, 0.2], "a std is above 0"),
        ("std", [0.2, 0.0, 0.2], "a std is above 0"),
        ("mean", [125.0, 122.0, 113.0], "values as of 0 to 255 are to be divided by 255"),
        ("mean", [float("nan"), 0.4, 0.4], "mean is no finite number everywhere"),
        ("mean", [-0.1, 0.4, 0.4], "wanted those of pixels from 0 to 1"),
        ("std", [0.2], "wanted those of pixels from 0 to 1, one for each channel"),
    ],
)
@pytest.mark.medium
@pytest.mark.medium
def test_a_runs_statistics_are_looked_at(
    name: str, values: list[float], wanted: str, tuned: Path, home: Path, refused: Callable[..., str]
) -> None:
    path = tuned / "statistics.safetensors"
    kept = path.read_bytes()
    (tuned / "manifest.json").unlink(missing_ok=True)  # else the manifest refuses it before
    try:
        save_file({**load_file(path), name: torch.tensor(values)}, path)
        said = refused("predict", tuned, home / "a.png")
        assert "statistics.safetensors: " in said
        assert wanted in said
    finally:
        path.write_bytes(kept)


@pytest.mark.medium
def test_statistics_of_other_channels_are_refused(tuned: Path, home: Path, refused: Callable[..., str]) -> None:
    path = tuned / "statistics.safetensors"
    kept = path.read_bytes()
    (tuned / "manifest.json").unlink(missing_ok=True)  # else the manifest refuses it before
    try:
        grey = {"mean": torch.tensor([0.5]), "std": torch.tensor([0.5])}
        save_file({**load_file(path), **grey}, path)
        assert "of another number of channels" in refused("predict", tuned, home / "a.png")
    finally:
        path.write_bytes(kept)


def test_a_file_that_torchvision_publishes_is_known_by_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file({"fc.bias": torch.zeros(3)}, tmp_path / "renamed.safetensors")
    monkeypatch.setattr(hub, "digest", lambda _: "f37072fd" + 56 * "0")
    known = hub.find_weights(tmp_path / "renamed.safetensors")
    assert known.description is not None
    assert known.description.name == "resnet18"
    assert known.preprocessing is not None
    assert (known.preprocessing.mean, known.preprocessing.resize) == (NAMED["imagenet"][0], 256)
    assert known.classes == ()
    monkeypatch.setattr(hub, "digest", lambda _: "f37072fe" + 56 * "0")
    assert hub.find_weights(tmp_path / "renamed.safetensors").preprocessing is None


def test_the_published_cifar_files_are_known_wherever_they_lie(shared: Path, tmp_path: Path) -> None:
    file = shared / "data" / "weights" / "pytorch_resnet_cifar10" / "resnet20-12fca82f.th"
    (tmp_path / "other.pt").write_bytes(file.read_bytes())
    predictor = Predictor.load(tmp_path / "other.pt", CPU)
    assert predictor.network.description.name == "resnet20_cifar"
    assert (
        predictor.said
        == "mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225 (imagenet), as the weights say; known by the file's digest"
    )
