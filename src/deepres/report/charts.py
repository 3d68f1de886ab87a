"""Drawings for a report: SVG that takes its colours from the page, PNG as `data:` addresses.

The same input gives the same bytes: no dates, no random identifiers, no state of pyplot. Every colour is drawn as a
placeholder that becomes a CSS variable (`var(--ink)`), so one drawing serves a light and a dark page.
"""

import io
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from deepres.data.decode import as_picture
from deepres.report.lettering import literal
from deepres.tasks.blocks import Chart

INK, MUTED, TRAIN, VALIDATION = "#000001", "#000002", "#000003", "#000004"
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", TRAIN: "var(--wrong)", VALIDATION: "var(--right)"}
THUMBNAIL_PX = 128

History = Sequence[Mapping[str, Any]]


def agreement(points: Sequence[tuple[float, float]], x: str, y: str) -> str:
    """SVG of points (x, y) with the diagonal on which both are equal, both axes of one scale."""
    figure, axes = axes_of("", width=4.4, height=4.2)
    low, high = min(map(min, points)), max(map(max, points))
    room = (high - low) * 0.04 or 1.0
    axes.plot([low - room, high + room], [low - room, high + room], color=MUTED, linewidth=1, linestyle=":")
    axes.plot(*zip(*points, strict=True), color=VALIDATION, linestyle="None", marker="o", markersize=2.5, alpha=0.6)
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(low - room, high + room)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return svg_of(figure, f"{y} against {x}")


def curve(
    history: History,
    columns: Mapping[str, str],
    title: str,
    *,
    chosen_epoch: int | None = None,
    kind: str = "plain",
    continued: Sequence[float] = (),
    size: tuple[float, float] = (4.4, 2.9),
) -> str | None:
    """SVG of history columns against the epoch, or None where they hold no number.

    `columns` maps a column to its legend; of two the first is drawn dashed in the colour of training, the second solid
    in that of validation. `kind`: "percent" (fractions, drawn from 0; the first tenth of the epochs may leave the
    frame), "log" (at most five decades; linear below one), "plain". The chosen epoch is a vertical line, and a ring on
    the last of the lines that has it; `continued` are epochs, or parts of them, after which the run was taken up again.
    """
    assert kind in ("percent", "log", "plain")
    lines = {legend: _points(history, column, 100 if kind == "percent" else 1) for column, legend in columns.items()}
    values = [y for points in lines.values() for _, y in points]
    if not values:
        return None
    figure, axes = axes_of(title, width=size[0], height=size[1])
    styles = ((TRAIN, "--", "s"), (VALIDATION, "-", "o")) if len(columns) > 1 else ((INK, "-", "o"),)
    for (legend, points), (colour, line, marker) in zip(lines.items(), styles, strict=False):
        if points:
            dots = marker if len(points) <= 30 else "None"
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=colour, linestyle=line, linewidth=1.8, marker=dots, markersize=3.5, label=legend)
    above = [v for v in values if v > 0]
    if kind == "log" and above and max(above) > 10 * min(above):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(max(min(above), max(above) * 1e-5) / 1.3, max(above) * 1.3)
    elif kind == "percent":
        settled = [y for points in lines.values() for _, y in points[len(points) // 10 :]]
        axes.set_ylim(0, min(100.0, 1.1 * max(settled)) or 1.0)
    for number, epoch in enumerate(continued):
        axes.axvline(epoch, color=MUTED, linewidth=0.7, alpha=0.6, label=None if number else "continued")
    if chosen_epoch is not None:
        axes.axvline(chosen_epoch, color=MUTED, linewidth=1, linestyle=":", label=f"chosen: epoch {chosen_epoch}")
        at = [dict(points)[chosen_epoch] for points in lines.values() if chosen_epoch in dict(points)][-1:]
        axes.plot([chosen_epoch] * len(at), at, "o", color=INK, fillstyle="none", markersize=8, zorder=3, clip_on=False)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return svg_of(figure, title)


def chart(known: Chart) -> str:
    """SVG of one or two series over 0 to 100 %; a dot's area grows with its weight."""
    figure, axes = axes_of(known.title)
    if known.diagonal:
        axes.plot((0, 100), (0, 100), color=MUTED, linewidth=1, linestyle=":")
    styles = ((VALIDATION, "-", "o"), (TRAIN, "--", "s"))
    for one, (colour, line, marker) in zip(known.series, styles, strict=False):
        x, y = zip(*one.points, strict=True) if one.points else ((), ())
        if one.weights or not one.points:
            area = [12 + 240 * weight for weight in one.weights]
            axes.scatter(x, y, s=area, color=colour, marker=marker, alpha=0.75, linewidths=0)
            axes.scatter([], [], s=40, color=colour, marker=marker, alpha=0.75, linewidths=0, label=one.name)
        else:
            axes.plot(x, y, color=colour, linestyle=line, marker=marker, markersize=3.5, linewidth=1.6, label=one.name)
    axes.set_xlim(0, 104)
    axes.set_ylim(0, 104 if known.diagonal else None)
    axes.set_xlabel(known.x)
    if len(known.series) > 1:
        axes.legend(frameon=False, labelcolor=INK, fontsize=9, loc="upper left")
    return svg_of(figure, known.title)


def intervals(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """SVG of named fractions with their intervals (name, value, low, high), the first row at the top, in percent."""
    title = "Error with its 95 % interval (%)"
    figure, axes = axes_of(title, height=0.9 + 0.23 * len(rows), width=7.6)
    values = [100 * value for _, value, _, _ in rows]
    spread = ([100 * (value - low) for _, value, low, _ in rows], [100 * (high - value) for _, value, _, high in rows])
    places = range(len(rows))
    axes.errorbar(values, places, xerr=spread, fmt="o", color=VALIDATION, markersize=4, elinewidth=1.6, capsize=2)
    axes.set_yticks(places, [name for name, _, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=MUTED, linewidth=0.5, alpha=0.35)
    axes.grid(visible=False, axis="y")
    return svg_of(figure, title)


def thumbnail(image: Tensor) -> tuple[str, bool]:
    """PNG address of a uint8 image (1 or 3, H, W), at most 128 px on a side, and whether it is shown enlarged."""
    picture = as_picture(image)
    tiny = max(picture.size) <= THUMBNAIL_PX // 2
    if max(picture.size) > THUMBNAIL_PX:
        picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    return png(picture), tiny


def _points(history: History, column: str, scale: float) -> list[tuple[float, float]]:
    values = ((row.get("epoch"), row.get(column)) for row in history)
    return [(x, scale * y) for x, y in values if x is not None and y is not None and isfinite(y)]


def axes_of(title: str, *, width: float = 4.4, height: float = 2.9) -> tuple[Figure, Axes]:
    """An empty drawing in the style of the page; sides in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.set_title(title, loc="left", color=INK, fontsize=10.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(which="both", color=MUTED, labelcolor=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.grid(axis="y", color=MUTED, linewidth=0.5, alpha=0.35)
    return figure, axes


def svg_of(figure: Figure, title: str) -> str:
    """The drawing as SVG, its placeholders become the colours of the page."""
    file = io.StringIO()
    with rc_context({"svg.hashsalt": title, "svg.fonttype": "none"}):
        literal(figure).savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg ") :]
    for name in set(re.findall(r' id="([^"]+)"', text)):
        if f"#{name}" not in text:
            text = text.replace(f' id="{name}"', "")
    for placeholder, variable in VARIABLES.items():
        text = text.replace(placeholder, variable)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def png(picture: Image.Image) -> str:
    """The picture as a `data:` address."""
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + b64encode(file.getvalue()).decode("ascii")
