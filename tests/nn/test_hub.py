import json
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from deepres.base.errors import InputError
from deepres.nn.create import create_model
from deepres.nn.weights.hub import find_weights
from deepres.tasks.networks import load


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, and empty caches in a folder of the test's own."""

    def refused(*_: object, **__: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "torch" / "hub"))
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    return tmp_path


def _timms_folder(folder: Path) -> None:
    """What stands in the repository timm/resnet18.a1_in1k, with few classes and random weights."""
    folder.mkdir(parents=True)
    save_file(models.resnet18(num_classes=3).state_dict(), folder / "model.safetensors")
    cfg = {
        "num_classes": 3,
        "input_size": [3, 224, 224],
        "pool_size": [7, 7],
        "crop_pct": 0.95,
        "interpolation": "bicubic",
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.3, 0.25],
        "first_conv": "conv1",
        "classifier": "fc",
    }
    config = {
        "architecture": "resnet18",
        "num_classes": 3,
        "num_features": 512,
        "pretrained_cfg": cfg,
        "label_names": ["x", "y", "z"],
    }
    (folder / "config.json").write_text(json.dumps(config))


def _as_expected(name: str | Path) -> None:
    stored = find_weights(name)
    assert stored.description is not None
    assert stored.description.name == "resnet18"
    assert stored.classes == ("x", "y", "z")
    assert stored.preprocessing is not None
    assert stored.preprocessing.model_dump() == {
        "crop": 224, "resize": 235, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.25), "interpolation": "bicubic", "fit": "crop", "margins": "rounded", "note": "",
    }  # fmt: skip
    assert load(name)(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.medium
def test_a_local_folder_in_timms_layout(tmp_path: Path) -> None:
    _timms_folder(tmp_path / "here")
    _as_expected(tmp_path / "here")
    with pytest.raises(InputError, match=r"here: weights of resnet18, not of this resnet18_blur4: stem"):
        create_model("resnet18_blur4", weights=tmp_path / "here")


@pytest.mark.medium
def test_a_tag_of_timms_from_huggingfaces_cache(nowhere: Path) -> None:
    repository = nowhere / "hf" / "hub" / "models--timm--resnet18.a1_in1k"
    _timms_folder(repository / "snapshots" / "abc123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    _as_expected("resnet18.a1_in1k")
    _as_expected("hf-hub:timm/resnet18.a1_in1k")


@pytest.mark.medium
def test_a_tag_brought_by_hand_to_the_place_that_the_error_names(nowhere: Path) -> None:
    place = nowhere / "cache" / "weights" / "resnet18.a1_in1k"
    with pytest.raises(InputError, match=r"cannot be fetched \(no network in this test\); bring them: ") as caught:
        find_weights("resnet18.a1_in1k")
    assert "\n" not in str(caught.value)
    assert f"of https://huggingface.co/timm/resnet18.a1_in1k belong into {place}" in str(caught.value)
    _timms_folder(place)
    _as_expected("resnet18.a1_in1k")


@pytest.mark.medium
def test_torchvisions_tag_from_torch_hubs_cache(nowhere: Path) -> None:
    file = nowhere / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    refusal = r"weights IMAGENET1K_V1: cannot be fetched .*; bring them: https://download\.pytorch\.org/models/resnet18-f37072fd\.pth belongs to "
    with pytest.raises(InputError, match=refusal) as caught:
        find_weights("IMAGENET1K_V1", "resnet18")
    assert str(caught.value).endswith(str(file))
    net = models.resnet18()
    torch.save(net.state_dict(), file)
    for name, model in (
        ("IMAGENET1K_V1", "resnet18"),
        ("ResNet18_Weights.IMAGENET1K_V1", None),
        ("DEFAULT", "resnet18"),
    ):
        stored = find_weights(name, model)
        assert stored.classes[:2] == ("tench", "goldfish")
        assert stored.preprocessing is not None
        assert (stored.preprocessing.resize, stored.preprocessing.crop) == (256, 224)
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(create_model("resnet18", weights="IMAGENET1K_V1").eval()(x), net.eval()(x))


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("resnet18.zip", None, r"weights timm/resnet18\.zip: cannot be fetched"),
        ("nothing", None, r"weights nothing: no such file or folder, and no name of weights; wanted a path"),
        ("some/where.safetensors", None, r"weights some/where\.safetensors: no such file"),
        ("IMAGENET1K_V1", None, r"weights IMAGENET1K_V1: of which network\? name it"),
        (
            "IMAGENET1K_V1",
            "resnet50_v1",
            r"torchvision has no weights IMAGENET1K_V1 of resnet50_v1.*did you mean resnet50",
        ),
        (
            "IMAGENET1K_V3",
            "resnet50",
            r"torchvision's weights of resnet50 'IMAGENET1K_V3': unknown; did you mean IMAGENET1K_V2, IMAGENET1K_V1",
        ),
        (
            "ResNet51_Weights.DEFAULT",
            None,
            r"torchvision's weights 'ResNet51_Weights\.DEFAULT': unknown; did you mean ResNet",
        ),
    ],
)
def test_what_is_no_name_is_said(name: str, model: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        find_weights(name, model)
    assert "\n" not in str(caught.value)
