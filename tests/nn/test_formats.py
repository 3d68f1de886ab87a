import json
from pathlib import Path

import pytest
import torch

from deepres.base.errors import InputError
from deepres.nn.create import create_model
from deepres.nn.weights.files import read_stored, save_network
from deepres.nn.weights.folders import said_by
from deepres.nn.weights.formats import Preprocessing
from deepres.tasks.networks import load

PREPARED = Preprocessing(crop=96, resize=110, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="bicubic")


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet18d", pytest.param("resnetv2_50", marks=pytest.mark.long), "seresnet18", "densenet121"]
)
@pytest.mark.slow
def test_timm_loads_the_folder_that_we_write_with_class_names_and_preprocessing(name: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    ours = create_model(name, num_classes=3, seed=2).eval()
    save_network(tmp_path, ours, ("ant", "bee", "cat"), {}, PREPARED)
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    x = torch.randn(2, 3, 65, 65, dtype=torch.float64)
    torch.testing.assert_close(ours.double()(x), theirs.double()(x), rtol=1e-9, atol=1e-9)
    assert theirs.pretrained_cfg["label_names"] == ["ant", "bee", "cat"]
    wants = timm.data.resolve_model_data_config(theirs)
    assert tuple(wants["input_size"]) == (3, 96, 96)
    assert (wants["mean"], wants["std"], wants["interpolation"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], "bicubic")
    resize, crop, *_ = timm.data.create_transform(**wants, is_training=False).transforms
    assert (resize.size, tuple(crop.size)) == (110, (96, 96))
    facts = json.loads((tmp_path / "config.json").read_text())["deepres"]
    assert facts["tensor_names"] == "timm"
    again = load(tmp_path)
    assert torch.equal(again.double()(x), ours(x))


@pytest.mark.medium
def test_timm_takes_another_number_of_channels_and_of_classes_from_the_folder(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    ours = create_model("resnet18", num_classes=3, in_chans=1).eval()
    grey = PREPARED.replace(mean=(0.5,), std=(0.2,))
    save_network(tmp_path, ours, ("ant", "bee", "cat"), {}, grey)
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    x = torch.randn(2, 1, 65, 65)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)
    other = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=5)
    assert other(x).shape == (2, 5)


@pytest.mark.medium
@pytest.mark.parametrize("crop", [32, 64, 96, 100, 127, 128, 176, 224, 225, 288])
def test_timms_resize_comes_out_as_ours(crop: int, tmp_path: Path) -> None:
    net = create_model("resnet20_cifar")
    for resize in (crop, crop + 1, crop * 256 // 224, crop * 8 // 7 + 1, 2 * crop):
        prepared = PREPARED.replace(crop=crop, resize=resize)
        save_network(tmp_path, net, tuple("0123456789"), {}, prepared)
        assert read_stored(tmp_path).preprocessing == prepared


def test_a_network_that_timm_has_not_is_written_under_our_names(tmp_path: Path) -> None:
    net = create_model("resnet20_cifar")
    save_network(tmp_path, net, tuple("0123456789"), {"resize": 32})
    facts = json.loads((tmp_path / "config.json").read_text())
    assert (facts["architecture"], facts["deepres"]["tensor_names"]) == ("resnet20_cifar", "deepres")
    assert read_stored(tmp_path).tensors.keys() == net.state_dict().keys()


@pytest.mark.medium
@pytest.mark.parametrize(("in_bottleneck", "wanted"), [(False, "resnet50"), (True, "resnet50_v1")])
def test_a_folder_of_transformers_says_which_variant_it_is(in_bottleneck: bool, wanted: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        downsample_in_bottleneck=in_bottleneck, id2label={0: "ant", 1: "bee"}, label2id={"ant": 0, "bee": 1}
    )
    theirs = transformers.ResNetForImageClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    prepare = {
        "size": {"shortest_edge": 96},
        "crop_pct": 0.875,
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.4, 0.5, 0.6],
        "resample": 3,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(prepare))
    stored = said_by(tmp_path)
    assert stored.description is not None
    assert (stored.description.name, stored.classes) == (wanted, ("ant", "bee"))
    assert stored.preprocessing is not None
    told = stored.preprocessing.replace(mean=PREPARED.mean, std=PREPARED.std)
    assert told == PREPARED.replace(resize=109, margins="floored")
    assert stored.preprocessing.mean == pytest.approx(PREPARED.mean)
    assert stored.preprocessing.std == pytest.approx(PREPARED.std)
    x = torch.randn(2, 3, 65, 65)
    with torch.inference_mode():
        torch.testing.assert_close(load(tmp_path)(x), theirs(x).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"architecture": "vit_base_patch16_224"}, r"timm's vit_base_patch16_224 is no network of this family"),
        (
            {"architecture": "resnet50", "model_args": {"output_stride": 8}},
            r"config\.json model_args: output_stride 8, wanted 32",
        ),
        ({"architectures": ["ViTForImageClassification"]}, r"ViTForImageClassification.* is no network of this family"),
        (
            {
                "architectures": ["ResNetForImageClassification"],
                "depths": [1, 1],
                "layer_type": "basic",
                "id2label": {},
            },
            r"depths \(1, 1\) and widths \(256, 512, 1024, 2048\): wanted one of each for every stage",
        ),
        ({"some": "thing"}, r"config\.json: not a description that deepres, timm or transformers wrote"),
    ],
)
def test_folders_of_other_networks_are_refused_in_one_line(
    config: dict[str, object], said: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=said) as caught:
        said_by(tmp_path)
    assert "\n" not in str(caught.value)
