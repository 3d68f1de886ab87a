"""Folders as timm and transformers write them: what they say is what the tool itself does, or the field is named."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deepres.arch.catalogue.lookup import architecture
from deepres.base.errors import InputError
from deepres.nn.weights.convert import TIMM
from deepres.nn.weights.folder_transformers import preprocessing_said
from deepres.nn.weights.folders import said_by
from deepres.nn.weights.formats import Checkpoint
from deepres.nn.weights.hub import find_weights
from deepres.predict.predictor import Predictor
from deepres.predict.preprocessing import prepared_for
from deepres.tasks.networks import load

CPU = torch.device("cpu")
PICTURES = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((70, 91), (64, 64), (101, 67))]
"""Margins of every remainder by 4 are among them, where rounding and flooring differ."""


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def same_logits(folder: Path, theirs: nn.Module, side: int = 64) -> None:
    """Of the folder's network and of the tool's, both in double precision, with norms that do something."""
    ours = load(folder).double()
    x = torch.randn(2, ours.description.input[0], side, side, dtype=torch.float64)
    with torch.inference_mode():
        answer = theirs.double().eval()(x)
        close(ours(x), answer if isinstance(answer, Tensor) else answer.logits)


def shaken(net: nn.Module) -> nn.Module:
    """The network with norms away from where they begin, so that activations and orders count."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() == 1:
            kind = name.rpartition(".")[2]
            low, high = (0.5, 1.5) if kind in ("weight", "running_var") else (-0.3, 0.3)
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return net


# transformers: the network


def resnet_of_transformers(folder: Path, edits: Mapping[str, Any]) -> nn.Module:
    """A tiny ResNetForImageClassification with `edits`, written by transformers itself."""
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    tiny = {"depths": [1, 2], "hidden_sizes": [8, 16], "embedding_size": 8, "num_labels": 3, "layer_type": "bottleneck"}
    net = shaken(ResNetForImageClassification(ResNetConfig(**{**tiny, **edits})))
    net.save_pretrained(folder)
    return net


TAKEN = [
    {},
    {"layer_type": "basic"},
    {"hidden_act": "gelu"},
    {"hidden_act": "silu", "layer_type": "basic"},
    {"hidden_act": "leaky_relu"},
    {"downsample_in_bottleneck": True},
    {"downsample_in_bottleneck": True, "layer_type": "basic"},
    {"embedding_size": 16, "hidden_sizes": [12, 20]},
    {"num_channels": 1},
    {"depths": [1], "hidden_sizes": [8]},
    {"num_labels": 1},
    {"num_labels": 1, "id2label": {0: "cat"}},
    {"problem_type": "single_label_classification"},
    {"out_features": ["stage1"]},
    {"id2label": {0: "ant", 1: "bee", 2: "cat"}},
]


