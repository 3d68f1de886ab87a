"""Names that others give to networks of the catalogue, or to edits of one; those of networks that are other ones."""

import re

_WRN = r"(?:wrn|wide_?resnet)[-_]?(16|28|40)[-_x]{0,2}(4|8|10)(?:_cifar)?"
_ALIASES: tuple[tuple[str, str], ...] = (
    (_WRN, r"wrn\1_\2_cifar"),
    (r"cifar10_resnet(20|32|44|56)", r"resnet\1_cifar_b"),
    (r"cifar100_resnet(20|32|44|56)", r"resnet\1_cifar_b+num_classes=100"),
    (r"resnet(20|32|44|56|110|1202)[-_]?cifar(?:10)?", r"resnet\1_cifar"),
    (r"(?:pre_?act_?)resnet[-_]?(18|34|50|101|152)", r"resnet\1_cifar64+style.order=pre+stem_norm=false+final=false"),
    (r"(?:pre_?act_?|pre)resnet[-_]?(110|164|1001)", r"preresnet\1_cifar"),
    (r"densenet_bc_(100)_(12)", r"densenet_bc\1_k\2_cifar"),
    (r"densenet_bc_(190)_(40)", r"densenet_bc\1_k\2_cifar"),
    (r"resnext(29)_(8|16)x64d", r"resnext\1_\2x64d_cifar"),
    (
        r"(?:tv_|gluon_|ssl_|swsl_)?(resnet(?:18|34|50|101|152)|resnext(?:50_32x4d|101_32x4d|101_32x8d|101_64x4d))",
        r"\1",
    ),
    (r"gluon_resnet(50|101|152)_v1b", r"resnet\1"),
    (r"gluon_resnet(50|101|152)_v1([cd])", r"resnet\1\2"),
    (r"se_?resnet_?(18|34|50|101|152)", r"seresnet\1"),
    (r"resnet(50|101|152)_?v2", r"preresnet\1"),
    (r"resnet(50|101|152)_?v1_5", r"resnet\1"),
    (r"resnet-(18|34|50|101|152)", r"resnet\1"),
    (r"wide-?resnet-?(50|101)-?2|wide_resnet_(50|101)_2", r"wide_resnet\1\2_2"),
    (r"(faster|mask)_?rcnn[-_](resnet(?:50|101))[-_](fpn|c4)", r"\1rcnn_\2_\3"),
)
OTHERS: dict[str, str] = {
    "resnetblur50": "timm's has max pool of 3 and no filter in the shortcut; Zhang's own is resnet50_blur4",
    **{
        f"{name}_pruned": f"its layers are pruned channel by channel; the whole network is {name}"
        for name in ("ecaresnet50d", "ecaresnet101d")
    },
    "resnet50_fpn": "a backbone with its pyramid is part of a detector: fasterrcnn_resnet50_fpn",
}
"""Networks that no description here computes, though one is near: what it is."""


def resolved(name: str) -> str:
    """The catalogue's spelling of a name that others have; the name itself where nobody has it."""
    for pattern, ours in _ALIASES:
        found = re.fullmatch(pattern, name.lower())
        if found is not None:
            return found.expand(ours)
    return name
