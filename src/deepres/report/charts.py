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

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from deepres.report.lettering import literal
from deepres.tasks.bootstrap import Floats
from deepres.tasks.classification.calibration import Tempered
from deepres.tasks.classification.metrics import CalibrationBin, Coverage, Scores

INK, MUTED, TRAIN, VALIDATION = "#000001", "#000002", "#000003", "#000004"
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", TRAIN: "var(--wrong)", VALIDATION: "var(--right)"}
RIGHT_RGB, WRONG_RGB = (47, 126, 196), (217, 95, 14)
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


def reliability(scores: Scores, tempered: Tempered | None = None) -> str:
    """SVG of the share of right answers against the mean probability; a dot's area grows with its images.

    At a temperature, where one was found, squares in the other colour.
    """
    title = "Right answers against stated probability (%)"
    figure, axes = axes_of(title)
    axes.plot((0, 100), (0, 100), color=MUTED, linewidth=1, linestyle=":")
    _bins(axes, scores.calibration, scores.num_images, VALIDATION, "o", "as the network says")
    if tempered is not None:
        _bins(axes, tempered.calibration, scores.num_images, TRAIN, "s", f"at temperature {tempered.temperature:.2f}")
        axes.legend(frameon=False, labelcolor=INK, fontsize=9, loc="upper left")
    axes.set_xlim(0, 104)
    axes.set_ylim(0, 104)
    axes.set_xlabel("stated probability (%)")
    return svg_of(figure, title)


def rejection(covered: Sequence[Coverage], tempered: Tempered | None = None) -> str:
    """SVG of the error among the images that are answered, against their share, the surest first."""
    title = "Error among the answered (%)"
    figure, axes = axes_of(title)
    lines = [(covered, VALIDATION, "-", "o", "as the network says")]
    if tempered is not None:
        lines.append((tempered.covered, TRAIN, "--", "s", f"at temperature {tempered.temperature:.2f}"))
    for points, colour, line, marker, label in lines:
        x = [100 * p.num_images / points[-1].num_images for p in points]
        y = [100 * p.num_wrong / p.num_images for p in points]
        axes.plot(x, y, color=colour, linestyle=line, marker=marker, markersize=3.5, linewidth=1.6, label=label)
    axes.set_xlim(0, 104)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("images answered, the surest first (%)")
    if tempered is not None:
        axes.legend(frameon=False, labelcolor=INK, fontsize=9, loc="upper left")
    return svg_of(figure, title)


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


def confusion_picture(confusion: Sequence[Sequence[int]]) -> str:
    """PNG address, one pixel a cell, shaded by `shades`: blue what is right, orange what is confused, 0 transparent."""
    counts = np.asarray(confusion, dtype=np.float64)
    size = len(counts)
    shade = shades(counts)
    pixels = np.zeros((size, size, 4), dtype=np.uint8)
    pixels[..., :3] = WRONG_RGB
    pixels[np.arange(size), np.arange(size), :3] = RIGHT_RGB
    pixels[..., 3] = np.rint(255 * shade)
    return _png(Image.fromarray(pixels))


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


def thumbnail(image: Tensor) -> tuple[str, bool]:
    """PNG address of a uint8 image (1 or 3, H, W), at most 128 px on a side, and whether it is shown enlarged."""
    pixels = image.cpu().permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    tiny = max(picture.size) <= THUMBNAIL_PX // 2
    if max(picture.size) > THUMBNAIL_PX:
        picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    return _png(picture), tiny


def _bins(axes: Axes, bins: Sequence[CalibrationBin], num_images: int, colour: str, marker: str, label: str) -> None:
    filled = [b for b in bins if b.probability is not None]
    x = [100 * (b.probability or 0) for b in filled]
    y = [100 * b.num_right / b.num_images for b in filled]
    area = [12 + 240 * b.num_images / num_images for b in filled]
    axes.scatter(x, y, s=area, color=colour, marker=marker, alpha=0.75, linewidths=0)
    axes.scatter([], [], s=40, color=colour, marker=marker, alpha=0.75, linewidths=0, label=label)


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


def _png(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + b64encode(file.getvalue()).decode("ascii")