@pytest.mark.medium
@pytest.mark.parametrize("edits", TAKEN, ids=str)
def test_transformers_networks_give_its_logits(edits: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    same_logits(tmp_path, resnet_of_transformers(tmp_path, edits))
    said = find_weights(tmp_path)
    named = edits.get("id2label")
    assert said.classes == (tuple(named.values()) if named else ())
    assert said.preprocessing is None


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("resnet18", {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]}),
        ("resnet34", {"layer_type": "basic", "depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 256, 512]}),
        ("resnet50", {}),
        ("resnet101", {"depths": [3, 4, 23, 3]}),
        ("resnet152", {"depths": [3, 8, 36, 3]}),
        ("resnet50_v1", {"downsample_in_bottleneck": True}),
        ("resnet152_v1", {"downsample_in_bottleneck": True, "depths": [3, 8, 36, 3]}),
    ],
)
@pytest.mark.medium
@pytest.mark.medium
def test_transformers_published_networks_are_those_of_the_catalogue(
    name: str, facts: dict[str, Any], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(**facts, num_labels=1000, architectures=["ResNetForImageClassification"])
    config.save_pretrained(tmp_path)
    assert said_by(tmp_path).description == architecture(name)


CONFIG: dict[str, Any] = {
    "architectures": ["ResNetForImageClassification"],
    "model_type": "resnet",
    "depths": [1, 2],
    "hidden_sizes": [8, 16],
    "embedding_size": 8,
    "layer_type": "bottleneck",
    "id2label": {"0": "a", "1": "b"},
    "torch_dtype": "float32",
    "transformers_version": "4.20.0",
}


@pytest.mark.parametrize(
    ("edits", "named"),
    [
        ({"hidden_act": "mish"}, "hidden_act 'mish', wanted 'relu' or 'gelu'"),
        ({"hidden_act": "gelu_new"}, "hidden_act 'gelu_new', wanted"),
        ({"downsample_in_first_stage": True}, "downsample_in_first_stage true, wanted false"),
        ({"problem_type": "multi_label_classification"}, "problem_type 'multi_label_classification', wanted"),
        ({"problem_type": "regression"}, "problem_type 'regression', wanted"),
        ({"layer_type": "preact"}, "layer_type 'preact', wanted 'basic' or 'bottleneck'"),
        ({"hidden_sizes": [8, 18]}, r"hidden_sizes \[8, 18\], wanted multiples of 4"),
        ({"hidden_sizes": [8]}, r"depths \(1, 2\) and widths \(2,\): wanted one of each"),
        ({"id2label": {"0": "a", "2": "c"}}, "id2label .*, wanted one name for each of the 2 logits, 0 to 1"),
        ({"label2id": {"a": 1, "b": 0}}, "label2id .*, and id2label has 'a' under 0; which of the two is it"),
        ({"num_labels": 4}, "id2label .*, wanted one name for each of the 4 logits"),
        ({"quantization_config": {"bits": 8}}, "quantization_config .*, which is not known here"),
        ({"auto_map": {"AutoModel": "x.Y"}}, "auto_map .*, which is not known here"),
        ({"stem_kernel": 3}, "stem_kernel 3, which is not known here; take it out"),
        ({"model_type": "regnet"}, "model_type 'regnet', wanted 'resnet'"),
        ({"architectures": ["ResNetModel"]}, "ResNetModel is no network of this family"),
        ({"architectures": ["ResNetBackbone", "ResNetForImageClassification"]}, "architectures .*, wanted"),
        ({"depths": "3,4"}, "config.json: "),
        ({"depths": 3}, "config.json: not a description"),
        ({"id2label": {"zero": "a"}}, "config.json: not a description"),
    ],
    ids=str,
)
def test_what_changes_the_network_otherwise_is_refused_by_name(
    edits: dict[str, Any], named: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **edits}))
    with pytest.raises(InputError, match=named) as caught:
        find_weights(tmp_path)
    assert "\n" not in caught.value.message
    assert str(tmp_path) in caught.value.message


# transformers: what is done to images

CONVNEXT: dict[str, Any] = {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 48}}
VIT: dict[str, Any] = {"image_processor_type": "ViTImageProcessor", "size": {"height": 48, "width": 48}}
BIT: dict[str, Any] = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 56},
    "crop_size": {"height": 48, "width": 48},
}
SHOWN: list[dict[str, Any]] = [
    CONVNEXT,
    {**CONVNEXT, "crop_pct": 0.9},
    {**CONVNEXT, "crop_pct": 1.0, "resample": 2},
    {**CONVNEXT, "size": 40},
    {**CONVNEXT, "size": {"shortest_edge": 384}},
    {**CONVNEXT, "size": {"shortest_edge": 400}, "crop_pct": 0.5},
    {**CONVNEXT, "do_normalize": False},
    {**CONVNEXT, "do_rescale": False, "image_mean": [124.0, 116.0, 104.0], "image_std": [58.0, 57.0, 57.0]},
    {**CONVNEXT, "do_rescale": False, "do_normalize": False},
    {**CONVNEXT, "rescale_factor": 1 / 127.5, "image_mean": [1.0, 0.9, 0.8], "image_std": [1.0, 1.0, 0.5]},
    {**CONVNEXT, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.1, 0.2, 0.3]},
    {**CONVNEXT, "do_center_crop": True, "crop_size": 48},
    {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 48, "crop_pct": 0.875},
    {"size": 48},
    VIT,
    {**VIT, "size": 40},
    {**VIT, "size": {"shortest_edge": 60}, "do_center_crop": True, "crop_size": {"height": 48, "width": 48}},
    {**VIT, "image_processor_type": "ViTImageProcessorFast", "do_convert_rgb": True},
    {**VIT, "do_resize": False},
    {**VIT, "resample": 3, "do_rescale": True, "do_normalize": False},
    BIT,
    {**BIT, "crop_size": 56},
    {**BIT, "image_processor_type": "CLIPImageProcessor"},
    {**CONVNEXT, "do_normalize": None, "image_mean": None},
    {**CONVNEXT, "do_center_crop": None, "crop_size": None, "do_pad": None, "do_convert_rgb": None},
    {**BIT, "image_processor_type": "BitImageProcessorFast", "resample": 2},
]


