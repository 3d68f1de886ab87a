"""A detector that learns next to nothing in seconds, and the folder of drawn pictures in VOC's layout that it is for."""

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("disc", "square")
TINY = {
    "model.backbone.widths": "8,8,8,16",
    "model.backbone.stem_width": 8,
    "model.backbone.depths": "1,1,1,1",
    "model.backbone.style.norm_groups": 4,
    "model.neck_channels": 8,
    "model.anchors.sizes": "12/24/48/96/192",
    "model.proposals.after_train": 16,
    "model.proposals.after_test": 16,
    "model.regions.widths": "16",
    "model.regions.sampled": 8,
    "model.regions.score_above": 0,
    "preparation.resize": 48,
    "preparation.longest": 64,
    "train.batch_size": 4,
    "data.workers": 0,
}
"""What a run by a feature pyramid sets."""
EDITS = (
    "model.backbone.widths=8,8,8,16",
    "model.backbone.stem_width=8",
    "model.backbone.depths=1,1,1,1",
    "model.backbone.style.norm_groups=4",
    "model.anchors.sizes=12,24,48",
    "model.proposals.after_train=16",
    "model.proposals.after_test=16",
    "model.regions.pool=4",
    "model.regions.sampled=8",
    "model.regions.score_above=0",
    "preparation.resize=48",
    "preparation.longest=64",
    "augmentation.scale=40,48",
    "data.workers=0",
)
"""What a run by a single map sets."""


def draw(folder: Path, numbers: range, seed: int) -> None:
    """Pictures of 64 x 48 px or upright, a box or two on each but every fifth, as VOC has them."""
    rng = np.random.default_rng(seed)
    for kind in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        width, height = (64, 48) if number % 3 else (48, 64)
        pixels = np.full((height, width, 3), 90, np.uint8) + rng.integers(0, 20, (height, width, 1), dtype=np.uint8)
        objects = ""
        for _ in range(0 if number % 5 == 4 else int(rng.integers(1, 3))):
            side = int(rng.integers(10, 20))
            left, top, which = int(rng.integers(0, width - side)), int(rng.integers(0, height - side)), rng.integers(2)
            rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
            inside = rows**2 + columns**2 <= (side / 2) ** 2 if which == 0 else np.ones((side, side), bool)
            pixels[top : top + side, left : left + side][inside] = (250, 40, 40) if which == 0 else (40, 40, 250)
            corners = (left + 1, top + 1, left + side, top + side)
            ends = "".join(f"<{n}>{v}</{n}>" for n, v in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
            objects += f"<object><name>{NAMES[which]}</name><bndbox>{ends}</bndbox></object>"
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"{number:03}.png")
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        (folder / "Annotations" / f"{number:03}.xml").write_text(f"<annotation>{size}{objects}</annotation>")


def drawn(folder: Path, train: int, val: int, test: int) -> Path:
    """So many pictures of each part, one after the other, with the lists that divide them."""
    draw(folder, range(train + val + test), seed=0)
    begin = 0
    for split, number in (("train", train), ("val", val), ("test", test)):
        names = [f"{place:03}\n" for place in range(begin, begin + number)]
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("".join(names))
        begin += number
    return folder
