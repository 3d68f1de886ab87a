"""Results of analyses -> plots in the layout of the papers' figures: PNG and SVG, legible in print and colour-blind."""

import io
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from deepres.analyze.equivariance import StageError
from deepres.analyze.faithfulness import Faithfulness
from deepres.analyze.lesion import Lesions
from deepres.analyze.localisation import Box
from deepres.analyze.paths import EffectiveRange, PathGradients
from deepres.analyze.propagation import Propagation
from deepres.report.lettering import literal

BLUE, ORANGE, GREEN, PURPLE, GREY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#7f7f7f", "#D55E00"
CYCLE = (
    (BLUE, "-", "o"),
    (RED, "--", "s"),
    (GREEN, "-.", "^"),
    (PURPLE, ":", "D"),
    (ORANGE, "-", "v"),
    (GREY, "--", "x"),
)
"""Okabe and Ito's colours, each with a line and a mark of its own, so that none is told by colour alone."""


def deletions(lesions: Lesions) -> Figure:
    """Veit et al. 2016, Fig. 3: the error without each unit; triangles change the shape, the line is the whole net."""
    figure, (axes,) = _figure(1)
    alone = [one for one in lesions.deletions if len(one.units) == 1]
    places = range(1, len(alone) + 1)
    shaped = [place for place, one in zip(places, alone, strict=True) if one.units[0] in lesions.shaping]
    errors = [100 * one.error for one in alone]
    low = [100 * (one.error - one.error_low) for one in alone]
    high = [100 * (one.error_high - one.error) for one in alone]
    axes.errorbar(
        places,
        errors,
        yerr=(low, high),
        fmt="o",
        ms=3.5,
        color=BLUE,
        elinewidth=0.8,
        label="without it (95 % interval)",
    )
    if shaped:
        marked = [errors[place - 1] for place in shaped]
        axes.plot(shaped, marked, "^", ms=8, color=RED, label="… which changes the shape")
    axes.axhline(100 * lesions.intact.error, color=GREY, linestyle="--", linewidth=1, label="whole network")
    axes.set(xlabel="unit left out", ylabel=f"test {lesions.figure} (%)", title=f"{lesions.network}: one unit left out")
    highest = max([100 * lesions.intact.error, *(100 * one.error_high for one in alone)])
    axes.set_ylim(0, min(100, 1.1 * highest) or 1)
    figure.legend(frameon=False, fontsize=7, loc="outside lower center", ncols=3, columnspacing=1, handlelength=1.5)
    return figure


def random_deletions(lesions: Lesions) -> Figure:
    """Veit et al. 2016, Fig. 5a: the error without m random units; the box holds the middle half of the draws."""
    figure, (axes,) = _figure(1)
    by_count: dict[int, list[float]] = {}
    for one in lesions.deletions:
        by_count.setdefault(len(one.units), []).append(100 * one.error)
    axes.boxplot(
        list(by_count.values()),
        positions=list(by_count),
        widths=0.6,
        medianprops={"color": RED},
        showfliers=True,
        flierprops={"markersize": 2.5},
    )
    axes.axhline(100 * lesions.intact.error, color=GREY, linestyle="--", linewidth=1, label="whole network")
    axes.set(
        xlabel="units left out", ylabel=f"test {lesions.figure} (%)", title=f"{lesions.network}: random units left out"
    )
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def permutations(lesions: Lesions) -> Figure:
    """Veit et al. 2016, Fig. 5b: the error against Kendall's rank correlation of the order of the units."""
    figure, (axes,) = _figure(1)
    axes.plot(
        [one.kendall_tau for one in lesions.permutations],
        [100 * one.error for one in lesions.permutations],
        "o",
        ms=3.5,
        color=BLUE,
        alpha=0.7,
        label="one draw of exchanges",
    )
    axes.axhline(100 * lesions.intact.error, color=GREY, linestyle="--", linewidth=1, label="whole network")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set(
        xlabel="Kendall's rank correlation with the trained order", ylabel=f"test {lesions.figure} (%)", ylim=(0, 100)
    )
    axes.set_title(f"{lesions.network}: units exchanged")
    axes.invert_xaxis()
    axes.legend(frameon=False)
    return figure


def gradient_by_length(gradients: PathGradients, effective: EffectiveRange) -> Figure:
    """Veit et al. 2016, Fig. 6: how many paths of each length, what gradient one carries, what all of them carry."""
    figure, (count, one, all_) = _figure(3)
    lengths = [each.length for each in gradients.lengths]
    total = sum(each.num_paths for each in gradients.lengths)
    count.bar(lengths, [100 * each.num_paths / total for each in gradients.lengths], color=GREY)
    count.set(title="(a) paths of each length", ylabel="% of the paths")
    norms = [each.mean_norm for each in gradients.lengths]
    one.plot(lengths, norms, "-o", ms=3, color=BLUE)
    if any(norm > 0 for norm in norms):
        one.set_yscale("log")
    one.set(title="(b) gradient along one of them", ylabel="norm at the input")
    all_.bar(lengths, [100 * each.share for each in gradients.lengths], color=BLUE)
    all_.axvspan(
        effective.shortest - 0.5,
        effective.longest + 0.5,
        color=ORANGE,
        alpha=0.25,
        label=f"{effective.shortest} to {effective.longest} units: {100 * effective.gradient_share:.0f} %",
    )
    all_.set(title="(c) gradient along all of them", ylabel="% of the gradient")
    all_.set_ylim(0, 125 * max(each.share for each in gradients.lengths) or 1)
    all_.legend(frameon=False, fontsize=8)
    for axes in (count, one, all_):
        axes.set_xlabel("units on the path")
    return figure