@pytest.mark.medium
@pytest.mark.parametrize("facts", SHOWN, ids=lambda facts: ", ".join(f"{k}={v}" for k, v in facts.items()))
def test_transformers_preprocessors_give_its_pixels(facts: dict[str, Any], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(facts))
    theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    stored = Checkpoint("there", {}, preprocessing=preprocessing_said(facts, 3, "there"))
    prepared = prepared_for(stored, architecture("resnet20_cifar"))
    ours = Predictor(nn.Identity(), (), prepared.preparation, prepared.statistics, CPU)  # type: ignore[arg-type]
    scale = float(prepared.statistics.std.min())
    for picture in PICTURES:
        pixels = theirs(picture, return_tensors="pt")["pixel_values"][0].float()
        close(ours.prepare(picture) * min(1, scale), pixels * min(1, scale))


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({**CONVNEXT, "resample": 1}, "resample 1, wanted 2 or 3"),
        ({**CONVNEXT, "resample": 0}, "resample 0, wanted 2 or 3"),
        ({**CONVNEXT, "size": {"height": 48, "width": 48}}, "size .*: this processor takes nothing else"),
        ({**CONVNEXT, "do_center_crop": True, "crop_size": 40}, "crop_size 40, another centre cut"),
        ({**VIT, "size": {"height": 48, "width": 64}}, "size .*, wanted .* a square"),
        ({**VIT, "size": {"shortest_edge": 48}}, "do_center_crop null, beside a short side of 48"),
        ({**VIT, "size": {"longest_edge": 48}}, "size .*, wanted"),
        ({**VIT, "size": {"shortest_edge": 48, "longest_edge": 60}}, "size .*, wanted"),
        ({**VIT, "do_resize": False, "do_center_crop": True, "crop_size": 40}, "do_resize false, with do_center_crop"),
        ({**VIT, "do_center_crop": True, "crop_size": 40}, "crop_size 40, another centre cut"),
        ({**BIT, "crop_size": {"height": 64, "width": 64}}, "crop_size .*, beside a short side of 56"),
        ({**BIT, "crop_size": {"height": 40, "width": 48}}, "crop_size .*, wanted a square"),
        ({**BIT, "do_center_crop": False}, "do_center_crop false, beside a short side of 56"),
        ({**VIT, "image_mean": None}, "image_mean null, wanted a value"),
        ({**CONVNEXT, "crop_pct": None}, "crop_pct null, wanted a value"),
        ({**CONVNEXT, "crop_pct": 0}, "not what an image processor writes .*division by zero"),
        ({**CONVNEXT, "rescale_factor": 0}, "not what an image processor writes .*division by zero"),
        ({**CONVNEXT, "crop_pct": 2.0}, "cannot cut 48 from a short side of 24"),
        ({**CONVNEXT, "size": {"shortest_edge": 383}, "crop_pct": 0.01}, "less than or equal to 4096"),
        ({**CONVNEXT, "image_mean": "half"}, "not what an image processor writes"),
        ({**CONVNEXT, "resample": None}, "resample null, wanted 2 or 3"),
        ({**CONVNEXT, "size": None}, "size null, wanted"),
        ({**BIT, "do_center_crop": None}, "do_center_crop null, beside a short side of 56"),
        ({**VIT, "do_pad": True}, "do_pad true, wanted false"),
        ({**VIT, "rescale_offset": True}, "rescale_offset true, which is not known here"),
        (
            {"image_processor_type": "EfficientNetImageProcessor"},
            "image_processor_type .*, which is not known here; known:",
        ),
        ({**VIT, "image_std": [0.5, -0.5, 0.5]}, "a std is above 0"),
        ({**VIT, "image_std": [0.5, 0.0, 0.5]}, "a std is above 0"),
        ({**VIT, "image_mean": [123.7, 116.3, 103.5], "image_std": [58.4, 57.1, 57.4]}, "divide by 255"),
        ({**VIT, "image_mean": [float("nan"), 0.5, 0.5]}, "wanted finite numbers|finite number"),
        ({**VIT, "image_mean": [0.5, 0.5]}, "one mean and one std for each channel"),
        ({**VIT, "do_rescale": "yes"}, "do_rescale 'yes', wanted true or false"),
    ],
    ids=str,
)
def test_what_is_done_to_images_otherwise_is_refused_by_name(facts: dict[str, Any], named: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match=named) as caught:
        find_weights(tmp_path)
    assert "preprocessor_config.json: " in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.medium
