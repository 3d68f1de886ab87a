"""Boxes and masks drawn on their picture: a colour a class, name and score beside the corner, ignored boxes dashed."""

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from deepres.data.boxes import Boxes

COLOURS = (
    *("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#00a5a5", "#f032e6", "#9a6324", "#ffe119", "#808000"),
    *("#000075", "#42d4f4", "#800000", "#bfef45", "#a9a9a9", "#fabed4"),
)
"""Told apart on photographs; a class has the one of its number."""

_LEGIBLE = 400  # px of the short side, to which small pictures are enlarged by whole numbers
_LONGEST = 4000  # px, beyond which nothing is enlarged
_DASH = 6  # line widths
_VEIL = 0.5  # how much of a mask's colour

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Area = tuple[float, float, float, float]


def drawn(
    image: Tensor, boxes: Boxes, names: Sequence[str], scores: Sequence[float] | None = None, enlarge: bool = True
) -> Image.Image:
    """The picture, uint8 (C, H, W), with its boxes, the surest and the smallest on top; RGB, small ones enlarged.

    `scores` stand behind the names. Masks lie on it in the colours of their classes, below all boxes.
    """
    height, width = image.shape[-2:]
    times = max(1, min(-(-_LEGIBLE // min(height, width)), _LONGEST // max(height, width))) if enlarge else 1
    areas = (boxes.corners[:, 2:] - boxes.corners[:, :2]).prod(1).tolist()
    order = sorted(range(len(boxes)), key=lambda row: (scores[row] if scores is not None else 0, -areas[row]))
    levels = image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    if boxes.masks is not None:
        levels = _veiled(levels, boxes, order)
    picture = Image.fromarray(levels).resize((width * times, height * times), Image.Resampling.NEAREST)
    line = max(1, round(min(picture.size) / 220))
    letters = font(max(10, min(28, round(min(picture.size) / 30))))
    brush = ImageDraw.Draw(picture)
    placed: list[tuple[int, int, str, Area]] = []
    for row in order:
        label = int(boxes.classes[row])
        colour = COLOURS[label % len(COLOURS)]
        x1, y1, x2, y2 = (value * times for value in boxes.corners[row].tolist())
        box = (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1))
        _frame(brush, box, colour, line, dashed=bool(boxes.ignored[row]))
        placed.append((row, label, colour, box))
    taken: list[Area] = []
    for row, label, colour, box in placed:
        text = names[label] if scores is None else f"{names[label]} {scores[row]:.2f}"
        place = _free(brush, text, letters, box, picture.size, taken)
        taken.append(place)
        brush.rectangle(place, fill=colour)
        brush.text((place[0] + 2, place[1]), text, fill=_ink(colour), font=letters)
    return picture


def _veiled(levels: NDArray[np.uint8], boxes: Boxes, order: Sequence[int]) -> NDArray[np.uint8]:
    """The picture (H, W, 3) under its masks, half of it showing."""
    assert boxes.masks is not None
    found = levels.astype(np.float32)
    height, width = levels.shape[:2]
    for row in order:
        inside = boxes.masks.bitmap(row, (height, width))
        colour = COLOURS[int(boxes.classes[row]) % len(COLOURS)]
        found[inside] += _VEIL * (np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) - found[inside])
    return found.round().astype(np.uint8)


def as_tensor(picture: Image.Image) -> Tensor:
    """uint8 (3, H, W)."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


@lru_cache(maxsize=8)
def font(size: int) -> Font:
    """matplotlib's, which has more letters than Pillow's own."""
    spec = find_spec("matplotlib")
    path = Path(spec.origin or "").parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf" if spec else Path()
    return ImageFont.truetype(str(path), size) if path.is_file() else ImageFont.load_default(size)


def _frame(brush: ImageDraw.ImageDraw, box: Area, colour: str, line: int, dashed: bool) -> None:
    if not dashed:
        brush.rectangle(box, outline=colour, width=line)
        return
    x1, y1, x2, y2 = box
    step = _DASH * line
    for at in np.arange(x1, x2, 2 * step):
        for y in (y1, y2):
            brush.line((at, y, min(at + step, x2), y), fill=colour, width=line)
    for at in np.arange(y1, y2, 2 * step):
        for x in (x1, x2):
            brush.line((x, at, x, min(at + step, y2)), fill=colour, width=line)


def _free(
    brush: ImageDraw.ImageDraw, text: str, letters: Font, box: Area, size: tuple[int, int], taken: Sequence[Area]
) -> Area:
    """Where a label goes: above its box, below, or within, the first place that no other label has."""
    right, bottom = brush.textbbox((0, 0), text, font=letters)[2:]
    wide, high = right + 4, bottom + 3
    x = min(max(0, box[0]), max(0, size[0] - wide))
    places = [(x, y) for y in (box[1] - high, box[3], box[1], box[3] - high) if 0 <= y <= size[1] - high]
    areas = [(at, y, at + wide, y + high) for at, y in places] or [(x, 0.0, x + wide, float(high))]
    return next((each for each in areas if not any(_meet(each, other) for other in taken)), areas[0])


def _meet(one: Area, other: Area) -> bool:
    return all(max(one[at], other[at]) < min(one[at + 2], other[at + 2]) for at in (0, 1))


def _ink(colour: str) -> str:
    """Black on what is light, white on what is dark (ITU-R 601)."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"
