"""Detectors of a few thousand weights, and batches of pictures with boxes."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from deepres.arch.detector import DetectorConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.regions import Anchors, Proposals, Regions
from deepres.data.boxes import Boxes, BoxTargets, Placed
from deepres.data.images import Batch
from deepres.tasks.detection.detector import DetectorNetwork, create


def config(neck: str = "fpn", norm: str = "frozen", **fields: Any) -> DetectorConfig:
    backbone = ResNetConfig(
        name="tiny",
        depths=(1, 1, 1, 1),
        widths=(8, 8, 16, 16),
        stem_width=8,
        style={"norm": norm, "norm_groups": 4},
        num_classes=0,
    )
    c4 = neck == "c4"
    plain = {
        "name": f"tiny_{neck}",
        "input": (3, 64, 64),
        "num_classes": 3,
        "backbone": backbone,
        "neck": neck,
        "neck_channels": 16,
        "anchors": Anchors(sizes=((8, 16, 32),) if c4 else ((8,), (16,), (32,), (64,), (64,))),
        "proposals": Proposals(sampled=32, after_train=60, after_test=40),
        "regions": Regions(pool=4 if c4 else 3, widths=() if c4 else (16,), sampled=16),
    }
    return DetectorConfig(**{**plain, **fields})


def network(neck: str = "fpn", seed: int = 0, **fields: Any) -> DetectorNetwork:
    return create(config(neck, **fields).architecture(), seed)


def pictures(number: int = 2, height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(number, 3, height, width, generator=torch.Generator().manual_seed(seed))


def batch(images: Tensor, boxes: list[Boxes], sizes: list[tuple[int, int]] | None = None) -> Batch:
    own = torch.tensor(sizes or [tuple(images.shape[-2:])] * len(images))
    seeds = torch.arange(len(images)) + 100
    where = Placed(torch.zeros(len(images), 2, 3, dtype=torch.float64), own, seeds)
    return Batch(images, replace(BoxTargets.of(boxes), where=where), torch.arange(len(images)))


TWO = [Boxes.of([[8, 8, 30, 40], [20, 10, 60, 50]], [0, 2]), Boxes.of([[5, 20, 25, 36]], [1])]
NONE = Boxes.of([], [])
