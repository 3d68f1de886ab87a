"""Ten classes of drawn objects, one of them on each picture with its box, in ImageNet's layout: no photographs."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHAPES = ("disc", "ring", "square", "frame", "cross")
COLOURS = {"red": (220, 40, 40), "blue": (40, 60, 220)}
NAMES = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)
NUMBERS = tuple(f"n{number:08d}" for number in range(1, 1 + len(NAMES)))
"""As WordNet's would be."""

CROPS = {
    "preparation.resize": 64,
    "preparation.crop": 56,
    "augmentation.scale": "60,68",
    "augmentation.colour_pca": 0,
    "data.workers": 0,
    "data.decode": "scaled",
    "train.batch_size": 32,
}
"""What a run on crops of pictures of 64 px sets."""
REGIONS = {
    "preparation.resize": 64,
    "preparation.longest": 128,
    "augmentation.colour_pca": 0,
    "data.workers": 0,
    "task.side": 32,
}
"""What a run on regions of them sets."""
BACKBONE = {"depths": "1,1,1", "widths": "16,32,64", "stem_width": 16}

Corners = tuple[int, int, int, int]


def drawn(label: int, side: int, seed: int, largest: float = 5 / 8) -> tuple[NDArray[np.uint8], Corners]:
    """A `side` x `side` picture (H, W, 3) of an object of class `label`, and its half-open corners.

    Its sides are a quarter to `largest` of the picture's; up to 5/8 the whole picture is never its box.
    """
    draw = np.random.default_rng((seed, label))
    pixels = draw.integers(60, 190, (side // 4, side // 4, 1), dtype=np.uint8).repeat(4, 0).repeat(4, 1).repeat(3, 2)
    wide, high = (int(size) for size in draw.integers(side // 4, int(side * largest), 2))
    left, top = int(draw.integers(0, side - wide + 1)), int(draw.integers(0, side - high + 1))
    y, x = np.mgrid[:high, :wide]
    across, down = np.abs(2 * (x + 0.5) / wide - 1), np.abs(2 * (y + 0.5) / high - 1)
    round_, most, least = across**2 + down**2, np.maximum(across, down), np.minimum(across, down)
    inside = {
        "disc": round_ <= 1,
        "ring": (round_ <= 1) & (round_ > 0.35),
        "square": most <= 1,
        "frame": most > 0.6,
        "cross": least <= 0.35,
    }[SHAPES[label // 2]]
    pixels[top : top + high, left : left + wide][inside] = list(COLOURS.values())[label % 2]
    return pixels, (left, top, left + wide, top + high)


def imagenet(
    root: Path,
    *,
    train: int,
    val: int,
    side: int = 64,
    first: int = 1,
    classes: int = len(NAMES),
    largest: float = 5 / 8,
) -> Path:
    """So many pictures of each class: train/NUMBER/, val/, Kaggle's two tables, names of classes."""
    rows: dict[str, list[str]] = {"train": [], "val": []}
    for label, number in enumerate(NUMBERS[:classes]):
        for place in range(train + val):
            split, own = ("train", place) if place < train else ("val", label * val + place - train)
            name = f"{number}_{own}" if split == "train" else f"ILSVRC2012_val_{own + 1:08d}"
            pixels, (x1, y1, x2, y2) = drawn(label, side, place, largest)
            file = (root / "train" / number if split == "train" else root / "val") / f"{name}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file, quality=95)
            rows[split].append(f"{name},{number} {x1 + first} {y1 + first} {x2} {y2} ")
    for split, lines in rows.items():
        table = "\n".join(["ImageId,PredictionString", *lines, ""])
        (root / f"LOC_{split}_solution.csv").write_text(table)
    (root / "LOC_synset_mapping.txt").write_text(
        "".join(f"{number} {name}\n" for number, name in zip(NUMBERS, NAMES, strict=True))
    )
    return root