def responses(series: Mapping[str, Sequence[float]]) -> Figure:
    """He et al. 2015, Fig. 7: the standard deviation of each layer's response, above in order, below by size."""
    figure, axes = _figure(1, rows=2, height=5.4)
    for one, title in zip(axes, ("in the order of the layers", "by size"), strict=True):
        for number, (name, values) in enumerate(series.items()):
            shown = values if one is axes[0] else sorted(values, reverse=True)
            _line(one, number, name, range(1, len(values) + 1), shown)
        one.set(title=title, ylabel="std of the response", xlabel="layer" if one is axes[0] else "layer, largest first")
        one.set_ylim(bottom=0)
    if len(series) > 1:
        axes[0].legend(frameon=False, fontsize=8)
    return figure


def flows(found: Propagation, what: Literal["signal", "gradient"]) -> Figure:
    """Signal or gradient of each variant, a panel each on common axes, beside eq. 4 to 8 of He et al. 2016."""
    columns = 3 if len(found.variants) in (5, 6) else min(4, len(found.variants))
    rows = ceil(len(found.variants) / columns)
    width, height = (5.4, 3.2) if columns == 1 else (2.6 * columns + 0.4, 2.1 * rows + 0.7)
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    panels = [axes for row in grid for axes in row]
    seen: list[float] = []
    for axes, variant in zip(panels, found.variants, strict=False):
        units = found.of(variant)
        measured = [unit.gradient if what == "gradient" else unit.mean_square for unit in units]
        predicted = [unit.direct if what == "gradient" else unit.added_square for unit in units]
        places = range(1, len(units) + 1)
        _plain_axes(axes)
        _line(axes, 0, "measured", places, measured)
        if any(value > 0 for value in predicted):
            above = [value if value > 0 else float("nan") for value in predicted]
            _line(axes, 1, "by the equations", places, above, marks=False)
        else:
            axes.text(0.5, 0.04, "by the equations: 0", transform=axes.transAxes, ha="center", fontsize=7, color=RED)
        axes.set_title(variant if columns > 1 else f"{found.network}: {what}", fontsize=9 if columns > 1 else None)
        axes.set_yscale("log")
        seen += [value for value in measured if value > 0]
    for axes in panels[len(found.variants) :]:
        axes.set_axis_off()
    if seen:  # a prediction that vanishes leaves the frame
        panels[0].set_ylim(min(seen) / 30, max(seen) * 30)
    handles, names = panels[0].get_legend_handles_labels()
    beside = panels[len(found.variants)] if len(panels) > len(found.variants) else panels[0]
    beside.legend(handles, names, frameon=False, fontsize=8, loc="center" if beside is not panels[0] else "best")
    figure.supxlabel("residual unit", fontsize=9)
    figure.supylabel("gradient norm at its input" if what == "gradient" else "mean square behind it", fontsize=9)
    return figure


def faithfulness(found: Faithfulness) -> Figure:
    """The class's probability as pixels go (left) or come (right) in the map's order, beside a random order."""
    figure, both = _figure(2)
    pairs = (
        ("deletion", found.deletion, found.random_deletion),
        ("insertion", found.insertion, found.random_insertion),
    )
    for axes, (name, ours, random) in zip(both, pairs, strict=True):
        for number, (order, curve) in enumerate((("in the map's order", ours), ("in random order", random))):
            shares = [100 * share for share in found.share]
            _line(axes, number, f"{order}: area {curve.area:.2f}", shares, curve.probability)
        axes.set(title=name, xlabel=f"pixels {'taken away' if name == 'deletion' else 'brought'} (%)", ylim=(0, 1))
        axes.set_ylabel("probability of the class")
        axes.set_xticks(range(0, 101, 25))
        axes.legend(frameon=False, fontsize=8)
    return figure


