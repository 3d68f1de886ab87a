"""Weights of RGB images for images of other channels: as timm adapts them, in every family, and said."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue import lookup
from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.cli.main import run
from deepres.nn.build import build
from deepres.nn.create import create_model
from deepres.nn.weights.channels import adapted, adapted_values, channels_of, stems
from deepres.nn.weights.files import save_network
from deepres.nn.weights.formats import Checkpoint, Preprocessing
from deepres.predict.preprocessing import prepared_for

SHORT = "depths=1,1,1,1"


def _network(name: str, *edits: str, channels: int = 3) -> Architecture:
    architecture = edit(lookup.entry(name).config, [*edits, "num_classes=3"]).architecture()
    return architecture.replace(input=(channels, *architecture.input[1:]))


FAMILIES = {
    "resnet": ("resnet18", SHORT),
    "deep stem": ("resnet18d", SHORT),
    "rs stem": ("resnetrs50", SHORT),
    "caffe, with a bias": ("resnet50_caffe", SHORT),
    "pre-activation": ("preresnet18", SHORT),
    "timm's pre-activation": ("resnetv2_50", SHORT),
    "CIFAR": ("resnet20_cifar", "depths=1,1,1"),
    "projections": ("resnet20_cifar_b", "depths=1,1,1"),
    "densenet": ("densenet121", "depths=1,1,1,1"),
    "plain": ("plain20_cifar", "depths=1,1,1"),
}


@pytest.mark.parametrize(
    "family",
    [
        family if "depths=1,1,1" in edits else pytest.param(family, marks=pytest.mark.slow)
        for family, (_, *edits) in FAMILIES.items()
    ],
)
def test_a_grey_image_answers_as_its_copy_in_three_colours(family: str) -> None:
    whole, grey = (_network(*FAMILIES[family], channels=channels) for channels in (3, 1))
    colour = create_model(whole, seed=1).double().eval()
    one = create_model(grey, weights=Checkpoint("here", colour.state_dict(), whole)).double().eval()
    image = torch.rand(2, 1, 40, 40, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.allclose(one(image), colour(image.repeat(1, 3, 1, 1)), rtol=1e-5, atol=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize(
    "name", ["vgg15_cifar", "highway19_cifar", "fractalnet20_cifar", "rir18_wide_cifar", "densenet40_k12_cifar"]
)
def test_the_first_kernels_of_every_kind_are_found(name: str) -> None:
    found = stems(lookup.architecture(name))
    shapes = build(lookup.architecture(name)).state_dict()
    assert found
    assert all(shapes[kernel].dim() == 4 and shapes[kernel].shape[1] == 3 for kernel in found)


@pytest.mark.medium
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 7])
def test_kernels_are_timms(channels: int) -> None:
    timm = pytest.importorskip("timm.models._manipulate")
    architecture = _network("resnet20_cifar", "depths=1,1,1", channels=channels)
    given = {"stem.conv.weight": torch.randn(16, 3, 3, 3)}
    wanted = timm.adapt_input_conv(channels, given["stem.conv.weight"].clone())
    assert torch.equal(adapted(given, architecture, "here")["stem.conv.weight"], wanted)


def test_mean_and_std_go_with_the_kernels() -> None:
    assert adapted_values((0.3, 0.4, 0.8), 1) == pytest.approx((0.5,))
    assert adapted_values((0.3, 0.4, 0.8), 4) == (0.3, 0.4, 0.8, 0.3)
    assert adapted_values((0.5,), 4) == (0.5,)
    colour, grey = (_network("resnet20_cifar", "depths=1,1,1", channels=channels) for channels in (3, 1))
    said = Preprocessing(crop=32, resize=32, mean=(0.3, 0.4, 0.8), std=(0.1, 0.2, 0.3))
    stored = Checkpoint("here", create_model(colour).state_dict(), colour, preprocessing=said)
    prepared = prepared_for(stored, grey)
    assert prepared.preparation.channels == 1
    assert prepared.statistics.mean.tolist() == pytest.approx([0.5])
    assert prepared.statistics.std.tolist() == pytest.approx([0.2])
    assert "for 1 channel: the first kernels summed over the colours, mean and std averaged" in prepared.said
    told = prepared_for(Checkpoint("here", stored.tensors, colour), grey, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert told.statistics.mean.tolist() == [0.5]
    assert "mean and std averaged" in told.said


@pytest.mark.parametrize(("given", "wanted"), [(1, 3), (4, 3), (1, 4), (4, 1)])
def test_weights_of_other_images_than_rgb_serve_only_those(given: int, wanted: int) -> None:
    there, here = (_network("resnet20_cifar", "depths=1,1,1", channels=channels) for channels in (given, wanted))
    stored = Checkpoint("here", create_model(there).state_dict(), there)
    refusal = (
        rf"here: weights of images of {given} channels?, the network takes {wanted}; .*wanted in_chans={given} \(--set"
    )
    with pytest.raises(InputError, match=refusal):
        create_model(here, weights=stored)
    assert create_model(there, weights=stored).description.input[0] == given


@pytest.mark.medium
def test_a_network_by_name_takes_the_channels_that_its_weights_have(tmp_path: Path) -> None:
    grey = create_model("resnet20_cifar", in_chans=1, num_classes=3)
    save_file(dict(grey.state_dict()), tmp_path / "grey.safetensors")
    how = {"weights": tmp_path / "grey.safetensors", "variant": "resnet20_cifar"}
    assert create_model("resnet20_cifar", **how).description.input[0] == 1
    with pytest.raises(InputError, match=r"weights of images of 1 channel, the network takes 3"):
        create_model("resnet20_cifar", in_chans=3, **how)
    assert channels_of(grey.state_dict(), grey.description) == 1


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A set of grey pictures and RGB weights, as `train` gets them."""
    folder = tmp_path_factory.mktemp("begun")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 32, 32), dtype=np.uint8)
    np.savez(folder / "set.npz", x=pixels, y=np.arange(40) % 2)
    network = create_model(_network("resnet20_cifar", "depths=1,1,1"), seed=1)
    said = Preprocessing(crop=32, resize=32, mean=(0.3, 0.4, 0.8), std=(0.1, 0.2, 0.3))
    (folder / "weights").mkdir()
    save_network(folder / "weights", network, ("a", "b", "c"), {}, said)
    (folder / "weights" / "config.json").unlink()
    rest = ["--model", "resnet20_cifar", "--mean", "0.3,0.4,0.8", "--std", "0.1,0.2,0.3", "--set", "model.depths=1,1,1"]
    return [f"{folder}/set.npz", "--weights", f"{folder}/weights/model.safetensors", *rest]


