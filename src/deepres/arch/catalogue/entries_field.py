"""Networks that the field trains and no paper prints: CIFAR's with projections, ImageNet's for 32 px, Keras's."""

from typing import Any

from deepres.arch.catalogue.entries_resnet import resnet_cifar, resnet_imagenet
from deepres.arch.catalogue.entry import Entry
from deepres.arch.families.resnet import ResNetConfig

FIELD = "The field's networks for CIFAR, after He et al. 2015, arXiv 1512.03385"
TIMM = "Residual networks that timm trained and no paper prints, github.com/huggingface/pytorch-image-models"
TINY = "MLPerf Tiny Benchmark, Banbury et al. 2021, arXiv 2106.07597"


_D: dict[str, Any] = {"stem": "deep"}
_T: dict[str, Any] = {"stem": "tiered"}
_18, _26, _34, _50 = (2, 2, 2, 2), (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 6, 3)
_101, _152, _200, _269 = (3, 4, 23, 3), (3, 8, 36, 3), (3, 24, 36, 3), (3, 30, 48, 8)
_32X4, _32X8 = {"groups": 32, "width_factor": 4 / 64}, {"groups": 32, "width_factor": 8 / 64}
_64X4 = {"groups": 64, "width_factor": 4 / 64}
_POOLED = {"projection": "pool"}
_SQUEEZED = {"se_ratio": 1 / 16}
_BOTH = {**_POOLED, **_SQUEEZED}
_ECA = {**_POOLED, "eca_kernel": "auto"}
_SK: dict[str, Any] = {"kernels": "halves"}
_SK_FEW: dict[str, Any] = {"kernels": "halves", "kernels_ratio": 1 / 8, "kernels_multiple": 16}
_SK_WHOLE: dict[str, Any] = {"kernels": "whole", "kernels_multiple": 32}
_WIDE_STEM: dict[str, Any] = {**_D, "stem_width": 128}
_V2: dict[str, Any] = {"stem_norm": False, "style": {"order": "pre", "activated": "changing"}}
_V2_D: dict[str, Any] = {**_D, "stem_norm": False, "style": {"order": "pre", "activated": "changing", **_POOLED}}
_OF_TIMM: dict[str, dict[str, Any]] = {
    "resnet26": {"depths": (2, 2, 2, 2)},
    "resnet26d": {"depths": (2, 2, 2, 2), **_D, "style": _POOLED},
    "resnet50_gn": {"depths": _50, "style": {"norm": "group"}},
    "resnext50d_32x4d": {"depths": _50, **_32X4, **_D, "style": _POOLED},
    "seresnext50_32x4d": {"depths": _50, **_32X4, "style": _SQUEEZED},
    "seresnext101_32x4d": {"depths": _101, **_32X4, "style": _SQUEEZED},
    "seresnext101_32x8d": {"depths": _101, **_32X8, "style": _SQUEEZED},
    "seresnext101_64x4d": {"depths": _101, **_64X4, "style": _SQUEEZED},
    "seresnext26d_32x4d": {"depths": _26, **_32X4, **_D, "style": _BOTH},
    "seresnext101d_32x8d": {"depths": _101, **_32X8, **_D, "style": _BOTH},
    "seresnet152d": {"depths": _152, **_D, "style": _BOTH},
    "seresnet200d": {"depths": _200, **_D, "style": _BOTH},
    "seresnet269d": {"depths": _269, **_D, "style": _BOTH},
    "resnet50s": {"depths": _50, **_WIDE_STEM},
    "resnet101s": {"depths": _101, **_WIDE_STEM},
    "resnet152s": {"depths": _152, **_WIDE_STEM},
    "resnet10t": {"unit": "basic", "depths": (1, 1, 1, 1), **_T, "style": _POOLED},
    "resnet14t": {"depths": (1, 1, 1, 1), **_T, "style": _POOLED},
    "resnet26t": {"depths": _26, **_T, "style": _POOLED},
    "resnet50t": {"depths": _50, **_T, "style": _POOLED},
    "seresnet50t": {"depths": _50, **_T, "style": _BOTH},
    "seresnext26t_32x4d": {"depths": _26, **_32X4, **_T, "style": _BOTH},
    "ecaresnet26t": {"depths": _26, **_T, "style": _ECA},
    "ecaresnet50t": {"depths": _50, **_T, "style": _ECA},
    "ecaresnet50d": {"depths": _50, **_D, "style": _ECA},
    "ecaresnet101d": {"depths": _101, **_D, "style": _ECA},
    "ecaresnet200d": {"depths": _200, **_D, "style": _ECA},
    "ecaresnet269d": {"depths": _269, **_D, "style": _ECA},
    "ecaresnetlight": {"depths": (1, 1, 11, 3), "style": _ECA},
    "ecaresnext26t_32x4d": {"depths": _26, **_32X4, **_T, "style": _ECA},
    "ecaresnext50t_32x4d": {"depths": _50, **_32X4, **_T, "style": _ECA},
    **{
        f"res2net50_{width}w_{scales}s": {"depths": _50, "width_factor": width / 64, "style": {"scales": scales}}
        for width, scales in ((26, 4), (14, 8), (26, 6), (26, 8), (48, 2))
    },
    "res2net101_26w_4s": {"depths": _101, "width_factor": 26 / 64, "style": {"scales": 4}},
    "res2next50": {"depths": _50, "width_factor": 4 / 64, "groups": 8, "style": {"scales": 4}},
    "res2net50d": {"depths": _50, "width_factor": 26 / 64, **_D, "style": {"scales": 4, **_POOLED}},
    "res2net101d": {"depths": _101, "width_factor": 26 / 64, **_D, "style": {"scales": 4, **_POOLED}},
    "resnest14d": {"depths": (1, 1, 1, 1), **_D, "style": {"radix": 2, **_POOLED}},
    "resnest26d": {"depths": _26, **_D, "style": {"radix": 2, **_POOLED}},
    "resnest50d": {"depths": _50, **_D, "style": {"radix": 2, **_POOLED}},
    "resnest101e": {"depths": _101, **_WIDE_STEM, "style": {"radix": 2, **_POOLED}},
    "resnest200e": {"depths": _200, **_WIDE_STEM, "style": {"radix": 2, **_POOLED}},
    "resnest269e": {"depths": _269, **_WIDE_STEM, "style": {"radix": 2, **_POOLED}},
    **{
        f"resnest50d_{radix}s{groups}x{width}d": {
            "depths": _50,
            "groups": groups,
            "width_factor": width / 64,
            **_D,
            "style": {"radix": radix, "radix_pool": "before", **_POOLED},
        }
        for radix, groups, width in ((4, 2, 40), (1, 4, 24))
    },
    "skresnet18": {"unit": "basic", "depths": _18, "style": _SK_FEW},
    "skresnet34": {"unit": "basic", "depths": _34, "style": _SK_FEW},
    "skresnet50": {"depths": _50, "style": _SK},
    "skresnet50d": {"depths": _50, **_D, "style": {**_SK, **_POOLED}},
    "skresnext50_32x4d": {"depths": _50, **_32X4, "style": _SK_WHOLE},
    "resnetv2_18": {"unit": "basic", "depths": _18, **_V2},
    "resnetv2_34": {"unit": "basic", "depths": _34, **_V2},
    "resnetv2_18d": {"unit": "basic", "depths": _18, **_V2_D},
    "resnetv2_34d": {"unit": "basic", "depths": _34, **_V2_D},
    "resnetv2_50d": {"depths": _50, **_V2_D},
    "resnetv2_101d": {"depths": _101, **_V2_D},
    "resnetv2_152d": {"depths": _152, **_V2_D},
    "resnetv2_50t": {"depths": _50, **_V2_D, **_T},
}


