"""Results of `photos.py` -> evidence, with what was wanted beside what came out, and its picture."""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from deepres.base.errors import InputError

CONTENDERS = {"ours": "deepres train", "plain": "torchvision", "timm": "timm", "fastai": "fastai"}
"""By the name on the command line, the name that is told; ours first."""
SPEED = 2.5
"""How many times as fast as the plain loop ours is wanted, by wall clock of the whole command."""
BEGUN = {"resnet50_caffe": "from the authors' ResNet-50", "resnet44_cifar": "from a ResNet-44 of CIFAR-10"}
COMMON = ("photos", "beginning", "network", "size", "epochs", "batch_size", "images", "tested", "num_classes")


def write(folder: Path, output: Path) -> None:
    """The evidence of all results in the folder.

    Raises:
        InputError: none there; ones that do not belong together.
    """
    output.write_text(json.dumps(collected(folder), indent=1) + "\n")
    print(output)


def collected(folder: Path) -> dict[str, Any]:
    """Claim, conditions, and by case a row a contender and the verdict."""
    results = [json.loads(path.read_text()) for path in sorted((folder / "results").glob("*.json"))]
    if not results:
        raise InputError(f"{folder}: no results in it; make them with: photos.py run --folder {folder}")
    machines = sorted({result["hardware"] for result in results})
    if len(machines) > 1:
        raise InputError(f"{folder}: results of several machines ({'; '.join(machines)}), whose minutes do not compare")
    by_case: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_case[result["case"]].append(result)
    seeds = sorted({result["seed"] for result in results})
    newest = max(results, key=lambda result: result["when"])
    return {
        "claim": "one's own photos: deepres train by default beside what other libraries' documentation does",
        "note": "Same images to train on, to hold out and to test on, same network, weights, input size, epochs and "
        "batch size. Wall clock is that of the whole command, in turn with the others. The test images are measured "
        "once, at the end, in float32, by their centre crop. Spreads are standard deviations over seeds. "
        "`tested` names the test images where a list of one's own was given.",
        "command": "python bench/photos.py run --photos photos --folder runs/photos --seeds "
        + " ".join(str(seed) for seed in seeds),
        "hardware": machines[0],
        "threads": newest["threads"],
        "versions": {name: value for result in results for name, value in result["versions"].items()},
        "commits": sorted({result["commit"] for result in results}),
        "n": min(len({one["seed"] for one in found}) for found in by_case.values()),
        "seeds": seeds,
        "contenders": CONTENDERS,
        "cases": {name: _case(name, found) for name, found in sorted(by_case.items(), key=_order)},
    }


def _order(item: tuple[str, list[dict[str, Any]]]) -> tuple[bool, int, str]:
    first = item[1][0]
    return first["beginning"] is None, -first["size"], item[0]


