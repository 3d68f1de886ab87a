"""digit-scenes: pictures of 128 px with one to five of the digits on them, and their boxes; made in memory.

A digit (8 x 8, 16 levels of ink) is scaled to a side of 20 to 52 px and painted in a colour of its own on a ground that
runs from one colour to another; digits may touch, and never cover one another by more than a tenth. A box is what the
ink fills. Each split has digits of its own, so that none stands in two. All is drawn by `derive(0, "digit-scenes", …)`.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from deepres.base.seeds import derive
from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.images import ArrayImages, Images
from deepres.data.sources.arrays import with_channels
from deepres.data.sources.box_labels import trainval_note
from deepres.data.sources.digits import load_digits
from deepres.data.sources.splits import RawDataset, Split

SIDE = 128
SCENES: dict[Split, int] = {"train": 800, "val": 200, "test": 200}
_SHARES: dict[Split, float] = {"train": 2 / 3, "val": 1 / 6, "test": 1 / 6}  # of the 1,797 digits
_SIDES = (20, 52)  # px of a digit's 8 x 8 cells
_OVERLAP = 0.1  # of the smaller box
_INK = 0.35  # of full ink, from where a pixel is the digit's
_TRIES = 30

Pixels = NDArray[np.float32]


@lru_cache(maxsize=1)
def digit_scenes(channels: int | None = None) -> RawDataset:
    """800, 200 and 200 scenes; RGB, or grey with `channels` 1. Made once a process: two seconds."""
    levels, labels = load_digits()
    digits = (levels.reshape(-1, 8, 8) / 16).astype(np.float32)
    order = np.random.default_rng(derive(0, "digit-scenes", "digits")).permutation(len(digits))
    classes = tuple(str(digit) for digit in range(10))
    splits: dict[Split, Images] = {}
    start, first = 0, 0
    for split, number in SCENES.items():
        stop = start + round(_SHARES[split] * len(order))
        own = order[start:stop]
        scenes = [scene(digits[own], labels[own], split, place) for place in range(number)]
        pixels = torch.from_numpy(np.stack([picture for picture, _ in scenes]))
        targets = BoxTargets.of([boxes for _, boxes in scenes], range(first, first + number))
        splits[split] = ArrayImages(with_channels(pixels, channels), targets, classes, f"digit-scenes/{split}")
        start, first = stop, first + number
    return RawDataset("digit-scenes", "named", classes, splits, channels or 3)


def with_val(found: RawDataset) -> RawDataset:
    """The same, its val learnt with train (`data.trainval`)."""
    splits = dict(found.splits)
    one, other = splits["train"], splits.pop("val")
    assert isinstance(one, ArrayImages)
    assert isinstance(other, ArrayImages)
    assert isinstance(one.targets, BoxTargets)
    assert isinstance(other.targets, BoxTargets)
    pixels, targets = torch.cat([one.pixels, other.pixels]), one.targets.joined(other.targets)
    splits["train"] = ArrayImages(pixels, targets, one.classes, one.address)
    return replace(found, splits=splits, notes=(*found.notes, trainval_note(len(other))))


def scene(digits: Pixels, labels: NDArray[np.int64], split: Split, place: int) -> tuple[NDArray[np.uint8], Boxes]:
    """Scene `place` of a split, of these digits (N, 8, 8) in [0, 1]: uint8 (3, SIDE, SIDE), and its boxes."""
    draw = np.random.default_rng(derive(0, "digit-scenes", split, place))
    canvas = _ground(draw)
    corners: list[tuple[int, int, int, int]] = []
    classes: list[int] = []
    for _ in range(int(draw.integers(1, 6))):
        which, side = int(draw.integers(len(digits))), int(draw.integers(_SIDES[0], _SIDES[1] + 1))
        ink = _scaled(digits[which], side)
        rows, columns = (np.flatnonzero((ink > _INK).any(axis)) for axis in (1, 0))
        for _ in range(_TRIES):
            left, top = (int(value) for value in draw.integers(0, SIDE - side + 1, 2))
            box = (left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1)
            if all(_covered(box, other) <= _OVERLAP for other in corners):
                colour = _colour(draw, canvas[:, top : top + side, left : left + side].mean((1, 2)))
                window = canvas[:, top : top + side, left : left + side]
                window += ink * (colour[:, None, None] - window)
                corners.append(box)
                classes.append(int(labels[which]))
                break
    canvas += 0.02 * draw.standard_normal(canvas.shape, dtype=np.float32)
    return (canvas.clip(0, 1) * 255).round().astype(np.uint8), Boxes.of(corners, classes)


def _ground(draw: np.random.Generator) -> Pixels:
    """A ground that runs from one colour to another in some direction, (3, SIDE, SIDE)."""
    one, other = draw.random((2, 3), dtype=np.float32)
    angle = draw.random(dtype=np.float32) * np.float32(2 * np.pi)
    along = np.linspace(-0.5, 0.5, SIDE, dtype=np.float32)
    run = (np.cos(angle) * along[None, :] + np.sin(angle) * along[:, None]) / 1.5 + 0.5
    return np.asarray(one[:, None, None] + 0.5 * run * (other - one)[:, None, None], dtype=np.float32)


def _scaled(digit: Pixels, side: int) -> Pixels:
    """Its ink at `side` px, 0 to 1."""
    image = Image.fromarray(np.round(digit * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32) * np.float32(1 / 255)


def _colour(draw: np.random.Generator, ground: Pixels) -> Pixels:
    """A colour that stands out from the ground, by .35 or more in the mean of its channels."""
    best: Pixels = 1 - ground.round()
    for _ in range(_TRIES):
        colour: Pixels = draw.random(3, dtype=np.float32)
        if abs(colour - ground).mean() >= 0.35:
            return colour
    return best


def _covered(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """The share of the smaller box that the other covers."""
    across, down = (min(one[at + 2], other[at + 2]) - max(one[at], other[at]) for at in (0, 1))
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(across, 0) * max(down, 0) / smaller
