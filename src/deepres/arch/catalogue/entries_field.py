"""Networks that the field trains and no paper prints: CIFAR's with projections, ImageNet's for 32 px, Keras's."""

from typing import Any

from deepres.arch.catalogue.entries_resnet import resnet_cifar, resnet_imagenet
from deepres.arch.catalogue.entry import Entry

FIELD = "The field's networks for CIFAR, after He et al. 2015, arXiv 1512.03385"
TINY = "MLPerf Tiny Benchmark, Banbury et al. 2021, arXiv 2106.07597"


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
    keras: dict[str, Any] = {"eps": 1e-3, "bias": True, "padding": "same", "projection_norm": False}
    note = "Keras: biases, TensorFlow's padding, eps 0.001, no norm in shortcuts; pixels as they are, 0 to 255"
    tiny = resnet_cifar("resnet8_tiny", 1, style=keras)
    entries.append(Entry(tiny, TINY, "image classification", "78,666 parameters, norm statistics among them", note))
    return entries


ENTRIES: tuple[Entry, ...] = tuple(_entries())
