"""`taken_apart_*.json` -> docs/taken_apart.md and its figures: `python evidence/taken_apart_page.py`.

Every number of the page comes from those files; so do the sentences that compare them with the papers.
"""

import json
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from deepres.analyze.lesion import Lesions
from deepres.analyze.paths import EffectiveRange, PathGradients
from deepres.analyze.responses import Responses
from deepres.base.records import build
from deepres.base.wording import counted
from deepres.report import analysis

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
PAPER_UNITS = 54
"""Residual units of the paper's network, ResNet-110 with pre-activation."""
FULL = "_full"
"""How the files of those end that were trained here, at the paper's length."""


def networks() -> dict[str, dict[str, Any]]:
    """The facts of each network by the name of its file, residual ones by depth, then the plain ones."""
    found = {
        path.stem.removeprefix("taken_apart_"): json.loads(path.read_text()) for path in HERE.glob("taken_apart_*.json")
    }

    def place(item: tuple[str, dict[str, Any]]) -> tuple[bool, int, bool, str]:
        name, facts = item
        return not _residual(facts), len(_each(facts).units), not name.endswith(FULL), name

    return dict(sorted(found.items(), key=place))


def compared(name: str, facts: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows of (what, the paper's figure, ours, whether the difference is explained)."""
    each, random = _each(facts), build(Lesions, facts["numbers"]["random"], name)
    cost = {one.units[0]: one.error - each.intact.error for one in each.deletions}
    units = len(each.units)
    if not _residual(facts):
        low, high = min(one.error for one in each.deletions), max(one.error for one in each.deletions)
        return [
            (
                "any layer left out",
                "chance, 90 %",
                f"{_percent(low)} to {_percent(high)}, {_percent(median(one.error for one in each.deletions))} in the "
                f"middle; whole network {_percent(each.intact.error)}",
                "near chance, as in the paper" if low > 0.8 else _milder(each),
            ),
        ]
    if facts["network"].removesuffix("_cifar") == facts["network"]:
        return _on_imagenet(each, random, cost) + _moved(facts, name) + _lengths(facts, name)[:1]
    shaped = {unit: value for unit, value in cost.items() if unit in each.shaping}
    others = {unit: value for unit, value in cost.items() if unit not in shaped}
    dearest = max(cost, key=cost.__getitem__)
    share = 10 / PAPER_UNITS
    count = min({len(one.units) for one in random.deletions}, key=lambda m: abs(m - share * units))
    by_count = {m: [one.error for one in random.deletions if len(one.units) == m] for m in (count, _most(random))}
    rows = [
        (
            "one unit left out that keeps the shape",
            "no noticeable change",
            f"+{100 * median(others.values()):.1f} points in the middle, +{100 * min(others.values()):.1f} to "
            f"+{100 * max(others.values()):.1f}",
            f"explained by depth as far as two depths show (table above): {units} units do the work of {PAPER_UNITS}. "
            "What the ReLU behind the addition adds is not told apart",
        ),
        (
            "one unit left out that changes the shape",
            "modest peaks: these cost most",
            ", ".join(f"{unit} +{100 * value:.1f} points" for unit, value in shaped.items()),
            "as in the paper: the dearest is among them"
            if dearest in shaped
            else f"the dearest of all is {dearest}{', one of the first three' if dearest in each.units[:3] else ''}",
        ),
        (
            f"{count} of {units} units left out ({100 * count / units:.0f} %; the paper's 10 of {PAPER_UNITS} are "
            f"{100 * share:.0f} %)",
            "about 20 %",
            f"{_percent(mean(by_count[count]))} on average",
            f"explained by depth: {units - count} units remain, in the paper {PAPER_UNITS - 10}",
        ),
        (
            f"{_most(random)} units left out",
            "20 of 54: a severe drop",
            f"{_percent(mean(by_count[_most(random)]))} on average",
            "all units are gone" if _most(random) == units else "as in the paper",
        ),
    ]
    return rows + _moved(facts, name) + _lengths(facts, name) + _answers(facts, name)


def _on_imagenet(each: Lesions, random: Lesions, cost: dict[str, float]) -> list[tuple[str, str, str, str]]:
    shaped = {unit: value for unit, value in cost.items() if unit in each.shaping}
    others = [value for unit, value in cost.items() if unit not in shaped]
    dearest = max(cost, key=cost.__getitem__)
    counts = sorted({len(one.units) for one in random.deletions})
    return [
        (
            "one unit left out that keeps the shape",
            "ResNet-200: no noticeable change",
            f"{100 * median(others):+.1f} points in the middle, {100 * min(others):+.1f} to {100 * max(others):+.1f}",
            "as in the paper" if median(others) < 0.02 else "milder in deeper networks (table above)",
        ),
        (
            "one unit left out that changes the shape",
            "ResNet-200: larger peaks than on CIFAR-10",
            ", ".join(f"{unit} {100 * value:+.1f} points" for unit, value in shaped.items()),
            "as in the paper: the dearest is among them" if dearest in shaped else f"the dearest of all is {dearest}",
        ),
        (
            "units left out at random",
            "the error rises smoothly (CIFAR-10)",
            "; ".join(
                f"{count}: {_percent(mean(one.error for one in random.deletions if len(one.units) == count))}"
                for count in counts
            ),
            f"{len(each.units)} units in all",
        ),
    ]


def _moved(facts: dict[str, Any], name: str) -> list[tuple[str, str, str, str]]:
    moved = build(Lesions, facts["numbers"]["permutations"], name)
    by_swaps: dict[int, list[tuple[float, float]]] = {}
    for one in moved.permutations:
        by_swaps.setdefault(one.num_swaps, []).append((one.kendall_tau, one.error))
    told = "; ".join(
        f"{counted(swaps, 'swap')} (correlation {mean(t for t, _ in found):.2f}): {_percent(mean(e for _, e in found))}"
        for swaps, found in by_swaps.items()
    )
    errors = [mean(error for _, error in found) for found in by_swaps.values()]
    smooth = _rises(errors)
    return [
        (
            "units exchanged",
            "the error rises smoothly as the correlation falls",
            told,
            "rises as in the paper; steeper, explained by depth"
            if smooth
            else "does not rise at every step: few pairs can change places, and a later swap may undo one before",
        )
    ]


def _lengths(facts: dict[str, Any], name: str) -> list[tuple[str, str, str, str]]:
    gradients = build(PathGradients, facts["numbers"]["gradients"], name)
    effective = build(EffectiveRange, facts["numbers"]["effective"], name)
    decay = facts["numbers"]["decay"]
    fades = decay < 1
    return [
        (
            "gradient along a path, per unit on it",
            "falls exponentially (0.24 to 0.26 times per unit would give the paper's effective range: our calculation)",
            f"{decay:.2f} times per unit",
            "falls as in the paper, less steeply: fewer units"
            if fades
            else "explained by depth: a branch passes on more gradient than its shortcut here; in the deeper network "
            "less (table above)",
        ),
        (
            "lengths that carry the gradient (95 %)",
            f"5 to 17 of {PAPER_UNITS} units, 0.45 % of all paths",
            f"{effective.shortest} to {effective.longest} of {gradients.num_units} units, "
            f"{100 * effective.paths_share:.3g} % of all paths",
            "shorter than the most frequent length, as in the paper"
            if _is_short(effective, gradients.num_units)
            else "not short ones: follows from the row above",
        ),
    ]


def _answers(facts: dict[str, Any], name: str) -> list[tuple[str, str, str, str]]:
    stds = _stds(name, facts)
    return [
        (
            "standard deviation of the responses",
            "residual below plain, deeper below shallower (read off a plot, no figure is printed)",
            f"{mean(stds):.2f} on average over {len(stds)} layers, {min(stds):.2f} to {max(stds):.2f}",
            "see the table above",
        )
    ]


def page(found: dict[str, dict[str, Any]]) -> str:
    """The whole page."""
    lines = [
        "# Networks taken apart",
        "",
        "What `deepres analyze` finds in networks that were trained on CIFAR-10, and in the ResNet-50 that the authors "
        "of the first paper released for ImageNet, beside what the papers print: Veit et "
        'al. 2016 ("Residual Networks Behave Like Ensembles", arXiv 1605.06431) and He et al. 2015 (arXiv 1512.03385). '
        "The paper's network is ResNet-110 with pre-activation, 54 units; no weights of it were at hand. This page and "
        "its figures are generated from `evidence/taken_apart_*.json` by `python evidence/taken_apart_page.py`.",
        "",
        "## What depth changes",
        "",
        *_by_depth(found),
        "",
        "## The papers' claims",
        "",
        *claims(found),
    ]
    for name, facts in found.items():
        each = _each(facts)
        lines += [
            "",
            f"## {_called(name, facts)}{'' if _residual(facts) else ', a plain network'}",
            "",
            f"{facts['claim']}. {facts['note']}. Each unit: {facts['n']:,} images; all else: "
            f"{facts['n_random']:,}, {facts['draws']} draws. Whole network {_percent(each.intact.error)} "
            f"(95 % interval {_percent(each.intact.error_low)} to {_percent(each.intact.error_high)}).",
            "",
            "| what | paper | ours | difference |",
            "| --- | --- | --- | --- |",
            *(f"| {' | '.join(row)} |" for row in compared(name, facts)),
            "",
            *(
                f"![{plot.replace('_', ' ')} of {_called(name, facts)}](figures/{name}_{plot}.png)"
                for plot in _plots(facts)
            ),
        ]
    return "\n".join(lines) + "\n"


def claims(found: dict[str, dict[str, Any]]) -> list[str]:
    """One row a claim and a network that it is about: what decides it, and whether it holds."""
    lines = ["| claim | network | here | holds |", "| --- | --- | --- | --- |"]

    def row(claim: str, network: str, told: str, holds: bool) -> None:
        lines.append(f"| {claim} | {network} | {told} | {'yes' if holds else 'no'} |")

    stds = {}
    for name, facts in found.items():
        each, network = _each(facts), _called(name, facts)
        errors = [one.error for one in each.deletions]
        if name.endswith(FULL):
            stds[network] = mean(_stds(name, facts))
        if not _residual(facts):
            told = f"{_percent(median(errors))} in the middle"
            row("a plain network collapses without any one layer (Veit, Fig. 3)", network, told, median(errors) > 0.8)
            continue
        by_count: dict[int, list[float]] = {0: [each.intact.error]}
        for one in build(Lesions, facts["numbers"]["random"], name).deletions:
            by_count.setdefault(len(one.units), []).append(one.error)
        means = [mean(by_count[count]) for count in sorted(by_count)]
        rising = f"at most {100 * _largest_step(by_count):+.0f} points for one more unit"
        row("the error rises smoothly with the units left out (Veit, Fig. 5a)", network, rising, _rises(means))
        moved: dict[int, list[float]] = {0: [each.intact.error]}
        for other in build(Lesions, facts["numbers"]["permutations"], name).permutations:
            moved.setdefault(other.num_swaps, []).append(other.error)
        swapped = [mean(moved[count]) for count in sorted(moved)]
        told = " to ".join((_percent(swapped[0]), _percent(max(swapped))))
        row("… with the units exchanged (Veit, Fig. 5b)", network, told, _rises(swapped))
        effective = build(EffectiveRange, facts["numbers"]["effective"], name)
        units = len(each.units)
        told = f"{effective.shortest} to {effective.longest} units; the mean length of all paths is {units / 2:g}"
        row("effective paths are shorter than the mean (Veit, Fig. 6)", network, told, _is_short(effective, units))
    for network, plain in ((name, name.replace("resnet", "plain")) for name in stds):
        if network != plain and plain in stds:
            told = f"{stds[network]:.2f} and {stds[plain]:.2f}"
            row(f"responses below those of {plain} (He, Fig. 7)", network, told, stds[network] < stds[plain])
    return [
        *lines,
        "",
        "Smoothly: nowhere falling by more than 2 points. Collapses: more than 80 % wrong in the middle.",
    ]


def _rises(errors: list[float]) -> bool:
    """Never falling by more than 2 points from one number to the next."""
    return all(later >= before - 0.02 for before, later in pairwise(errors))


def _largest_step(by_count: dict[int, list[float]]) -> float:
    """By how much the mean error rises at most for one more unit."""
    return max(
        (mean(by_count[later]) - mean(by_count[before])) / (later - before)
        for before, later in pairwise(sorted(by_count))
    )


def _is_short(effective: EffectiveRange, units: int) -> bool:
    """Whether the middle of the range is below the mean length of all paths."""
    return effective.shortest + effective.longest < units


def _by_depth(found: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        "| network | units | error | + without one unit that keeps the shape, middle | gradient per unit on a path | "
        "mean std of responses |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, facts in found.items():
        each = _each(facts)
        costs = [one.error - each.intact.error for one in each.deletions if one.units[0] not in each.shaping]
        decay = f"{facts['numbers']['decay']:.2f} x" if _residual(facts) else "one path only"
        lines.append(
            f"| {_called(name, facts)} | {len(each.units)} | {_percent(each.intact.error)} | {100 * median(costs):.1f} "
            f"points | {decay} | {mean(_stds(name, facts)):.2f} |"
        )
    return lines


def drawn(found: dict[str, dict[str, Any]]) -> dict[str, bytes]:
    """The figures by the name of their file."""
    files = {}
    for name, facts in found.items():
        for plot, figure in _figures(name, facts, found).items():
            files[f"{name}_{plot}.png"] = analysis.png(figure)
    return files


def _figures(name: str, facts: dict[str, Any], among: dict[str, dict[str, Any]]) -> dict[str, Any]:
    numbers = facts["numbers"]
    plots = {
        "each": analysis.deletions(_each(facts)),
        "random": analysis.random_deletions(build(Lesions, numbers["random"], name)),
    }
    if _residual(facts):
        plots["permutations"] = analysis.permutations(build(Lesions, numbers["permutations"], name))
        gradients = build(PathGradients, numbers["gradients"], name)
        plots["lengths"] = analysis.gradient_by_length(gradients, build(EffectiveRange, numbers["effective"], name))
    twin = name.replace("resnet", "plain")
    beside = (name, twin) if name.endswith(FULL) and twin in among else (name,)
    plots["responses"] = analysis.responses({among[one]["network"]: _stds(one, among[one]) for one in beside})
    return plots


def _plots(facts: dict[str, Any]) -> tuple[str, ...]:
    return ("each", "random", "permutations", "lengths", "responses") if _residual(facts) else (
        "each", "random", "responses"
    )  # fmt: skip


def _each(facts: dict[str, Any]) -> Lesions:
    return build(Lesions, facts["numbers"]["each"], facts["network"])


def _stds(name: str, facts: dict[str, Any]) -> list[float]:
    """The standard deviation of each layer's response."""
    return [layer.std for layer in build(Responses, facts["numbers"]["responses"], name).layers]


def _called(name: str, facts: dict[str, Any]) -> str:
    return facts["network"] + (", ours" if name.endswith(FULL) else "")


def _residual(facts: dict[str, Any]) -> bool:
    return "gradients" in facts["numbers"]


def _most(lesions: Lesions) -> int:
    return max(len(one.units) for one in lesions.deletions)


def _milder(each: Lesions) -> str:
    near = [one for one in each.deletions if one.error > 0.8]
    mildest = min(each.deletions, key=lambda one: one.error)
    return (
        f"{len(near)} of {len(each.deletions)} layers bring it above 80 %; the mildest is {mildest.units[0]} (95 % "
        f"interval {_percent(mildest.error_low)} to {_percent(mildest.error_high)}). Trained for a few epochs, and "
        "narrower; the paper's was trained in full"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def main() -> None:
    """Write page and figures."""
    found = networks()
    (DOCS / "figures").mkdir(exist_ok=True)
    for name, content in drawn(found).items():
        (DOCS / "figures" / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes")
    (DOCS / "taken_apart.md").write_text(page(found))


if __name__ == "__main__":
    main()
