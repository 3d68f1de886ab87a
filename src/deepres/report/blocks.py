"""Blocks of a report (`tasks/blocks.py`) as HTML: tables, charts, panels, pictures."""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup, escape

from deepres.base.errors import InputError
from deepres.data.decode import BadImageError
from deepres.data.images import Images
from deepres.report.charts import agreement, chart, thumbnail
from deepres.report.matrix import matrix
from deepres.report.outlines import outlined
from deepres.report.panels import panels
from deepres.tasks.blocks import AnsweredPicture, Block, Charts, Panels, Pictures, Points, Table
from deepres.tasks.result import printable

AT_ONCE = 30
"""Rows that are shown; others are folded away."""


def drawn(block: Block, images: Images | None) -> Markup:
    """The block, all text escaped; of pictures those that can still be read.

    Raises:
        InputError: `images` is another set than the one whose pictures the block shows.
    """
    if block.kind == "pictures" and images is None:
        return Markup("")
    draw: dict[str, Callable[[Any, Images | None], Markup]] = {
        "table": _table,
        "points": _points,
        "panels": _panels,
        "pictures": _pictures,
        "matrix": lambda block, _: matrix(block),
        "charts": _charts,
    }
    note = Markup('<p class="note">{}</p>').format(block.note) if block.note else Markup("")
    inside = draw[block.kind](block, images)
    return Markup('<section class="long"><h2>{}</h2>{}{}</section>').format(block.title, note, inside)


def _table(block: Table, _: Images | None) -> Markup:
    narrow = len(block.header) - block.wide

    def cell(tag: str, place: int, text: str) -> Markup:
        kind = ' class="name"' if place == 0 else ' class="wide"' if place >= narrow else ""
        return Markup(f"<{tag}{kind}>{{}}</{tag}>").format(text)

    def row(tag: str, cells: Sequence[str], bar: Markup) -> Markup:
        drawn = [cell(tag, place, text) for place, text in enumerate(cells)]
        return Markup("<tr>{}</tr>").format(Markup("").join([*drawn[:2], bar, *drawn[2:]]))

    def rows(first: int, last: int | None) -> Markup:
        head = row("th", block.header, Markup("<th></th>" if block.bars else ""))
        lengths: Sequence[float | None] = block.bars or (None,) * len(block.rows)
        body = Markup("").join(
            row("td", cells, _bar(length))
            for cells, length in zip(block.rows[first:last], lengths[first:last], strict=True)
        )
        return Markup('<div class="scroll"><table><thead>{}</thead><tbody>{}</tbody></table></div>').format(head, body)

    more = len(block.rows) - AT_ONCE
    folded = Markup("<details><summary>{} more</summary>{}</details>").format(more, rows(AT_ONCE, None))
    return rows(0, AT_ONCE) + (folded if more > 0 else Markup(""))


def _bar(length: float | None) -> Markup:
    if length is None:
        return Markup("")
    return Markup('<td><span class="bar"><i style="width: {:.2f}%"></i></span></td>').format(100 * length)


def _points(block: Points, _: Images | None) -> Markup:
    return Markup('<figure class="plot" style="margin: 0; max-width: 30rem">{}</figure>').format(
        Markup(agreement(block.points, block.x, block.y))
    )


def _panels(block: Panels, _: Images | None) -> Markup:
    return panels(block.panels, block.x, block.y)


def _charts(block: Charts, _: Images | None) -> Markup:
    return Markup("").join(
        Markup(
            '<div class="two"><figure class="plot" style="margin: 0; flex: 1 1 20rem">{}</figure>'
            '<p style="flex: 1 1 18rem">{}</p></div>'
        ).format(Markup(chart(one)), one.text)
        for one in block.charts
    )


def _pictures(block: Pictures, images: Images | None) -> Markup:
    assert images is not None
    wide = any(one.outlines for one in block.pictures)
    return Markup('<div class="thumbs{}">{}</div>').format(
        " wider" if wide else "", Markup("").join(_figure(one, images) for one in block.pictures)
    )


def _figure(one: AnsweredPicture, images: Images) -> Markup:
    name = printable(images.name(one.index)) if one.index < len(images) else "absent"
    if name != one.name:
        raise InputError(
            f"report: image {one.index} is {name}, the result says {one.name}; "
            "give the images that the result was measured on"
        )
    try:
        image = images.image(one.index)
        if one.outlines:
            frame = outlined(image, one.outlines, one.name)
        else:
            address, tiny = thumbnail(image)
            frame = Markup('<img src="{}" class="{}" alt="{}">').format(address, "tiny" if tiny else "", one.name)
    except BadImageError as cause:
        frame = Markup('<span class="note" title="{}">can no longer be read</span>').format(cause)
    label = "/".join(one.name.replace("\\", "/").split("/")[-2:])
    return Markup(
        '<figure><div class="frame">{}</div><span class="was">{}</span> →<br><span class="said">{}</span>'
        '<div class="unit" title="{}">{}</div></figure>'
    ).format(frame, escape(one.wanted), escape(one.answered), one.name, label)
