"""A study's runs drawn in the paper's layout: errors over iterations, responses, errors against size."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepres.report.analysis import CYCLE

XY = Sequence[tuple[float, float]]


class ErrorCurve:
    """A run's errors over its iterations, in per cent: training, held out, and of the test images at the end."""

    def __init__(self, label: str, panel: str, train: XY, held_out: XY, test: float | None) -> None:
        self.label, self.panel, self.train, self.held_out, self.test = label, panel, train, held_out, test


def curves(found: Sequence[ErrorCurve], title: str) -> Figure:
    """He et al. 2015, Fig. 6: a panel for each group, thin dashed training error, bold held-out error, dots test error.

    All panels share their axes; the first tenth of a curve may leave the frame.
    """
    panels = list(dict.fromkeys(curve.panel for curve in found))
    figure, all_axes = _panels(len(panels), title)
    top = 0.0
    for axes, panel in zip(all_axes, panels, strict=True):
        for number, curve in enumerate(one for one in found if one.panel == panel):
            colour = CYCLE[number % len(CYCLE)][0]
            end = curve.train[-1][0] if curve.train else 0.0
            _line(axes, curve.train, color=colour, linestyle="--", linewidth=1.0)
            _line(axes, curve.held_out, color=colour, linewidth=2.2)
            axes.plot([], [], color=colour, linewidth=2.2, label=curve.label)
            if curve.test is not None:
                axes.plot(end, curve.test, "o", color=colour, markersize=6, markeredgecolor="white", clip_on=False)
                top = max(top, curve.test)
            for points in (curve.train, curve.held_out):
                top = max([top, *(y for _, y in points[len(points) // 10 :])])
        axes.set(title=panel, xlabel="iterations (thousands)")
        axes.set_xlim(left=0)
        axes.legend(frameon=False, fontsize=8, loc="upper right")
    all_axes[0].set(ylabel="error (%)", ylim=(0, min(100.0, 1.15 * top) or 1.0))
    kinds = (("--", 1.0, "None", "training"), ("-", 2.2, "None", "held out"), ("None", 1.0, "o", "test, at the end"))
    handles = [
        all_axes[0].plot([], [], color="#444444", linestyle=line, linewidth=width, marker=mark, label=label)[0]
        for line, width, mark, label in kinds
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def responses(stds: Mapping[str, Sequence[float]], title: str) -> Figure:
    """He et al. 2015, Fig. 7: standard deviations of layer responses, in the layers' order and sorted."""
    figure, (in_order, by_size) = _panels(2, title, share=False)
    for number, (label, values) in enumerate(stds.items()):
        colour, line, mark = CYCLE[number % len(CYCLE)]
        for axes, shown in ((in_order, list(values)), (by_size, sorted(values, reverse=True))):
            places = range(1, len(shown) + 1)
            every = max(1, len(shown) // 12)
            axes.plot(places, shown, color=colour, linestyle=line, marker=mark, ms=3.5, markevery=every, label=label)
    in_order.set(title="in the order of the layers", xlabel="layer", ylabel="std of the response")
    by_size.set(title="sorted", xlabel="layer, the strongest first")
    in_order.legend(frameon=False, fontsize=8)
    return figure


def scatter(ours: Mapping[str, tuple[float, float]], printed: Mapping[str, tuple[float, float]], x: str) -> Figure:
    """Errors against size: the paper's open, ours filled, each with its name."""
    figure, (axes,) = _panels(1, "")
    for points, mark, face, label in ((printed, "s", "none", "printed"), (ours, "o", CYCLE[0][0], "ours")):
        if points:
            axes.plot(*zip(*points.values(), strict=True), mark, color=CYCLE[0][0], markerfacecolor=face, label=label)
        for name, (size, error) in points.items():
            axes.annotate(name, (size, error), textcoords="offset points", xytext=(5, 3), fontsize=7)
    axes.set(xlabel=x, ylabel="error (%)")
    if max((size for size, _ in (*ours.values(), *printed.values())), default=1) > 20:
        axes.set_xscale("log")
    axes.legend(frameon=False, fontsize=8)
    return figure


class Dots(NamedTuple):
    """A row of a table: the printed figure, ours, one a seed, and how far from the printed one they are met."""

    name: str
    printed: float
    ours: Sequence[float]
    reach: float | None = None


def dots(rows: Sequence[Dots], title: str, unit: str) -> Figure:
    """Each row: the printed figure as an open diamond, as a bar where ours is met, ours as dots."""
    figure = Figure(figsize=(6.4, 0.9 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", linewidth=0.5, alpha=0.4)
    for place, row in enumerate(rows):
        if row.reach is not None:
            ends = row.printed - row.reach, row.printed + row.reach
            axes.plot(ends, (place, place), "-", lw=7, color=CYCLE[1][0], alpha=0.25, solid_capstyle="butt")
        axes.plot(row.printed, place, "D", ms=7, color=CYCLE[1][0], markerfacecolor="none")
        axes.plot(row.ours, [place] * len(row.ours), "o", ms=5, color=CYCLE[0][0], alpha=0.8)
    axes.plot([], [], "D", ms=7, color=CYCLE[1][0], markerfacecolor="none", label="printed")
    if any(row.reach is not None for row in rows):
        axes.plot([], [], "-", lw=7, color=CYCLE[1][0], alpha=0.25, label="tolerance or spread")
    axes.plot([], [], "o", ms=5, color=CYCLE[0][0], label="ours")
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)  # the first row above
    axes.set(title=title, xlabel=unit)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _panels(count: int, title: str, share: bool = True) -> tuple[Figure, list[Axes]]:
    width = 5.6 if count == 1 else 3.7 * count
    figure = Figure(figsize=(width, 3.6), layout="constrained")
    grid = figure.subplots(1, count, squeeze=False, sharex=share, sharey=share)
    for axes in grid[0]:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(linewidth=0.5, alpha=0.4)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, list(grid[0])


def _line(axes: Axes, points: XY, **style: Any) -> None:
    if points:
        axes.plot(*zip(*points, strict=True), **style)