def _case(name: str, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = results[0]
    for result in results:
        apart = [each for each in COMMON if result[each] != first[each]]
        if apart:
            raise InputError(
                f"case {name}: {apart[0]} is {first[apart[0]]} in one result, {result[apart[0]]} in another"
            )
    rows = {}
    for contender in CONTENDERS:
        own = sorted((one for one in results if one["contender"] == contender), key=lambda one: one["seed"])
        if own:
            rows[contender] = _row(own)
    begun = BEGUN.get(first["beginning"], f"{first['network']} from {first['beginning'] or 'scratch'}")
    return {**{each: first[each] for each in COMMON}, "told": begun, "rows": rows, "verdict": _verdict(rows)}


def _row(own: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def spread(name: str) -> dict[str, Any]:
        each = [one[name] for one in own if one[name] is not None]
        if not each:
            return {"mean": None, "std": None, "each": []}
        return {"mean": mean(each), "std": stdev(each) if len(each) > 1 else None, "each": each}

    return {
        "n": len(own),
        "seeds": [one["seed"] for one in own],
        "test_error": spread("test_error"),
        "held_out_error": spread("held_out_error"),
        "cross_entropy": spread("cross_entropy"),
        "calibration_error": spread("calibration_error"),
        "wall_seconds": spread("wall_seconds"),
        "training_seconds": spread("training_seconds"),
        "peak_memory_bytes": max(one["peak_memory_bytes"] for one in own),
        "precision": own[0]["precision"],
        "command": own[0]["command"],
    }


def _verdict(rows: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    """What was wanted of ours; None where ours or every peer is missing.

    The mean error at most that of the best peer plus its spread, a spread at most as large as that peer's, and `SPEED`
    times the plain loop's speed (the median of the ratios of the same seed).
    """
    peers = {name: row for name, row in rows.items() if name != "ours"}
    if "ours" not in rows or not peers:
        return None
    own, best = rows["ours"]["test_error"], min(peers, key=lambda name: peers[name]["test_error"]["mean"])
    theirs = peers[best]["test_error"]
    seconds = {name: dict(zip(row["seeds"], row["wall_seconds"]["each"], strict=True)) for name, row in rows.items()}
    ratios = {}
    for name in peers:
        pairs = [seconds[name][seed] / value for seed, value in seconds["ours"].items() if seed in seconds[name]]
        if pairs:
            ratios[name] = {"median": median(pairs), "min": min(pairs), "max": max(pairs)}
    return {
        "best_peer": best,
        "error_at_most_the_best": own["mean"] <= theirs["mean"] + (theirs["std"] or 0),
        "spread_no_larger": None if own["std"] is None or theirs["std"] is None else own["std"] <= theirs["std"],
        "times_as_fast": ratios,
        "fast_enough": ratios["plain"]["median"] >= SPEED if "plain" in ratios else None,
    }


def draw(evidence: Path, output: Path) -> None:
    """A panel a case: test error in percent against minutes, a point a seed, a large one for the mean."""
    from matplotlib.figure import Figure

    if not evidence.is_file():
        raise InputError(f"{evidence}: no such file; write it with: photos.py collect --output {evidence}")
    facts = json.loads(evidence.read_text())
    cases, across = facts["cases"], min(3, len(facts["cases"]))
    down = -(-len(cases) // across)
    figure = Figure(figsize=(max(5.5, 4.2 * across), 3.3 * down + 0.5), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for axis, case in zip(axes, cases.values(), strict=False):
        _panel(axis, case)
    for axis in axes[len(cases) :]:
        axis.set_axis_off()
    for axis in axes[max(0, len(cases) - across) : len(cases)]:
        axis.set_xlabel("minutes of the whole command")
    for axis in axes[::across]:
        axis.set_ylabel("test error, %")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.savefig(output, dpi=110, metadata={"Software": None} if output.suffix == ".png" else None)
    print(output, file=sys.stderr)


COLOURS = {"ours": "#c0392b", "plain": "#555555", "timm": "#2471a3", "fastai": "#b9770e"}
MARKERS = {"ours": "o", "plain": "s", "timm": "^", "fastai": "D"}


def _panel(axis: Any, case: dict[str, Any]) -> None:
    for contender, row in case["rows"].items():
        minutes = [value / 60 for value in row["wall_seconds"]["each"]]
        errors = [100 * value for value in row["test_error"]["each"]]
        look = {"color": COLOURS[contender], "marker": MARKERS[contender], "linestyle": "none"}
        axis.plot(minutes, errors, markersize=4, alpha=0.45, **look)
        axis.plot([mean(minutes)], [mean(errors)], markersize=9, label=CONTENDERS[contender], **look)
    axis.set_title(f"{case['photos']}, {case['told']}\n{case['size']} px, {case['epochs']} epochs", fontsize=9)
    for limits, name in ((axis.set_xlim, "wall_seconds"), (axis.set_ylim, "test_error")):
        highest = max(value for row in case["rows"].values() for value in row[name]["each"])
        limits(0, 1.12 * (highest / 60 if name == "wall_seconds" else 100 * highest) or 1)
    axis.grid(alpha=0.25)
