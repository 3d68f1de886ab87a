"""A localiser of three layers a stage less than any, and pictures of several sizes with an object each."""

import numpy as np
import torch

from deepres.arch.catalogue.lookup import entry
from deepres.arch.localiser import on
from deepres.arch.regions import Anchors
from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.images import Batch
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.geometry import evaluated
from deepres.nn.build import ResidualNetwork
from deepres.tasks.localisation.guessing import sides
from deepres.tasks.localisation.network import create
from deepres.tasks.localisation.task import Localising

TASK = Localising(anchors=Anchors(sizes=((12, 20),), ratios=(0.5, 1.0, 2.0)))
SIDE, CLASSES = 48, 4
NAMES = tuple("abcd")


def network(anchors: int = 6, seed: int = 3) -> ResidualNetwork:
    backbone = entry("resnet18").config.replace(depths=(1, 1), widths=(8, 8), stem_width=8)
    config = on(backbone, anchors).replace(input=(3, SIDE, SIDE), num_classes=CLASSES)  # type: ignore[arg-type]
    made = create(config.architecture(), seed).eval()
    with torch.no_grad():  # scores that differ
        for name, tensor in made.head.named_parameters():
            if name.endswith("weight"):
                tensor.normal_(0, 0.3, generator=torch.Generator().manual_seed(len(name)))
    return made


def batch(number: int = 3, *, fit: str = "crop") -> tuple[Batch, list[tuple[int, int]]]:
    """Pictures of several sizes with an object each, prepared as evaluation does."""
    preparation = Preparation(fit="crop", resize=SIDE, crop=SIDE)
    preparation = sides(preparation, SIDE) if fit == "sides" else preparation
    draw = np.random.default_rng(0)
    sizes, boxes = [], []
    for label in range(number):
        wide, high = int(draw.integers(60, 90)), int(draw.integers(50, 80))
        sizes.append((wide, high))
        x, y = int(draw.integers(0, 25)), int(draw.integers(0, 20))
        boxes.append(Boxes.of([[x, y, x + 30, y + 25]], [label % CLASSES]))
    geometry = evaluated(preparation, sizes)
    images = torch.rand(number, 3, *geometry.size, generator=torch.Generator().manual_seed(1))
    targets = BoxTargets.of(boxes).placed(geometry, torch.arange(number) + 7)
    return Batch(images, targets, torch.arange(number)), sizes