def _entries() -> list[Entry]:
    entries = []
    for d in (20, 32, 44, 56, 110, 1202):
        config = resnet_cifar(f"resnet{d}_cifar_b", d // 6, shortcut="B")
        note = f"projections (option B) where the shape changes; the paper's own is option A, resnet{d}_cifar"
        entries.append(Entry(config, FIELD, "distiller, chenyaofo, pytorchcv", "", note))
    for d in (18, 34, 50, 101, 152):
        small: dict[str, Any] = {"stem": "cifar", "input": (3, 32, 32), "num_classes": 10}
        config = resnet_imagenet(f"resnet{d}_cifar64", d, **small)
        entries.append(Entry(config, FIELD, "kuangliu, weiaicunzai", "", "a 3x3 of 64 instead of ImageNet's stem"))
    for name, fields in _OF_TIMM.items():
        config = ResNetConfig.model_validate({"name": name, "unit": "bottleneck", **fields})
        entries.append(Entry(config, TIMM, "timm", "", "stride in the 3x3"))
    keras: dict[str, Any] = {"eps": 1e-3, "bias": True, "padding": "same", "projection_norm": False}
    note = "Keras: biases, TensorFlow's padding, eps 0.001, no norm in shortcuts; pixels as they are, 0 to 255"
    tiny = resnet_cifar("resnet8_tiny", 1, style=keras)
    entries.append(Entry(tiny, TINY, "image classification", "78,666 parameters, norm statistics among them", note))
    return entries


ENTRIES: tuple[Entry, ...] = tuple(_entries())
