"""Blocks of a report (`tasks/blocks.py`) as HTML: tables, points, panels, pictures."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape

from deepres.data.decode import BadImageError
from deepres.data.images import Images
from deepres.report.charts import agreement, thumbnail
from deepres.report.outlines import outlined
from deepres.report.panels import panels
from deepres.tasks.blocks import AnsweredPicture, Block, Panels, Pictures, Points, Table

AT_ONCE = 30
"""Rows that are shown; others are folded away."""


def drawn(block: Block, images: Images | None) -> Markup:
    """The block, all text escaped; of pictures those that can still be read."""
    draw: dict[str, Callable[[Any, Images | None], Markup]] = {
        "table": _table,
        "points": _points,
        "panels": _panels,
        "pictures": _pictures,
    }
    note = Markup('<p class="note">{}</p>').format(block.note) if block.note else Markup("")
    inside = draw[block.kind](block, images)
    return Markup('<section class="long"><h2>{}</h2>{}{}</section>').format(block.title, note, inside)


def _table(block: Table, _: Images | None) -> Markup:

    bars: tuple[float | None, ...] = block.bars or (None,) * len(block.rows)

    def rows(first: int, last: int | None) -> Markup:
        head = Markup("").join(
            Markup('<th class="name">{}</th>' if place == 0 else "<th>{}</th>").format(name)
            for place, name in enumerate((*block.header, *([""] if block.bars else [])))
        )
        body = Markup("").join(
            Markup("<tr>{}{}</tr>").format(
                Markup("").join(
                    Markup('<td class="name">{}</td>' if place == 0 else "<td>{}</td>").format(cell)
                    for place, cell in enumerate(row)
                ),
                Markup('<td><span class="bar"><i style="width: {:.2f}%"></i></span></td>').format(100 * bar)
                if bar is not None
                else "",
            )
            for row, bar in zip(block.rows[first:last], bars[first:last], strict=True)
        )
        return Markup('<div class="scroll"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>').format(
            head, body
        )

    more = len(block.rows) - AT_ONCE
    folded = Markup("<details><summary>{} more</summary>{}</details>").format(more, rows(AT_ONCE, None))
    return rows(0, AT_ONCE) + (folded if more > 0 else Markup(""))


def _points(block: Points, _: Images | None) -> Markup:
    return Markup('<figure class="plot" style="margin: 0; max-width: 30rem">{}</figure>').format(
        Markup(agreement(block.points, block.x, block.y))
    )


def _panels(block: Panels, _: Images | None) -> Markup:
    return panels(block.panels, block.x, block.y)


def _pictures(block: Pictures, images: Images | None) -> Markup:
    if images is None:
        return Markup("")
    wide = any(one.outlines for one in block.pictures)
    return Markup('<div class="thumbs{}">{}</div>').format(
        " wider" if wide else "", Markup("").join(_figure(one, images) for one in block.pictures)
    )


def _figure(one: AnsweredPicture, images: Images) -> Markup:
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