@pytest.mark.medium
def test_train_takes_the_channels_that_are_asked_for(begun: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", *begun, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["preparation"]["channels"] == 3  # grey pictures, as RGB
    assert run(["train", *begun, "--set", "model.input=1,32,32", "--dry-run"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["model"]["input"], made["preparation"]["channels"]) == ([1, 32, 32], 1)
    assert run(["train", *begun, "--set", "model.input=1,28,28", "--dry-run"]) == 2
    assert "--set model.input=1,28,28: this run's images come as 1,32,32" in capsys.readouterr().err
    assert run(["train", *begun, "--set", "model.input=4,32,32", "--dry-run"]) == 2
    assert "given 4, wanted 1 (grey) or 3 (RGB)" in capsys.readouterr().err


@pytest.mark.medium
def test_a_dry_run_refuses_weights_of_another_network_as_training_does(
    begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in (["--dry-run"], ["--output", str(tmp_path / "run")]):
        assert run(["train", *begun, "--set", "model.depths=2,1,1", *more]) == 2
        assert "model.safetensors: weights of" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_train_says_what_it_did_to_the_weights(
    begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--set", "model.input=1,32,32", "--smoke", "--workers", "0", "--output", f"{tmp_path}/run"]
    assert run(["train", *begun, *words]) == 0
    told = "weights of RGB images for 1 channel: the first kernels summed over the colours, mean and std averaged"
    assert told in capsys.readouterr().err + (tmp_path / "run" / "log.txt").read_text()
    assert told in (tmp_path / "run" / "log.txt").read_text()
    assert run(["eval", f"{tmp_path}/run", "--json"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(
    "name", ["resnet18", "resnet18d", "seresnet18", pytest.param("resnetv2_50", marks=pytest.mark.long), "densenet121"]
)
def test_logits_are_timms_with_the_same_weights(tmp_path: Path, name: str, channels: int) -> None:
    timm = pytest.importorskip("timm")
    file = tmp_path / "theirs.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model(name, num_classes=3).state_dict(), file)
    own = {"file": str(file), "num_classes": 3}
    theirs = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=own, num_classes=3, in_chans=channels
    ).eval()
    ours = create_model(name, weights=file, variant=name, in_chans=channels).eval()
    images = torch.randn(2, channels, 65, 65)
    with torch.inference_mode():
        assert torch.allclose(ours(images), theirs(images), atol=1e-5)