def test_a_nested_preprocessor_is_read_and_without_one_images_are_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    resnet_of_transformers(tmp_path, {})
    with pytest.raises(InputError, match="does not say how its images were normalised"):
        Predictor.load(tmp_path, CPU)
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": VIT, "processor_class": "X"}))
    assert Predictor.load(tmp_path, CPU).preparation.fit == "squash"
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(BIT))  # as the library, the nested one counts
    assert Predictor.load(tmp_path, CPU).preparation.fit == "squash"
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "X"}))
    assert Predictor.load(tmp_path, CPU).preparation.fit == "crop"
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="does not say how its images were normalised"):
        Predictor.load(tmp_path, CPU)


@pytest.mark.medium
def test_a_network_of_no_entry_of_the_catalogue_is_not_trained_on(tmp_path: Path) -> None:
    from deepres.runs.starting_weights import beginning

    pytest.importorskip("transformers")
    resnet_of_transformers(tmp_path, {"hidden_act": "gelu"})
    with pytest.raises(InputError, match=r"its network \(resnet_of_transformers, .*\) is none of the catalogue"):
        beginning(str(tmp_path))


# the files of a folder


@pytest.mark.medium
def test_other_forms_of_the_same_weights_are_read_without_running_code(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    net = resnet_of_transformers(tmp_path, {})
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no weights in it, wanted model.safetensors, pytorch_model.bin"):
        find_weights(tmp_path)
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    same_logits(tmp_path, net)
    (tmp_path / "pytorch_model.bin").unlink()
    torch.save({name: tensor.half() for name, tensor in tensors.items()}, tmp_path / "model.fp16.bin")
    with pytest.raises(InputError, match=r"there is model.fp16.bin: give that file, and the network with --model"):
        find_weights(tmp_path)


@pytest.mark.medium
def test_an_index_of_several_files_is_followed_and_what_lacks_is_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    net = resnet_of_transformers(tmp_path, {})
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {
        "model-1-of-2.safetensors": names[: len(names) // 2],
        "model-2-of-2.safetensors": names[len(names) // 2 :],
    }
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, tmp_path / file)
    places = {name: file for file, part in shards.items() for name in part}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    same_logits(tmp_path, net)
    index.write_text(json.dumps({"weight_map": {**places, "more": "model-1-of-2.safetensors"}}))
    with pytest.raises(InputError, match=r"index.json: more is not in model-1-of-2.safetensors"):
        find_weights(tmp_path)
    index.write_text(json.dumps({"weight_map": {**places, "more": "../secret.safetensors"}}))
    with pytest.raises(InputError, match=r"index.json: names \.\./secret.safetensors, which does not lie beside it"):
        find_weights(tmp_path)
    index.write_text(json.dumps([1]))
    with pytest.raises(InputError, match=r"index.json: .*index of tensors"):
        find_weights(tmp_path)


# timm


def written_by_timm(name: str, folder: Path, safe: bool = True, **arguments: Any) -> nn.Module:
    """The network with random weights, written by timm itself."""
    import timm
    from timm.models import save_for_hf

    torch.manual_seed(0)
    given = {"num_classes": 3, **arguments}
    net = shaken(timm.create_model(name, **given))
    save_for_hf(net, str(folder), safe_serialization=safe)
    return net


def pixels_of_timm(folder: Path, pictures: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """By timm's own evaluation transform on its own data configuration, resized in uint8 as torchvision's v2 does."""
    import timm
    from torchvision.transforms import Compose, v2

    for name in ("resize", "pad"):
        monkeypatch.setattr(f"torchvision.transforms.functional.{name}", getattr(v2.functional, name))
    with torch.device("meta"):
        wants = timm.data.resolve_model_data_config(timm.create_model(f"local-dir:{folder}", pretrained=False))
    *stages, _, scaling = timm.data.create_transform(**wants, is_training=False).transforms
    return [scaling(Compose(stages)(picture) / 255) for picture in pictures]


WHOLE = (
    "resnet18",
    "resnet50",
    "resnet18d",
    "resnet50c",
    "seresnet18",
    "ecaresnet26t",
    "res2net50_26w_4s",
    "resnest14d",
    "skresnet18",
    "resnext50_32x4d",
    "resnetv2_50",
    "densenet121",
)
"""One of each kind is compared with its weights; of the others, which parity compares too, the description is."""
ALL = [pytest.param(name, marks=() if name == "resnet18" else pytest.mark.slow) for name in sorted(set(TIMM.values()))]


@pytest.mark.long
@pytest.mark.parametrize("name", ALL)
def test_every_network_that_timm_writes_is_the_same_here(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = pytest.importorskip("timm")
    from timm.models._hub import save_config_for_hf

    if name in WHOLE:
        same_logits(tmp_path, written_by_timm(name, tmp_path, safe=name != "resnet18"), 32)
    else:
        with torch.device("meta"):
            save_config_for_hf(timm.create_model(name, num_classes=3), tmp_path / "config.json")
    stored = said_by(tmp_path)
    assert stored.description is not None
    ours = next(ours for ours, theirs in TIMM.items() if theirs == name)
    assert stored.description.replace(input=(3, 224, 224)) == architecture(ours, num_classes=3).replace(
        input=(3, 224, 224)
    )
    prepared = prepared_for(stored, stored.description)
    predictor = Predictor(nn.Identity(), (), prepared.preparation, prepared.statistics, CPU)  # type: ignore[arg-type]
    for picture, pixels in zip(PICTURES, pixels_of_timm(tmp_path, PICTURES, monkeypatch), strict=True):
        close(predictor.prepare(picture), pixels)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet18", {"act_layer": "silu", "in_chans": 1, "num_classes": 1}),
        ("seresnet18", {"act_layer": "gelu", "drop_rate": 0.3, "drop_path_rate": 0.1, "zero_init_last": False}),
        pytest.param("resnet18", {"output_stride": 32, "global_pool": "fast"}, marks=pytest.mark.slow),
        pytest.param("resnet18d", {"act_layer": "swish"}, marks=pytest.mark.slow),
        pytest.param("densenet121", {"act_layer": "leaky_relu"}, marks=pytest.mark.slow),
        pytest.param("resnetv2_50", {"act_layer": "elu"}, marks=pytest.mark.slow),
        pytest.param("resnetrs50", {"act_layer": "silu"}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.medium
@pytest.mark.medium
def test_arguments_that_change_the_network_are_built(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("timm")
    same_logits(tmp_path, written_by_timm(name, tmp_path, **arguments), 32)


CFG: dict[str, Any] = {
    "input_size": [3, 48, 48],
    "crop_pct": 0.875,
    "interpolation": "bilinear",
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.25],
    "crop_mode": "center",
}
TIMMS: dict[str, Any] = {"architecture": "resnet18", "num_classes": 2, "pretrained_cfg": CFG}


def edited(edits: Mapping[str, Any]) -> dict[str, Any]:
    """The description with `edits`; dotted names are of the parts."""
    config = json.loads(json.dumps(TIMMS))
    for name, value in edits.items():
        *parts, last = name.split(".")
        inner = config
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return dict(config)


@pytest.mark.parametrize(
    "edits",
    [
        {},
        {"pretrained_cfg.crop_pct": 0.95},
        {"pretrained_cfg.crop_pct": None, "pretrained_cfg.interpolation": None},
        {"pretrained_cfg.mean": None, "pretrained_cfg.std": None, "pretrained_cfg.crop_mode": None},
        {"pretrained_cfg.crop_mode": "squash", "pretrained_cfg.crop_pct": 1.0},
        {"pretrained_cfg.crop_mode": "border", "pretrained_cfg.crop_pct": 1.0, "pretrained_cfg.mean": [0.5, 0.5, 0.5]},
        {"pretrained_cfg.test_input_size": [3, 64, 64], "pretrained_cfg.test_crop_pct": 1.0},
        {"pretrained_cfg.tag": "x", "pretrained_cfg.notes": ["y"], "pretrained_cfg.fixed_input_size": False},
        {"model_args.in_chans": 1, "pretrained_cfg.mean": [0.4], "pretrained_cfg.std": [0.2]},
        {"label_names": {"1": "bee", "0": "ant"}},
    ],
    ids=str,
)
@pytest.mark.medium
@pytest.mark.medium
def test_timms_configuration_gives_its_pixels(
    edits: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("timm")
    (tmp_path / "config.json").write_text(json.dumps(edited(edits)))
    stored = said_by(tmp_path)
    assert stored.description is not None
    prepared = prepared_for(stored, stored.description)
    ours = Predictor(nn.Identity(), (), prepared.preparation, prepared.statistics, CPU)  # type: ignore[arg-type]
    assert stored.classes == (("ant", "bee") if "label_names" in edits else ())
    assert ("eval --protocol center:64/64" in prepared.said) == ("pretrained_cfg.test_input_size" in edits)
    pictures = [picture[: stored.description.input[0]] for picture in PICTURES]
    for picture, pixels in zip(pictures, pixels_of_timm(tmp_path, pictures, monkeypatch), strict=True):
        close(ours.prepare(picture), pixels)


@pytest.mark.parametrize(
    ("edits", "named"),
    [
        ({"model_args.global_pool": "avgmax"}, "model_args: global_pool 'avgmax', wanted 'avg'"),
        ({"model_args.global_pool": None}, "model_args: global_pool null, wanted 'avg'"),
        ({"model_args.act_layer": None}, "model_args: act_layer null, wanted"),
        ({"model_args.in_chans": None}, "model_args: in_chans null, wanted a value"),
        ({"global_pool": "max"}, "config.json: global_pool 'max', wanted"),
        ({"model_args.output_stride": 8}, "model_args: output_stride 8, wanted 32"),
        ({"model_args.act_layer": "hard_swish"}, "model_args: act_layer 'hard_swish', wanted"),
        ({"model_args.aa_layer": "blurpool"}, "model_args: aa_layer 'blurpool', which is not known here"),
        ({"model_args.block_args": {"attn_layer": "eca"}}, "model_args: block_args .*, which is not known here"),
        ({"model_args.norm_layer": "groupnorm"}, "model_args: norm_layer 'groupnorm', which is not known here"),
        ({"model_args.num_classes": 5}, "model_args: num_classes 5, and 2 beside it"),
        ({"pretrained_cfg.interpolation": "lanczos"}, "interpolation 'lanczos', wanted 'bilinear' or 'bicubic'"),
        ({"pretrained_cfg.interpolation": "random"}, "interpolation 'random', wanted"),
        ({"pretrained_cfg.crop_mode": "squash"}, "crop_mode 'squash', with crop_pct 0.875"),
        ({"pretrained_cfg.crop_mode": "border", "pretrained_cfg.crop_pct": 1}, "crop_mode 'border', whose bars have"),
        ({"pretrained_cfg.crop_mode": "corner"}, "crop_mode 'corner', wanted"),
        ({"pretrained_cfg.input_size": [3, 48, 64]}, r"input_size \[3, 48, 64\], wanted a square"),
        ({"pretrained_cfg.custom_load": True}, "custom_load true, wanted false"),
        ({"pretrained_cfg.label_offset": 1}, "label_offset 1, wanted 0"),
        ({"pretrained_cfg.std": [0.2, -0.3, 0.25]}, "a std is above 0"),
        ({"pretrained_cfg.std": [0, 0, 0]}, "a std is above 0"),
        ({"pretrained_cfg.mean": [123.7, 116.3, 103.5], "pretrained_cfg.std": [58.4, 57.1, 57.4]}, "divide by 255"),
        ({"pretrained_cfg.mean": [0.5]}, "one mean and one std for each channel"),
        ({"pretrained_cfg.padding": 3}, "pretrained_cfg: padding 3, which is not known here"),
        ({"label_names": ["a", "b", "c"]}, "label_names .*, 3 names; wanted one for each of the 2 logits"),
        ({"label_names": {"0": "a", "7": "b"}}, "label_names .*, 2 names; wanted one for each of the 2 logits, 0 to 1"),
        ({"reparam": True}, "config.json: reparam true, which is not known here"),
        ({"architecture": "vit_tiny_patch16_224"}, "timm's vit_tiny_patch16_224 is no network of this family"),
        ({"model_args": [1]}, "config.json: not a description"),
        ({"pretrained_cfg.crop_pct": float("nan")}, "config.json: not a description"),
        ({"pretrained_cfg.crop_pct": -1}, "resize: input should be greater than or equal to 1"),
        ({"pretrained_cfg.input_size": [3, 48]}, "config.json: not a description"),
        ({"pretrained_cfg.input_size": [3, 0, 0]}, "config.json"),
        ({"num_classes": -2}, "config.json: .*-2"),
    ],
    ids=str,
)
def test_what_timm_would_do_otherwise_is_refused_by_name(edits: dict[str, Any], named: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(edited(edits)))
    with pytest.raises(InputError, match=named) as caught:
        find_weights(tmp_path)
    assert "\n" not in caught.value.message


def test_what_transformers_wraps_of_timm_is_timms(tmp_path: Path) -> None:
    wrapper = {
        "architectures": ["TimmWrapperForImageClassification"],
        "model_type": "timm_wrapper",
        "do_pooling": True,
        "initializer_range": 0.02,
        "label_names": ["LABEL_0", "LABEL_1"],
        "model_args": None,
        "dtype": "float32",
        "transformers_version": "5.23.0",
    }
    (tmp_path / "config.json").write_text(json.dumps({**TIMMS, **wrapper}))
    stored = said_by(tmp_path)
    assert stored.description == architecture("resnet18", num_classes=2, input=(3, 48, 48))
    assert stored.classes == ()
    for field, value in {"do_pooling": False, "problem_type": "multi_label_classification"}.items():
        (tmp_path / "config.json").write_text(json.dumps({**TIMMS, **wrapper, field: value}))
        with pytest.raises(InputError, match=f"{field} .*, wanted"):
            said_by(tmp_path)


def test_a_file_of_timms_first_versions_has_all_fields_in_one(tmp_path: Path) -> None:
    config = {"architecture": "resnet18", "num_features": 512, "num_classes": 2, "labels": ["ant", "bee"], **CFG}
    (tmp_path / "config.json").write_text(json.dumps(config))
    stored = said_by(tmp_path)
    assert stored.classes == ("ant", "bee")
    assert stored.preprocessing is not None
    assert (stored.preprocessing.mean, stored.preprocessing.resize) == ((0.5, 0.4, 0.3), 54)
