"""What a queue has trained at full length -> evidence: `python evidence/trained.py runs/full [--note TEXT]`.

Writes `evidence/trained.json`: of every figure that was trained our values beside the printed one, with the verdict;
every claim; every run with its commands, hardware, versions, seed, curve, test error and digest of the weights.
Curves of a figure go to `docs/figures/`.
"""

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

from deepres.base.wording import counted
from deepres.studies.readings import is_read
from deepres.studies.study import Study, study_named
from deepres.studies.texts import printed_text

HERE = Path(__file__).parent
PLACES = re.compile(r" --(data|output)[ =]\S+")
"""What of a command is true of one machine only."""
FLOAT32 = "train.precision=float32"


def collect(home: Path, note: str) -> dict[str, Any]:
    """The reports and the evidence of runs below `home`."""
    runs = [json.loads(path.read_text()) for path in sorted(home.glob("evidence/*.json"))]
    runs = [{**run, "command": PLACES.sub("", run["command"])} for run in runs if run["scale"] == "full"]
    reports = [json.loads(path.read_text()) for path in sorted(home.glob("reports/*/report.json"))]
    reports = [report for report in reports if report["outcome"]["scale"] == "full"]
    return {
        "claim": f"{counted(len(runs), 'run')} of the papers' studies, trained at full length",
        "note": note,
        "command": "deepres reproduce --queue evidence/queue_float32.json",
        "hardware": sorted({run["hardware"] for run in runs}),
        "versions": runs[-1]["versions"] if runs else {},
        "seeds": sorted({run["seed"] for run in runs}),
        "n": len(runs),
        "figures": [figure for report in reports for figure in _figures(report, runs)],
        "outcomes": [one for report in reports if (one := _published(report))["outcome"]["found"]],
        "claims": [
            {"study": report["study"]["name"], **one}
            for report in reports
            for one in report["outcome"]["claims"]
            if one["better"] is not None and one["worse"] is not None
        ],
        "runs": [{name: value for name, value in run.items() if name != "figures"} for run in runs],
    }


def _published(report: dict[str, Any]) -> dict[str, Any]:
    """The outcome, of the figures trained as the study has them; in float32, as the papers were, counts too."""
    study = Study.model_validate(report["study"])
    own = {row.label: row.edits[len(study_named(study.name).row(row.label).edits) :] for row in study.rows}
    as_printed = {label for label, edits in own.items() if set(edits) <= {FLOAT32}}
    found = [one for one in report["outcome"]["found"] if one["runs"] and one["row"] in as_printed]
    in_float32 = any(FLOAT32 in edits for edits in own.values())
    return {"in_float32": in_float32, "outcome": {**report["outcome"], "found": found}}


def _figures(report: dict[str, Any], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that were trained: the values of the seeds, and the verdict on them together."""
    study = Study.model_validate(report["study"])
    hours = {run["name"]: run["minutes"] / 60 for run in runs}
    found = []
    for one in report["outcome"]["found"]:
        row, column = study.row(one["row"]), study.column(one["column"])
        own = row.edits[len(study_named(study.name).row(row.label).edits) :]
        if is_read(column) or not one["runs"]:
            continue
        printed = row.printed.get(column.name)
        found.append(
            {
                "study": study.name,
                "row": row.label,
                "edits": list(own),
                "column": column.title,
                "printed": "" if printed is None else printed_text(printed, column),
                "values": one["values"],
                "ours": one["quoted"],
                "std": one["std"],
                "wanted": one["wanted"],
                "diverged": one["diverged"],
                "verdict": one["verdict"],
                "hours": sum(hours.get(name, 0.0) for name in one["runs"]),
            }
        )
    return found


def main() -> None:
    """Read the command line, write the file beside this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--note", default="")
    given = parser.parse_args()
    path = HERE / "trained.json"
    path.write_text(json.dumps(collect(given.runs, given.note), indent=1) + "\n")
    print(path)
    for report in sorted(given.runs.glob("reports/*/report.json")):
        found = json.loads(report.read_text())
        curves = report.with_name("curves.png")
        if found["outcome"]["scale"] == "full" and curves.is_file():
            name = found["study"]["name"].replace("/", "_")
            print(shutil.copy(curves, HERE.parent / "docs" / "figures" / f"{name}_full.png"))


if __name__ == "__main__":
    main()
