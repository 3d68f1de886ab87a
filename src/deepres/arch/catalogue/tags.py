"""Which published weights a network's name alone means: the tag that timm takes when none is said. No torch."""

from deepres.base.errors import InputError

_BY_TAG = {
    "a1_in1k": "resnet18 resnet34 resnet50 seresnet50",
    "a1h_in1k": "resnet101 resnet152 resnext50_32x4d resnetv2_50 resnetv2_101 resnet50_gn",
    "c3_in1k": "resnet10t resnet14t",
    "gluon_in1k": "resnet50c resnet101c resnet152c resnet50s resnet101s resnet152s seresnext101_32x4d "
    "seresnext101_64x4d resnest14d resnest26d",
    "ra2_in1k": "resnet18d resnet34d resnet50d resnet101d resnet152d resnet200d resnet26t seresnet152d "
    "ecaresnet26t ecaresnet50t ecaresnet269d",
    "miil_in1k": "ecaresnet50d ecaresnet101d ecaresnetlight",
    "ra4_e3600_r224_in1k": "resnetv2_18 resnetv2_34 resnetv2_18d resnetv2_34d",
    "tf_in1k": "resnetrs50 resnetrs101 resnetrs152 resnetrs200 resnetrs270 resnetrs350 resnetrs420",
    "ra_in1k": "densenet121 skresnet18 skresnet34 skresnext50_32x4d",
    "tv_in1k": "densenet161 densenet169 densenet201 resnext101_32x8d wide_resnet101_2",
    "fb_ssl_yfcc100m_ft_in1k": "resnext101_32x4d",
    "c1_in1k": "resnext101_64x4d",
    "racm_in1k": "wide_resnet50_2 seresnext50_32x4d",
    "bt_in1k": "resnet26 resnet26d resnext50d_32x4d seresnext26d_32x4d seresnext26t_32x4d",
    "in1k": "res2net50_26w_4s res2net50_14w_8s res2net50_26w_6s res2net50_26w_8s res2net50_48w_2s res2net101_26w_4s "
    "res2next50 res2net50d res2net101d resnest50d resnest101e resnest200e resnest269e resnest50d_4s2x40d "
    "resnest50d_1s4x24d",
    "ah_in1k": "seresnext101_32x8d seresnext101d_32x8d",
}
TAGS: dict[str, str] = {name: tag for tag, names in _BY_TAG.items() for name in names.split()}
"""Network -> the tag, as in timm 1.0.31; of ImageNet's 1,000 classes."""


def published(model: str) -> str:
    """`resnet50.a1_in1k`, the published weights that `pretrained=True` means of `resnet50`.

    Raises:
        InputError: none are published of that network, or not under its name.
    """
    if model not in TAGS:
        raise InputError(
            f"pretrained {model}: no weights are published by that name; bring some: weights=FILE or a name"
        )
    return f"{model}.{TAGS[model]}"
