"""`create_model` and its networks as timm's: words, shapes, and the same numbers by independent ways."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch.nn.functional import conv2d
from torchvision.ops import FeaturePyramidNetwork

import deepres
from deepres.arch.catalogue import lookup
from deepres.arch.catalogue.tags import TAGS, published
from deepres.arch.dilated import with_output_stride
from deepres.base.errors import InputError
from deepres.nn.build import build
from deepres.nn.feature_info import FeatureInfo
from deepres.nn.features import FeatureNetwork
from deepres.nn.weights.convert import TIMM

TINY = "resnet18+depths=1,1,1,1+widths=8,16,24,32+stem_width=8"
X = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return deepres.create_model(TINY, num_classes=5).eval()


@pytest.mark.medium
def test_maps_are_those_of_the_whole_network(network: torch.nn.Module) -> None:
    backbone = deepres.create_model(TINY, num_classes=5, features_only=True).eval()
    assert backbone.feature_info.channels() == [8, 8, 16, 24, 32]
    assert backbone.feature_info.reduction() == [2, 4, 8, 16, 32]
    assert backbone.feature_info.module_name() == ["stem.act", "stage1", "stage2", "stage3", "stage4"]
    maps = backbone(X)
    whole = network.features(X)
    stem = network.stem
    assert torch.equal(maps[0], stem.act(stem.norm(conv2d(X, stem.conv.weight, stride=2, padding=3))))
    assert [torch.equal(one, whole[name]) for one, name in zip(maps[1:], list(whole)[1:], strict=True)] == [True] * 4
    for one, info in zip(maps, backbone.feature_info, strict=True):
        assert one.shape == (2, info["num_chs"], 64 // info["reduction"], 64 // info["reduction"])


def test_maps_are_chosen_and_what_none_needs_is_left_out() -> None:
    backbone = deepres.create_model(TINY, features_only=True, out_indices=(1, -3))
    assert (backbone.feature_info.channels(), len(backbone(X))) == ([8, 16], 2)
    assert not any("stage3" in name for name, _ in backbone.named_parameters())
    fpn = FeaturePyramidNetwork(backbone.feature_info.channels(), 12)
    maps = fpn(OrderedDict(zip("ab", backbone(X), strict=True)))
    assert [tuple(one.shape) for one in maps.values()] == [(2, 12, 16, 16), (2, 12, 8, 8)]


@pytest.mark.parametrize("name", ["resnet20_cifar", "resnetv2_50", "densenet121", "wrn16_4_cifar", "highway19_cifar"])
def test_every_family_has_maps(name: str) -> None:
    info = lookup.entry(name).config.architecture()
    taps = FeatureInfo.of(info)
    assert len(taps) >= 4
    assert taps.channels()[-1] >= 16


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("unit", ["basic", "bottleneck"])
@pytest.mark.medium
def test_every_layer_sees_what_it_saw(stride: int, unit: str) -> None:
    """Of the finer map every 32 / stride-th place holds what the coarse one does."""
    name = f"{TINY}+unit={unit}"
    coarse = deepres.create_model(name, num_classes=0).eval()
    fine = deepres.create_model(name, num_classes=0, output_stride=stride).eval()
    assert list(coarse.state_dict()) == list(fine.state_dict())
    every = 32 // stride
    maps = fine.forward_features(X)
    assert maps.shape[2:] == (64 // stride, 64 // stride)
    torch.testing.assert_close(maps[:, :, ::every, ::every], coarse.forward_features(X))


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.medium
def test_dilation_is_torchvisions(stride: int) -> None:
    from torchvision.models import resnet50
    from torchvision.models.resnet import ResNet

    theirs: ResNet
    with torch.device("meta"):
        theirs = resnet50(replace_stride_with_dilation=[False, stride == 8, True])
        ours = build(with_output_stride(lookup.architecture("resnet50"), stride))
    told = [
        sorted(
            (conv.kernel_size, conv.stride, conv.dilation, conv.padding)
            for conv in whole.modules()
            if isinstance(conv, torch.nn.Conv2d)
        )
        for whole in (ours, theirs)
    ]
    assert told[0] == told[1]


@pytest.mark.medium
def test_a_classifier_is_exchanged(network: torch.nn.Module) -> None:
    other = deepres.create_model(TINY, num_classes=5)
    assert isinstance(other.get_classifier(), torch.nn.Linear)
    other.reset_classifier(7)
    assert (other.num_classes, other(X).shape, other.description.num_classes) == (7, (2, 7), 7)
    other.reset_classifier(0)
    assert (other(X).shape, type(other.get_classifier())) == ((2, 32), torch.nn.Identity)
    other.reset_classifier(0, "")
    assert other(X).shape == (2, 32, 2, 2)
    other.reset_classifier(3, "avg")
    assert other(X).shape == (2, 3)
    with pytest.raises(InputError, match="global_pool: given 'max'"):
        other.reset_classifier(3, "max")
    unpooled = deepres.create_model(TINY, num_classes=0, global_pool="")
    assert torch.equal(unpooled.eval()(X), unpooled.forward_features(X))


@pytest.mark.medium
def test_units_computed_twice_give_the_same(network: torch.nn.Module) -> None:
    def gradients(enable: bool) -> list[torch.Tensor]:
        one = deepres.create_model(TINY, num_classes=5).train()
        one.set_grad_checkpointing(enable)
        one(X).sum().backward()
        assert all(parameter.grad is not None for parameter in one.parameters())
        return [parameter.grad for parameter in one.parameters() if parameter.grad is not None]

    assert all(map(torch.equal, gradients(True), gradients(False)))
    one = deepres.create_model(TINY)
    one.set_grad_checkpointing()
    one.set_grad_checkpointing(False)
    assert "forward" not in vars(one)


@pytest.mark.medium
def test_what_is_saved_is_read(tmp_path: Path, network: torch.nn.Module) -> None:
    folder = network.save_pretrained(tmp_path / "one", classes=list("abcde"))
    assert torch.equal(deepres.load(folder)(X), network(X))
    assert torch.equal(deepres.load(f"local-dir:{folder}")(X), network(X))
    other = deepres.create_model(TINY, num_classes=5, checkpoint_path=folder).eval()
    assert torch.equal(other(X), network(X))
    with pytest.raises(InputError, match="classes: given 1 names of 5 classes"):
        network.save_pretrained(tmp_path / "two", classes=["a"])


def test_what_a_network_says_of_itself(network: torch.nn.Module) -> None:
    told = network.default_cfg
    assert (told["first_conv"], told["classifier"], told["num_classes"]) == ("stem.conv", "head.fc", 5)
    assert (told["input_size"], told["pool_size"]) == ([3, 224, 224], [7, 7])
    assert "mean" not in told  # no weights say it


def test_drop_rates_are_in_the_description() -> None:
    one = deepres.create_model(TINY, drop_path_rate=0.2, drop_rate=0.1)
    assert [type(m).__name__ for m in one.modules() if "Drop" in type(m).__name__].count("SampleDropPath") >= 3
    assert isinstance(one.head.dropout, torch.nn.Dropout)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"pretraned": True}, "create_model argument 'pretraned': unknown; did you mean pretrained"),
        ({"features_only": True, "out_indices": (9,)}, "out_indices: given 9; the maps are 0 to 4"),
        ({"features_only": True, "out_indices": (2, 1)}, r"out_indices: given \(2, 1\); wanted rising numbers"),
        ({"out_indices": (1,)}, "out_indices: of the list that features_only=True gives"),
        ({"output_stride": 12}, "output_stride: given 12; wanted 8, 16 or 32"),
        ({"output_stride": 2}, "output_stride: given 2; the stem of resnet18 alone has 4"),
        ({"global_pool": "max"}, "global_pool: given 'max'; wanted 'avg', or ''"),
        ({"drop_path_rate": 1.5}, "drop_path_rate: given 1.5; wanted a number from 0 to below 1"),
        ({"pretrained": True, "weights": "x.pth"}, "pretrained, checkpoint_path and weights: each says"),
        ({"pretrained": 1}, "pretrained: given 1"),
    ],
)
def test_words_that_are_refused(words: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        deepres.create_model(TINY, **words)  # type: ignore[arg-type]


def test_pools_of_stages_have_no_dilation() -> None:
    with pytest.raises(InputError, match="resnet50d stage4 has a avg_pool, which has no dilation"):
        with_output_stride(lookup.architecture("resnet50d"), 16)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        *((name, "wrn28_10_cifar") for name in ("wrn_28_10", "wideresnet28_10", "WRN-28-10", "wide_resnet28_10")),
        ("cifar10_resnet20", "resnet20_cifar_b"),
        ("cifar100_resnet56", "resnet56_cifar_b+num_classes=100"),
        ("preact_resnet18", "resnet18_cifar64+style.order=pre+stem_norm=false+final=false"),
        ("gluon_resnet50_v1b", "resnet50"),
        ("ssl_resnext50_32x4d", "resnext50_32x4d"),
        ("ResNet-50", "resnet50"),
        ("se_resnet50", "seresnet50"),
        ("densenet_bc_100_12", "densenet_bc100_k12_cifar"),
        ("fasterrcnn-resnet50-fpn", "fasterrcnn_resnet50_fpn"),
    ],
)
def test_names_of_others(theirs: str, ours: str) -> None:
    if ours.startswith("fasterrcnn"):
        found = lookup.detector_entry(theirs)
        assert found is not None
        assert found.config.name == ours
        return
    assert lookup.entry(theirs).config == lookup.entry(ours).config
    assert lookup.names(theirs) == [ours]


def test_kuangliu_counts() -> None:
    with torch.device("meta"):
        one = build(lookup.architecture("preact_resnet18"))
    assert sum(p.numel() for p in one.parameters()) == 11_171_146  # PreActResNet18 of pytorch-cifar


def test_a_pruned_network_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"ecaresnet50d_pruned': another network .* pruned channel by channel"):
        lookup.entry("ecaresnet50d_pruned")


def test_another_network_of_a_like_name_is_refused() -> None:
    with pytest.raises(InputError, match="resnetblur50': another network than any here: timm's has max pool of 3"):
        lookup.entry("resnetblur50")


def test_lists_of_models() -> None:
    trained = deepres.list_models(pretrained=True)
    assert set(trained) == set(TAGS)
    assert deepres.list_models("*101*", pretrained=True, module="densenet") == []
    assert deepres.list_models(["densenet121", "wide*"], pretrained=True) == [
        "wide_resnet50_2",
        "wide_resnet101_2",
        "densenet121",
    ]
    assert "fasterrcnn_resnet50_fpn" in deepres.list_models(module="detector")
    with pytest.raises(InputError, match="module 'resnets': unknown; did you mean resnet"):
        deepres.list_models(module="resnets")
    with pytest.raises(InputError, match="no weights are published by that name"):
        published("resnet20_cifar")


def test_backbones_are_plain_modules() -> None:
    assert isinstance(deepres.create_model(TINY, features_only=True), FeatureNetwork)


@pytest.mark.medium
def test_torch_hub_finds_the_catalogue() -> None:
    root = str(Path(__file__).parents[2])
    one = torch.hub.load(root, "resnet20_cifar", source="local", num_classes=3)  # type: ignore[no-untyped-call]
    assert one(X).shape == (2, 3)


@pytest.mark.medium
def test_a_name_alone_means_the_weights_that_timm_means() -> None:
    timm = pytest.importorskip("timm")
    assert {name: timm.models.get_pretrained_cfg(name).tag for name in TAGS} == TAGS
    assert {name for name in TIMM if timm.models.get_pretrained_cfg(name).has_weights} == set(TAGS)


@pytest.mark.medium
def test_a_place_is_its_network_with_its_weights(tmp_path: Path, network: torch.nn.Module) -> None:
    place = f"local-dir:{network.save_pretrained(tmp_path / 'one', list('abcde'), license='mit')}"
    assert torch.equal(deepres.create_model(place).eval()(X), network(X))
    assert torch.equal(deepres.create_model(place, pretrained=True).eval()(X), network(X))
    assert not torch.equal(deepres.create_model(place, pretrained=False, seed=1).eval()(X), network(X))
    assert deepres.create_model(place, num_classes=3)(X).shape == (len(X), 3)
    assert deepres.create_model(place, features_only=True)(X)[0].shape[0] == len(X)
    assert "license: mit" in (tmp_path / "one" / "README.md").read_text()
    with pytest.raises(InputError, match="a place, which says its weights"):
        deepres.create_model(place, weights=tmp_path / "one")


@pytest.mark.medium
def test_timm_reads_what_is_saved(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    network = deepres.create_model("resnet18", num_classes=4, seed=3).eval()
    place = f"local-dir:{network.save_pretrained(tmp_path / 'one', list('abcd'))}"
    theirs, x = timm.create_model(place, pretrained=True).eval(), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(theirs(x), network(x))
        assert torch.equal(deepres.create_model(place).eval()(x), network(x))


@pytest.mark.medium
def test_a_network_goes_to_a_hub_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: torch.nn.Module
) -> None:
    """The hub is a folder here."""
    hub = pytest.importorskip("huggingface_hub")
    there, sent = tmp_path / "hub", list[tuple[str, ...]]()

    def upload(
        self: object, *, repo_id: str, folder_path: Path, commit_message: str, ignore_patterns: list[str]
    ) -> None:
        there.mkdir(exist_ok=True)
        files = [file for file in sorted(folder_path.iterdir()) if file.name not in ignore_patterns]
        sent.append(tuple(file.name for file in files))
        for file in files:
            (there / file.name).write_bytes(file.read_bytes())

    monkeypatch.setattr(hub.HfApi, "create_repo", lambda self, name, **_: f"https://hub/{name}")
    monkeypatch.setattr(hub.HfApi, "file_exists", lambda self, name, file: (there / file).exists())
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload)
    monkeypatch.setattr(hub, "hf_hub_download", lambda name, file, **_: str(there / file))
    assert network.push_to_hub("me/net", list("abcde")) == "https://hub/me/net"
    assert network.push_to_hub("me/net", list("abcde")) == "https://hub/me/net"
    assert sent == [("README.md", "config.json", "model.safetensors"), ("config.json", "model.safetensors")]
    assert torch.equal(deepres.create_model("hf-hub:me/net").eval()(X), network(X))

    def refused(*_: object, **__: object) -> None:
        raise OSError("401 Client Error.\nmore")

    monkeypatch.setattr(hub.HfApi, "create_repo", refused)
    with pytest.raises(InputError, match=r"^push_to_hub me/net: 401 Client Error\.; hf auth login"):
        network.push_to_hub("me/net")
