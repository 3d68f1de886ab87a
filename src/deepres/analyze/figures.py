"""Results of analyses -> plots in the layout of the papers' figures: PNG and SVG, legible in print and colour-blind."""

import io
from collections.abc import Mapping, Sequence
from statistics import mean, quantiles

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from deepres.analyze.lesion import Lesions
from deepres.analyze.paths import EffectiveRange, PathGradients

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
    shaped = [place for place, one in zip(places, alone, strict=True) if _first_of_a_later_stage(one.units[0])]
    errors = [100 * one.error for one in alone]
    low = [100 * (one.error - one.error_low) for one in alone]
    high = [100 * (one.error_high - one.error) for one in alone]
    axes.errorbar(
        places, errors, yerr=(low, high), fmt="o", ms=3.5, color=BLUE, elinewidth=0.8, label="without this unit"
    )
    axes.plot(shaped, [errors[place - 1] for place in shaped], "^", ms=8, color=RED, label="… which changes the shape")
    axes.axhline(100 * lesions.intact.error, color=GREY, linestyle="--", linewidth=1, label="whole network")
    axes.set(xlabel="unit left out", ylabel="test error (%)", title=f"{lesions.network}: one unit left out")
    axes.set_ylim(0, min(100, 1.15 * max([*errors, 100 * lesions.intact.error])) or 1)
    axes.legend(frameon=False)
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
    axes.set(xlabel="units left out", ylabel="test error (%)", title=f"{lesions.network}: random units left out")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False)
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
    axes.set(xlabel="Kendall's rank correlation with the trained order", ylabel="test error (%)", ylim=(0, 100))
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
    count.set(title="paths of each length", ylabel="% of the paths")
    norms = [each.mean_norm for each in gradients.lengths]
    one.plot(lengths, norms, "-o", ms=3, color=BLUE)
    if any(norm > 0 for norm in norms):
        one.set_yscale("log")
    one.set(title="gradient that one path carries", ylabel="norm at the input")
    all_.bar(lengths, [100 * each.share for each in gradients.lengths], color=BLUE)
    all_.axvspan(
        effective.shortest - 0.5,
        effective.longest + 0.5,
        color=ORANGE,
        alpha=0.25,
        label=f"{effective.shortest} to {effective.longest} units: {100 * effective.gradient_share:.0f} %",
    )
    all_.set(title="gradient that all of them carry", ylabel="% of the gradient")
    all_.legend(frameon=False)
    for axes in (count, one, all_):
        axes.set_xlabel("units on the path")
    return figure


def lines(
    series: Mapping[str, Sequence[float]], *, title: str, x: str, y: str, log: bool = False, first: int = 1
) -> Figure:
    """Several named series against their place, each with its own colour, line and mark."""
    figure, (axes,) = _figure(1, legend_beside=len(series) > 6)
    for number, (name, values) in enumerate(series.items()):
        colour, line, mark = CYCLE[number % len(CYCLE)]
        axes.plot(
            range(first, first + len(values)),
            values,
            color=colour,
            linestyle=line,
            marker=mark,
            ms=3,
            label=name,
            markevery=max(1, len(values) // 15),
        )
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


def pictures(images: Mapping[str, tuple[Tensor, Tensor]]) -> Figure:
    """Pairs of uint8 images (1 or 3, H, W), the second below the first, each pair under its name."""
    figure = Figure(figsize=(1.5 * len(images), 3.4), layout="constrained")
    grid = figure.subplots(2, len(images), squeeze=False)
    for column, (name, pair) in enumerate(images.items()):
        for row, image in enumerate(pair):
            axes = grid[row][column]
            pixels = image.expand(3, -1, -1).permute(1, 2, 0).numpy()
            axes.imshow(pixels, interpolation="nearest")
            axes.set_axis_off()
        grid[0][column].set_title(name, fontsize=8)
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
    figure.savefig(file, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return file.getvalue()


def svg(figure: Figure) -> str:
    """The same to the byte whenever the figure is the same: no date, no random names; text stays text."""
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "deepres", "svg.fonttype": "none"}):
        figure.savefig(
            file, format="svg", facecolor="white", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    text = file.getvalue()
    return text[text.index("<svg ") :]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, mean, upper quartile; of one value that value thrice."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, mean(values), high


def _figure(columns: int, *, height: float = 3.2, legend_beside: bool = False) -> tuple[Figure, Sequence[Axes]]:
    width = 5.6 if columns == 1 else 3.6 * columns
    figure = Figure(figsize=(width + 2.0 * legend_beside, height), layout="constrained")
    grid = figure.subplots(1, columns, squeeze=False)
    for axes in grid[0]:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", linewidth=0.5, alpha=0.4)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, list(grid[0])


def _first_of_a_later_stage(unit: str) -> bool:
    stage, _, name = unit.rpartition(".")
    return name == "unit1" and stage not in ("stage1", "")
