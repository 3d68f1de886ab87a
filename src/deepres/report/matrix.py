"""What is taken for what: a table of counts, of many names a picture of it, and the most frequent mistakes."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

from deepres.base.wording import counted
from deepres.report.charts import png
from deepres.tasks.blocks import Matrix
from deepres.tasks.bootstrap import Floats

MOST_WITH_NUMBERS = 20
MOST_IN_PICTURE = 200
RIGHT_RGB, WRONG_RGB = (47, 126, 196), (217, 95, 14)

_SHADES = "Blue: right, as a share of the row. Orange: confused, relative to the most frequent confusion."


def matrix(block: Matrix) -> Markup:
    """The counts, where there are few enough names to be told apart, beside the most frequent mistakes."""
    few, many = len(block.names) <= MOST_WITH_NUMBERS, len(block.names) > MOST_IN_PICTURE
    shown = _table(block) if few else Markup("") if many else _picture(block)
    return Markup('<div class="two">{}{}</div>').format(shown, _pairs(block.pairs))


def _table(block: Matrix) -> Markup:
    strength = shades(np.asarray(block.counts, dtype=np.float64))
    upright = len(block.names) > 4

    def head(name: str) -> Markup:
        kind = "upright" if upright and len(name) > 3 else ""
        return Markup('<th class="{}" title="{}"><span>{}</span></th>').format(kind, name, name)

    def cell(row: int, column: int) -> Markup:
        count, shade = block.counts[row][column], round(float(strength[row, column]), 3)
        kind = "zero" if count == 0 else "right" if row == column else "wrong"
        kind += " strong" if shade > 0.85 else " middle" if shade > 0.5 else ""
        title = f"{block.names[row]} → {block.names[column]}: {count}"
        return Markup('<td class="{}" style="--v: {}" title="{}">{}</td>').format(kind, shade, title, count or "·")

    places = range(len(block.names))
    rows = Markup("").join(
        Markup('<tr><th title="{}">{}</th>{}</tr>').format(
            name, name, Markup("").join(cell(row, column) for column in places)
        )
        for row, name in enumerate(block.names)
    )
    return Markup(
        '<div><p class="note">A row for each true class, a column for each predicted one. {}</p>'
        '<div class="scroll"><table class="confusion"><thead><tr><th></th>{}</tr></thead><tbody>{}</tbody></table>'
        "</div></div>"
    ).format(_SHADES, Markup("").join(map(head, block.names)), rows)


def _picture(block: Matrix) -> Markup:
    return Markup(
        '<div><p class="note">{} classes, first at the top and at the left. {}</p><div class="matrix">'
        '<span class="unit up">true class</span><img src="{}" alt="confusion matrix of {}">'
        '<span class="unit across">predicted class</span></div></div>'
    ).format(len(block.names), _SHADES, confusion_picture(block.counts), counted(len(block.names), "class"))


def _pairs(pairs: Sequence[tuple[str, str, int]]) -> Markup:
    if not pairs:
        return Markup("<p>No image was confused.</p>")
    rows = Markup("").join(
        Markup('<tr><td class="name">{}</td><td class="name">{}</td><td>{}</td></tr>').format(*pair) for pair in pairs
    )
    return Markup(
        '<div><p class="note">Most frequent confusions</p><div class="scroll"><table><thead><tr><th class="name">true '
        'class</th><th class="name">taken for</th><th>images</th></tr></thead><tbody>{}</tbody></table></div></div>'
    ).format(rows)


def confusion_picture(confusion: Sequence[Sequence[int]]) -> str:
    """PNG address, one pixel a cell, shaded by `shades`: blue what is right, orange what is confused, 0 transparent."""
    counts = np.asarray(confusion, dtype=np.float64)
    size = len(counts)
    shade = shades(counts)
    pixels = np.zeros((size, size, 4), dtype=np.uint8)
    pixels[..., :3] = WRONG_RGB
    pixels[np.arange(size), np.arange(size), :3] = RIGHT_RGB
    pixels[..., 3] = np.rint(255 * shade)
    return png(Image.fromarray(pixels))


def shades(counts: Floats) -> Floats:
    """Strength in [0, 1] of each cell of a confusion matrix (C, C).

    The diagonal: right / images of the row. Elsewhere: square root of count / the largest such count, at least 0.2
    unless the count is 0, so that one image in a thousand is seen.
    """
    off = counts - np.diag(np.diag(counts))
    shade: Floats = np.sqrt(off / max(off.max(), 1.0))
    shade[off > 0] = np.maximum(shade[off > 0], 0.2)
    np.fill_diagonal(shade, np.diag(counts) / np.maximum(counts.sum(axis=1), 1.0))
    return shade
