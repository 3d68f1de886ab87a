"""The published residual networks of He et al. and of those who edited them: wide, grouped, squeezed, blurred."""

from typing import Any

from deepres.arch.catalogue.entry import Entry
from deepres.arch.families.resnet import ResNetConfig

HE_2015 = "Deep Residual Learning, He et al. 2015, arXiv 1512.03385"
HE_2016 = "Identity Mappings, He et al. 2016, arXiv 1603.05027"
DEPTH_2016 = "Stochastic Depth, Huang et al. 2016, arXiv 1603.09382"
WIDE = "Wide Residual Networks, Zagoruyko & Komodakis 2016, arXiv 1605.07146"
RESNEXT = "Aggregated Residual Transformations, Xie et al. 2017, arXiv 1611.05431"
SQUEEZE = "Squeeze-and-Excitation, Hu et al. 2018, arXiv 1709.01507"
TRICKS = "Bag of Tricks, He et al. 2019, arXiv 1812.01187"
BLUR = "Making Convolutional Networks Shift-Invariant Again, Zhang 2019, arXiv 1904.11486"
REVISITED = "Revisiting ResNets, Bello et al. 2021, arXiv 2103.07579"

_DEPTHS: dict[int, tuple[str, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
    200: ("bottleneck", (3, 24, 36, 3)),
}
_RS_DEPTHS = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    270: (4, 29, 53, 4),
    350: (4, 36, 72, 4),
    420: (4, 44, 87, 4),
}
_FLOPS = {18: "1.8e9 FLOPs", 34: "3.6e9 FLOPs", 50: "3.8e9 FLOPs", 101: "7.6e9 FLOPs", 152: "11.3e9 FLOPs"}
_MILLIONS = {20: "0.27M", 32: "0.46M", 44: "0.66M", 56: "0.85M", 110: "1.7M", 1202: "19.4M"}
_FIELD = "as torchvision and timm have it"


def resnet_imagenet(name: str, depth: int, **fields: Any) -> ResNetConfig:
    """A stage of 64, 128, 256 and 512 channels each, by the depths of the papers' tables."""
    unit, depths = _DEPTHS[depth]
    return ResNetConfig.model_validate({"name": name, "unit": unit, "depths": depths, **fields})


def resnet_cifar(name: str, n: int, widths: tuple[int, ...] = (16, 32, 64), **fields: Any) -> ResNetConfig:
    """A 3x3 of 16 (or `stem_width`), then n units a stage on maps of 32, 16 and 8 pixels."""
    plain = {"input": (3, 32, 32), "num_classes": 10, "stem": "cifar", "stem_width": 16}
    return ResNetConfig.model_validate({"name": name, "depths": (n,) * 3, "widths": widths, **plain, **fields})


def _pre(**style: Any) -> dict[str, Any]:
    return {"stem_norm": False, "style": {"order": "pre", **style}}


