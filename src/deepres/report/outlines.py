"""A picture with boxes and masks on it, as SVG: found ones blue, false ones orange, missed ones yellow and dashed."""

import io
from base64 import b64encode
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from deepres.data.decode import as_picture
from deepres.data.run_lengths import read
from deepres.tasks.blocks import Outline

WIDEST_PX = 480
"""A picture is shown no larger; one of at most a quarter is not smoothed."""

COLOURS = {"right": "#2f8fe0", "false": "#ff7f0e", "missed": "#ffe14d"}
SPOKEN = {"right": "found", "false": "false", "missed": "missed"}
VEIL = 0.45
"""How much of a mask's colour lies on the picture."""
LABELLED = ("false", "missed")
"""Names of what is found would hide the picture; they come up where one points at them."""


def outlined(image: Tensor, outlines: Sequence[Outline], name: str) -> Markup:
    """uint8 (1 or 3, H, W) and boxes in px of it -> an `<svg>` with the picture in it; all text escaped.

    Masks are a second picture upon the first, below all boxes.
    """
    picture = as_picture(image)
    width, height = picture.size
    address = _address(picture)
    size = 0.04 * max(width, height)
    labels = _Labels(size, width)
    names = Markup("").join(labels.of(one) for one in outlines)
    order = sorted(outlines, key=lambda one: tuple(COLOURS).index(one.kind))  # what is wrong lies on top
    crisp = "pixelated" if max(picture.size) <= WIDEST_PX // 4 else "auto"
    drawn = _veil(order, picture.size, crisp) + Markup("").join(map(_box, order)) + names
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}"><image href="{}" width="{}" height="{}" '
        'preserveAspectRatio="none" style="image-rendering: {}"/>{}</svg>'
    ).format(width, height, name, address, width, height, crisp, drawn)


def _box(one: Outline) -> Markup:
    x1, y1, x2, y2 = one.corners
    place = Markup('x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"').format(x1, y1, x2 - x1, y2 - y1)
    dashes = Markup(' stroke-dasharray="6 4"') if one.kind == "missed" else ""
    return Markup('<g fill="none"><title>{}: {}</title>{}{}</g>').format(
        SPOKEN[one.kind],
        one.label,
        Markup('<rect {} stroke="#000" stroke-width="3.5" stroke-opacity=".55" {}/>').format(place, _FIXED),
        Markup('<rect {} stroke="{}" stroke-width="2" {}{}/>').format(place, COLOURS[one.kind], _FIXED, dashes),
    )


def _veil(order: Sequence[Outline], size: tuple[int, int], crisp: str) -> Markup:
    """The masks in the colours of their kinds, later ones on top; "" without any. A picture of them has no more px."""
    width, height = size
    least = min(1.0, WIDEST_PX / max(size))
    across, down = (max(1, round(side * least)) for side in size)
    rows = ((np.arange(down) + 0.5) * height / down).astype(int)
    columns = ((np.arange(across) + 0.5) * width / across).astype(int)
    kinds = np.zeros((down, across), np.uint8)
    for one in order:
        if one.mask is not None and tuple(one.mask.size) == (height, width):
            kinds[read(one.mask.model_dump()).bitmap()[np.ix_(rows, columns)]] = 1 + tuple(COLOURS).index(one.kind)
    if not kinds.any():
        return Markup("")
    veil, file = Image.fromarray(kinds, "P"), io.BytesIO()
    colours = [int(colour[at : at + 2], 16) for colour in COLOURS.values() for at in (1, 3, 5)]
    veil.putpalette([0, 0, 0, *colours])
    veil.save(file, format="PNG", optimize=True, transparency=bytes([0, *[round(255 * VEIL)] * len(COLOURS)]))
    return Markup(
        '<image href="{}" width="{}" height="{}" preserveAspectRatio="none" style="image-rendering: {}"/>'
    ).format(_data(file, "png"), width, height, crisp)


class _Labels:
    """Names beside the boxes, as many as find room: a later one does not cover an earlier one."""

    def __init__(self, size: float, width: int) -> None:
        self._size, self._width = size, width
        self._taken: list[tuple[float, float, float, float]] = []

    def of(self, one: Outline) -> Markup:
        """The label of a box; "" of one that is found, and where there is no room."""
        size, (x1, y1, x2, _) = self._size, one.corners
        long = 0.62 * size * len(one.label)
        left = x1 if x1 + long <= self._width else max(0.0, min(x2, self._width) - long)
        low = y1 - 0.25 * size if y1 > 1.2 * size else y1 + size
        covered = any(
            left < other[2] and other[0] < left + long and low - size < other[3] and other[1] < low
            for other in self._taken
        )
        if one.kind not in LABELLED or covered:
            return Markup("")
        self._taken.append((left, low - size, left + long, low))
        return Markup(
            '<text x="{:.2f}" y="{:.2f}" font-size="{:.2f}" fill="{}" stroke="#000" stroke-width="{:.2f}" '
            'paint-order="stroke" font-weight="600">{}</text>'
        ).format(left, low, size, COLOURS[one.kind], 0.22 * size, one.label)


_FIXED = Markup('vector-effect="non-scaling-stroke"')


def _address(picture: Image.Image) -> str:
    if max(picture.size) > WIDEST_PX:
        picture = picture.copy()
        picture.thumbnail((WIDEST_PX, WIDEST_PX), Image.Resampling.LANCZOS)
    small = max(picture.size) <= WIDEST_PX // 4
    file = io.BytesIO()
    if small:
        picture.save(file, format="PNG", optimize=True)
    else:
        picture.save(file, format="JPEG", quality=85)
    return _data(file, "png" if small else "jpeg")


def _data(file: io.BytesIO, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(file.getvalue()).decode('ascii')}"
