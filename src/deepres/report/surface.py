"""The loss around trained weights, drawn: contours over a plane, and slices along single directions."""

from collections.abc import Sequence
from math import nan

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from deepres.analyze.surface import Surface, SurfacePoint
from deepres.report.analysis import CYCLE, RED

LEVELS = 16
_X, _Y = "along direction 1 (lengths of the filters)", "along direction 2"


def plane(found: Surface) -> Figure:
    """Li et al. 2018, Fig. 5: contours of the cross-entropy at equal ratios, and of the error; a cross on the network.

    What is not finite is left white.
    """
    figure = Figure(figsize=(8.4, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    entropy = np.array([[_or_nan(point.cross_entropy) for point in row] for row in found.plane])
    error = np.array([[100 * point.num_wrong / found.num_images for point in row] for row in found.plane])
    known = entropy[np.isfinite(entropy) & (entropy > 0)]
    if known.size and known.max() > 1.001 * known.min():
        levels = np.geomspace(known.min(), known.max(), LEVELS)
        _contours(left, found.steps, np.maximum(entropy, known.min()), levels, logarithmic=True)
    left.set_title("cross-entropy (nats)", fontsize=9.5)
    if error.max() > error.min():
        _contours(right, found.steps, error, np.linspace(error.min(), error.max(), LEVELS), logarithmic=False)
    right.set_title("error (%)", fontsize=9.5)
    for axes in (left, right):
        axes.plot([0], [0], "+", color=RED, ms=11, mew=2)
        axes.set(
            xlabel=_X, ylabel=_Y, xlim=found.steps[:: len(found.steps) - 1], ylim=(found.steps[0], found.steps[-1])
        )
        axes.set_aspect("equal")
        axes.tick_params(labelsize=8)
    return figure


def slices(found: Surface) -> Figure:
    """Li et al. 2018, Fig. 2 and 3: cross-entropy (logarithmic) and error along each direction."""
    figure = Figure(figsize=(8.4, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, row in enumerate(found.slices):
        colour, line, mark = CYCLE[number % len(CYCLE)]
        for axes, values in ((left, _entropies(row)), (right, _errors(row, found.num_images))):
            axes.plot(
                found.steps, values, color=colour, linestyle=line, marker=mark, ms=3, label=f"direction {number + 1}"
            )
    if any(value > 0 for row in found.slices for value in _entropies(row)):
        left.set_yscale("log")
    left.set(title="cross-entropy (nats)", xlabel="along the direction (lengths of the filters)")
    right.set(title="error (%)", xlabel="along the direction (lengths of the filters)", ylim=(0, 104))
    for axes in (left, right):
        axes.axvline(0, color=RED, linewidth=0.8, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", linewidth=0.5, alpha=0.4)
        axes.set_axisbelow(True)
    if len(found.slices) <= len(CYCLE):
        left.legend(frameon=False, fontsize=7.5)
    return figure


def _contours(axes: Axes, steps: Sequence[float], values: np.ndarray, levels: np.ndarray, *, logarithmic: bool) -> None:
    masked = np.ma.masked_invalid(values)
    norm = LogNorm(levels[0], levels[-1]) if logarithmic else None
    axes.contourf(steps, steps, masked, levels=levels, norm=norm, cmap="viridis", extend="neither")
    lines = axes.contour(steps, steps, masked, levels=levels[1:-1:2], norm=norm, colors="white", linewidths=0.6)
    axes.clabel(lines, fmt="%.3g", fontsize=7)


def _entropies(row: Sequence[SurfacePoint]) -> list[float]:
    return [_or_nan(point.cross_entropy) for point in row]


def _errors(row: Sequence[SurfacePoint], num_images: int) -> list[float]:
    return [100 * point.num_wrong / num_images for point in row]


def _or_nan(value: float | None) -> float:
    return nan if value is None else value