def _he_2015() -> list[Entry]:
    v1: dict[str, Any] = {"style": {"stride_on": "1x1"}}
    released = "the authors' Caffe release: max pool without padding, partial windows kept"
    entries = [
        *(Entry(resnet_imagenet(f"plain{d}", d, shortcut="none"), HE_2015, "Tables 1, 2", _FLOPS[d]) for d in (18, 34)),
        *(
            Entry(resnet_imagenet(f"resnet{d}", d), HE_2015, "Table 1", _FLOPS[d], f"option B, {_FIELD}")
            for d in (18, 34)
        ),
        Entry(resnet_imagenet("resnet34_a", 34, shortcut="A"), HE_2015, "Tables 2, 3", _FLOPS[34]),
        Entry(resnet_imagenet("resnet34_b", 34, shortcut="B"), HE_2015, "Tables 3, 4", _FLOPS[34]),
        Entry(resnet_imagenet("resnet34_c", 34, shortcut="C"), HE_2015, "Tables 3, 4", _FLOPS[34]),
    ]
    for d in (50, 101, 152):
        note = f"stride in the 3x3 (v1.5), {_FIELD}; the paper's own is resnet{d}_v1"
        entries.append(Entry(resnet_imagenet(f"resnet{d}", d), HE_2015, "Table 1", "", note))
    for d in (50, 101, 152):
        entries.append(Entry(resnet_imagenet(f"resnet{d}_v1", d, **v1), HE_2015, "Tables 1, 3, 4", _FLOPS[d]))
    for d in (50, 101, 152):
        bias = d == 50
        caffe = resnet_imagenet(f"resnet{d}_caffe", d, pool_ceil=True, stem_bias=bias, **v1)
        entries.append(Entry(caffe, HE_2015, "release", "", released + ("; conv1 has a bias" if bias else "")))
    for d in (20, 32, 44, 56, 110):
        entries.append(Entry(resnet_cifar(f"plain{d}_cifar", d // 6, shortcut="none"), HE_2015, "section 4.2, Fig. 6"))
    for d, printed in _MILLIONS.items():
        config = resnet_cifar(f"resnet{d}_cifar", d // 6, shortcut="A")
        entries.append(Entry(config, HE_2015, "section 4.2, Table 6", f"{printed} parameters"))
    return entries


def _he_2016() -> list[Entry]:
    deep: dict[str, Any] = {"unit": "bottleneck", "shortcut": "B"}
    counted = {164: "1.7M parameters", 1001: "10.2M parameters"}
    entries = []
    for d, printed in counted.items():
        original = resnet_cifar(f"resnet{d}_cifar", d // 9, **deep)
        entries.append(Entry(original, HE_2016, "Table 3, original unit", printed))
    for d, printed in counted.items():
        note = "" if d == 164 else "printed without the norms' parameters"
        entries.append(
            Entry(resnet_cifar(f"preresnet{d}_cifar", d // 9, **deep, **_pre()), HE_2016, "Tables 3, 4", printed, note)
        )
    one_layer: dict[str, Any] = {"unit": "single", "shortcut": "A"}
    entries += [
        Entry(resnet_cifar("preresnet110_cifar", 18, shortcut="A", **_pre()), HE_2016, "Tables 2, 3"),
        Entry(resnet_cifar("resnet110_single_cifar", 36, **one_layer), HE_2016, "Table 3, 1-layer skip, original unit"),
        Entry(resnet_cifar("preresnet110_single_cifar", 36, **one_layer, **_pre()), HE_2016, "Table 3, 1-layer skip"),
        Entry(
            resnet_imagenet("resnet200", 200),
            HE_2016,
            "Table 5",
            "",
            "stride in the 3x3 (v1.5), as timm has it; the paper's own is resnet200_v1",
        ),
        Entry(resnet_imagenet("resnet200_v1", 200, style={"stride_on": "1x1"}), HE_2016, "Table 5, original unit"),
    ]
    for d in (18, 34, 50, 101, 152, 200):
        pre: dict[str, Any] = {"style": {"order": "pre", "stride_on": "1x1"}}
        entries.append(
            Entry(resnet_imagenet(f"preresnet{d}", d, **pre), HE_2016, "Table 5" if d > 101 else "section 4")
        )
    for d in (50, 101, 152):
        note = "timm's: norm and ReLU of the stem stand in the first unit, stride in the 3x3"
        entries.append(Entry(resnet_imagenet(f"resnetv2_{d}", d, **_pre()), HE_2016, "timm", "", note))
    return entries


def _descendants() -> list[Entry]:
    entries = []
    for d, size in ((110, "1.7M parameters"), (1202, "")):
        config = resnet_cifar(f"resnet{d}_stochastic_cifar", d // 6, shortcut="A", drop_path=0.5)
        entries.append(Entry(config, DEPTH_2016, "linear decay to p = 0.5", size))
    for d, k, printed in ((16, 4, "2.7M"), (16, 8, "11.0M"), (28, 10, "36.5M"), (40, 4, "8.9M")):
        config = resnet_cifar(f"wrn{d}_{k}_cifar", (d - 4) // 6, (16 * k, 32 * k, 64 * k), **_pre())
        entries.append(Entry(config, WIDE, "CIFAR", f"{printed} parameters", "dropout: style.dropout=0.3"))
    for d in (50, 101):
        printed = "68.9M parameters" if d == 50 else ""
        entries.append(
            Entry(resnet_imagenet(f"wide_resnet{d}_2", d, width_factor=2), WIDE, "ImageNet", printed, _FIELD)
        )
    for d, groups, base in ((50, 32, 4), (101, 32, 4), (101, 32, 8), (101, 64, 4)):
        config = resnet_imagenet(f"resnext{d}_{groups}x{base}d", d, groups=groups, width_factor=base / 64)
        entries.append(Entry(config, RESNEXT, "ImageNet"))
    for groups, printed in ((8, "34.4M parameters"), (16, "68.1M parameters")):
        inner: dict[str, Any] = {"unit": "bottleneck", "stem_width": 64, "groups": groups}
        config = resnet_cifar(f"resnext29_{groups}x64d_cifar", 3, (64, 128, 256), **inner)
        entries.append(Entry(config, RESNEXT, "CIFAR", printed, "units as the authors released them: original order"))
    for d in (18, 34, 50, 101, 152):
        entries.append(Entry(resnet_imagenet(f"seresnet{d}", d, style={"se_ratio": 1 / 16}), SQUEEZE, "ImageNet"))
    for d in (50, 101, 152):
        entries.append(Entry(resnet_imagenet(f"resnet{d}c", d, stem="deep"), TRICKS, "ResNet-C"))
    for d in (18, 34, 50, 101, 152, 200):
        config = resnet_imagenet(f"resnet{d}d", d, stem="deep", style={"projection": "pool"})
        entries.append(Entry(config, TRICKS, "ResNet-D"))
    for d in (18, 34, 50, 101, 152):
        config = resnet_imagenet(f"resnet{d}_blur4", d, style={"blur": 4})
        entries.append(Entry(config, BLUR, "ImageNet", "", "filter [1, 3, 3, 1]; others: style.blur"))
    for d, depths in _RS_DEPTHS.items():
        fields = {"unit": "bottleneck", "depths": depths, "stem": "rs"}
        style = {"projection": "pool", "se_ratio": 0.25}
        config = ResNetConfig.model_validate({"name": f"resnetrs{d}", **fields, "style": style})
        entries.append(
            Entry(config, REVISITED, "ImageNet", "", "dropout and drop-path by recipe: head_dropout, drop_path")
        )
    return entries


ENTRIES: tuple[Entry, ...] = (*_he_2015(), *_he_2016(), *_descendants())
