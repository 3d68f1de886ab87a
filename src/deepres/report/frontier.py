"""Speed against error: what was tried of a network as one picture, those that others beat in grey, and as tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from deepres.base.files import write_atomic
from deepres.report.blocks import drawn
from deepres.report.charts import INK, MUTED, TRAIN, VALIDATION, axes_of, svg_of
from deepres.report.html import render
from deepres.tasks.blocks import Table
from deepres.tasks.result import printable


@dataclass(frozen=True)
class Tried:
    """One network: how many times as fast as the intact one, its figure with the interval, and what became of it."""

    name: str
    times: float
    value: float
    low: float
    high: float
    kind: Literal["intact", "open", "beaten", "chosen"]


def write_frontier(path: Path, title: str, figure: str, tried: Sequence[Tried], tables: Sequence[Table]) -> None:
    """Write one self-contained HTML file: the picture, then the tables.

    Raises:
        InputError: the place cannot be written.
    """
    sections = [drawn(table, None) for table in tables]
    if tried:
        picture = Markup('<div class="plot wide-plot">{}</div>').format(Markup(speed_against(figure, tried)))
        note = Markup('<p class="note">{}</p>').format(
            "Up and to the left is worse, down and to the right better. Grey: another is at least as fast and loses no "
            "more. The ring is the one that was taken. Bars are 95 % intervals of each alone; the losses below compare "
            "image by image."
        )
        style = Markup("<style>.wide-plot svg { max-width: 44rem; }</style>")
        sections.insert(
            0,
            Markup('<section class="long"><h2>Speed and {}</h2>{}{}{}</section>').format(figure, picture, note, style),
        )
    write_atomic(path, printable(render("blocks.html.jinja", {}, title=title, blocks=sections)))


def speed_against(figure: str, tried: Sequence[Tried]) -> str:
    """SVG of the figure (lower is better) against how many times as fast as the intact network an image is answered."""
    figure_drawn, axes = axes_of(
        f"{figure[:1].upper()}{figure[1:]} on held-out images against speed", width=7.6, height=3.8
    )
    colours = {"intact": INK, "open": VALIDATION, "beaten": MUTED, "chosen": VALIDATION}
    for one in tried:
        colour, strong = colours[one.kind], one.kind != "beaten"
        spread = ([max(0.0, one.value - one.low)], [max(0.0, one.high - one.value)])
        axes.errorbar(
            [one.times],
            [one.value],
            yerr=spread,
            fmt="s" if one.kind == "intact" else "o",
            color=colour,
            markersize=5,
            elinewidth=1.2,
            capsize=2,
            alpha=1.0 if strong else 0.6,
        )
        if one.kind == "chosen":
            axes.plot([one.times], [one.value], "o", color=TRAIN, fillstyle="none", markersize=11, clip_on=False)
        axes.annotate(
            one.name,
            (one.times, one.value),
            xytext=(6, 5),
            textcoords="offset points",
            color=INK if strong else MUTED,
            fontsize=8,
        )
    axes.set_xlabel("times as fast as the intact network, one image at a time")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8))
    axes.margins(x=0.15)
    return svg_of(figure_drawn, f"{figure} against speed")
