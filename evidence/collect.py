"""Run folders -> one evidence file: `python evidence/collect.py NAME RUN… --claim TEXT [--note TEXT] [--draw]`."""

import argparse
import json
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from deepres.report.analysis import png
from deepres.report.studies import ErrorCurve, curves


def collect(runs: list[Path], claim: str, note: str) -> dict[str, Any]:
    """Test error over the runs (of detectors AP and AP50, or those of masks; mean, spread, each), images/s, curves."""
    summaries = [json.loads((run / "summary.json").read_text()) for run in runs]
    histories = [[json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()] for run in runs]
    speeds = [row["images_per_second"] for rows in histories for row in rows]
    first = summaries[0]
    return {
        "claim": claim,
        "note": note,
        "command": first["command"],
        "model": first["model"],
        "source": first["source"],
        "recipe": first["recipe"],
        "hardware": first["hardware"],
        "precision": first["precision"],
        "versions": first["versions"],
        "seeds": [summary["seed"] for summary in summaries],
        "n": len(runs),
        "num_test_images": first["num_images"],
        **_measured(summaries),
        "images_per_second": {"median": median(speeds), "min": min(speeds), "max": max(speeds)},
        "training_seconds": [sum(row["seconds"] for row in rows) for rows in histories],
        "curves": [[{name: row[name] for name in CURVE if name in row} for row in rows] for rows in histories],
    }


def _measured(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    of_boxes = summaries[0].get("task") == "detection"
    ap = "mask AP" if summaries[0].get("measure") == "masks" else "AP"
    keys = {ap: ap, f"{ap}50": "ap50"} if of_boxes else {"test_error": "error"}
    over = {name: _over([summary[key] for summary in summaries]) for name, key in keys.items()}
    interval = summaries[0]["interval_95" if of_boxes else "error_interval_95"]
    over[next(iter(over))]["interval_95_of_first"] = interval
    return {"average_precision": over, "epochs": summaries[0]["epochs"]} if of_boxes else over


def _over(values: list[float]) -> dict[str, Any]:
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else None, "each": values}


CURVE = (
    *(
        "epoch",
        "step",
        "train_loss",
        "train_error",
        "train_region_error",
        "train_masks",
        "val_loss",
        "val_error",
        "val_1-AP",
        "val_AP",
        "val_AP50",
        "lr",
    ),
    "images_per_second",
)


def main() -> None:
    """Read the command line, write the file beside this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--claim", required=True)
    parser.add_argument("--note", default="")
    parser.add_argument("--draw", action="store_true", help="the curves too, as docs/figures/NAME.png")
    given = parser.parse_args()
    facts = collect(given.runs, given.claim, given.note)
    path = Path(__file__).parent / f"{given.name}.json"
    path.write_text(json.dumps(facts, indent=1) + "\n")
    print(path)
    if given.draw:
        picture = path.parent.parent / "docs" / "figures" / f"{given.name}.png"
        picture.write_bytes(drawn(facts))
        print(picture)


def drawn(facts: dict[str, Any]) -> bytes:
    """The curves in the layout of He et al. 2015, Fig. 6."""
    found = []
    for seed, error, curve in zip(facts["seeds"], facts["test_error"]["each"], facts["curves"], strict=True):
        train, held_out = (
            [(row["step"] / 1000, 100 * row[name]) for row in curve if row[name] is not None]
            for name in ("train_error", "val_error")
        )
        label = facts["model"] if facts["n"] == 1 else f"seed {seed}"
        found.append(ErrorCurve(label, facts["model"], train, held_out, 100 * error))
    return png(curves(found, facts["source"]))


if __name__ == "__main__":
    main()