def stage_errors(stages: Sequence[StageError]) -> Figure:
    """The error of each part's maps under a shift, against its size; ringed where it is no multiple of the stride."""
    figure, (axes,) = _figure(1)
    parts = list(dict.fromkeys(one.part for one in stages))
    for number, part in enumerate(parts):
        told = [one for one in stages if one.part == part and one.relative_error is not None]
        shifts, errors = [one.shift_px for one in told], [one.relative_error or 0.0 for one in told]
        _line(axes, number, f"{part} (stride {told[0].stride})" if told else part, shifts, errors)
        uneven = [(shift, error) for one, shift, error in zip(told, shifts, errors, strict=True) if not one.multiple]
        axes.plot([shift for shift, _ in uneven], [error for _, error in uneven], "o", ms=9, mfc="none", mec=GREY)
    shifts = sorted({one.shift_px for one in stages})
    axes.set_xscale("log", base=2)
    axes.set_xticks(shifts, [str(shift) for shift in shifts])
    axes.set(title="maps that do not move along", xlabel="shift of the image (px)", ylabel="relative error of the map")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    return figure


def lines(
    series: Mapping[str, Sequence[float]], *, title: str, x: str, y: str, log: bool = False, first: int = 1
) -> Figure:
    """Several named series against their place, each with its own colour, line and mark."""
    figure, (axes,) = _figure(1, legend_beside=len(series) > 6)
    for number, (name, values) in enumerate(series.items()):
        _line(axes, number, name, range(first, first + len(values)), values)
    axes.set(title=title, xlabel=x, ylabel=y)
    if log:
        axes.set_yscale("log")
    if len(series) > 1:
        if len(series) > 6:
            axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
        else:
            axes.legend(frameon=False, fontsize=8)
    return figure


def heat_maps(blocks: Mapping[str, Sequence[Sequence[float | None]]], *, x: str, y: str, label: str) -> Figure:
    """One map beside the other, the same shades for all; None is left white."""
    figure, axes = _figure(len(blocks), height=3.4)
    largest = max((value for rows in blocks.values() for row in rows for value in row if value is not None), default=1)
    image = None
    for one, (name, rows) in zip(axes, blocks.items(), strict=True):
        filled = [[float("nan") if value is None else value for value in row] for row in rows]
        image = one.imshow(filled, cmap="viridis", vmin=0, vmax=largest, aspect="auto", origin="lower")
        one.set(title=name, xlabel=x, ylabel=y)
        one.grid(visible=False)
    if image is not None:
        figure.colorbar(image, ax=list(axes), label=label, shrink=0.85)
    return figure


def pictures(images: Mapping[str, tuple[Tensor, Tensor, Box | None]]) -> Figure:
    """Pairs of uint8 images (1 or 3, H, W), the second below the first with its box, each pair under its name."""
    figure = Figure(figsize=(1.5 * len(images), 3.4), layout="constrained")
    grid = figure.subplots(2, len(images), squeeze=False)
    for column, (name, (*pair, box)) in enumerate(images.items()):
        for row, image in enumerate(pair):
            axes = grid[row][column]
            pixels = image.expand(3, -1, -1).permute(1, 2, 0).numpy()
            axes.imshow(pixels, interpolation="nearest")
            axes.set_axis_off()
        grid[0][column].set_title(name, fontsize=8)
        if box is not None:
            left, top, right, bottom = box
            corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
            for colour, style in (("black", "-"), ("white", "--")):  # seen on every ground
                frame = Rectangle(corner, *size, fill=False, edgecolor=colour, linestyle=style, linewidth=1.5)
                grid[1][column].add_patch(frame)
    return figure


def bars(values: Mapping[str, float], *, title: str, y: str) -> Figure:
    """Named values side by side."""
    figure, (axes,) = _figure(1)
    axes.bar(list(values), list(values.values()), color=BLUE)
    axes.set(title=title, ylabel=y)
    axes.tick_params(axis="x", labelrotation=30 if len(values) > 4 else 0)
    return figure


def png(figure: Figure) -> bytes:
    """160 dots an inch, on white."""
    file = io.BytesIO()
    literal(figure).savefig(file, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return file.getvalue()


def svg(figure: Figure) -> str:
    """The same to the byte whenever the figure is the same: no date, no random names; text stays text."""
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "deepres", "svg.fonttype": "none"}):
        literal(figure).savefig(
            file, format="svg", facecolor="white", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    text = file.getvalue()
    return text[text.index("<svg ") :]


def _figure(
    columns: int, *, rows: int = 1, height: float = 3.2, legend_beside: bool = False
) -> tuple[Figure, Sequence[Axes]]:
    width = 5.4 if columns == 1 else 3.6 * columns
    figure = Figure(figsize=(width + 2.0 * legend_beside, height), layout="constrained")
    grid = [axes for row in figure.subplots(rows, columns, squeeze=False) for axes in row]
    for axes in grid:
        _plain_axes(axes)
    return figure, grid


def _plain_axes(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.5, alpha=0.4)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _line(
    axes: Axes, number: int, name: str, x: Sequence[float], values: Sequence[float], *, marks: bool = True
) -> None:
    """The series of that number in its own colour, line and mark."""
    colour, line, mark = CYCLE[number % len(CYCLE)]
    every = max(1, len(values) // 15)
    axes.plot(x, values, color=colour, linestyle=line, marker=mark if marks else "", ms=3, label=name, markevery=every)
