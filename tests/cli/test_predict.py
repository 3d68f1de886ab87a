import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms.functional import pil_to_tensor

from deepres.cli.main import run
from deepres.cli.predict import FEW
from deepres.nn.create import create_model
from deepres.nn.hardware import multiplies_bfloat16


@pytest.mark.medium
def test_bare_weights_are_asked_with_the_mean_and_std_that_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = create_model("resnet20_cifar", seed=1).eval()
    save_file(network.state_dict(), tmp_path / "bare.safetensors")
    picture = tmp_path / "picture.png"
    Image.effect_noise((32, 32), 90).convert("RGB").save(picture)
    words = ["predict", str(tmp_path / "bare.safetensors"), str(picture), "--model", "resnet20_cifar"]
    words += ["--variant", "resnet20_cifar", "--top-k", "10", "--json"]
    for mean, std in (("0.1,0.2,0.3", "0.5,0.6,0.7"), ("0,0,0", "1,1,1")):
        assert run([*words, "--mean", mean, "--std", std]) == 0
        said = json.loads(capsys.readouterr().out)
        subtracted, divided = (torch.tensor([float(n) for n in text.split(",")])[:, None, None] for text in (mean, std))
        image = (pil_to_tensor(Image.open(picture)) / 255 - subtracted) / divided
        with torch.inference_mode():
            wanted = network(image[None]).softmax(1)[0]
        for guess in said["guesses"]:
            assert guess["probability"] == pytest.approx(float(wanted[int(guess["name"].split()[1])]), abs=1e-5)
    assert run([*words, "--mean", "0.1,0.2", "--std", "1,1"]) == 2
    assert "a mean of 2; say with --mean and --std" in capsys.readouterr().err


@pytest.mark.medium
def test_many_images_are_answered_faster_and_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(create_model("resnet20_cifar", seed=1).state_dict(), tmp_path / "bare.safetensors")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(FEW):
        Image.effect_noise((32, 32), 20 + 10 * number).convert("RGB").save(folder / f"{number:02}.png")
    asked = ["predict", str(tmp_path / "bare.safetensors"), "--model", "resnet20_cifar", "--json"]
    asked += ["--variant", "resnet20_cifar", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"]

    def answers(*words: str) -> tuple[dict[str, list[dict[str, object]]], str]:
        assert run([*asked, *words]) == 0
        said, aside = capsys.readouterr()
        return {found["image"]: found["guesses"] for found in map(json.loads, said.splitlines())}, aside

    fast, told = answers(str(folder))
    plain, silent = answers(str(folder), "--precision", "float32")
    one, alone = answers(str(folder / "03.png"))
    # the preprocessing that bare weights were given is said in any case
    assert alone.startswith("preprocessing: mean 0.5, std 0.5 (inception, 0.5), as asked for; assumed, as the weights")
    assert "norms folded" in told
    assert "float32, channels last, norms folded, not compiled" in silent
    halves, _ = answers(str(folder / "03.png"), "--precision", "bfloat16")
    assert halves != one
    assert fast.keys() == plain.keys()
    assert len(fast) == FEW
    assert (fast != plain) == multiplies_bfloat16(torch.device("cpu"))
    assert [guess["name"] for guess in one[str(folder / "03.png")]] == [
        guess["name"] for guess in plain[str(folder / "03.png")]
    ]
    for image, guesses in fast.items():
        assert guesses[0]["name"] == plain[image][0]["name"]
        assert guesses[0]["probability"] == pytest.approx(plain[image][0]["probability"], abs=0.05)
