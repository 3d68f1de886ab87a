"""A study's report -> evidence: `python evidence/study.py runs/reproduce/reports/resnet-fig6-short --claim TEXT`.

Writes `evidence/study_resnet_fig6_short.json` and, for the pages that show it, `docs/figures/resnet_fig6_short*.png`.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def collect(report: Path, claim: str, note: str) -> dict[str, Any]:
    """The outcome of the study and the runs behind it; the folder in which images lay is left out."""
    facts = json.loads((report / "report.json").read_text())
    runs = [run for run in facts["runs"] if run["done"]]
    first = runs[0]
    study = facts["study"]
    return {
        "claim": claim,
        "note": note,
        "command": facts["command"].split(" --data ")[0].replace(" --report-only", ""),
        "study": study["name"],
        "scale": facts["outcome"]["scale"],
        "hardware": first["hardware"],
        "versions": first["versions"],
        "precision": first["precision"],
        "seeds": sorted({run["seed"] for run in runs}),
        "n": len(runs),
        "verdict": facts["verdict"],
        "claims": facts["outcome"]["claims"],
        "figures": facts["outcome"]["found"],
        "runs": [{key: value for key, value in run.items() if key not in ("hardware", "versions")} for run in runs],
    }


def main() -> None:
    """Read the command line, write the file beside this one and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--claim", required=True)
    parser.add_argument("--note", default="")
    parser.add_argument("--name", help="by default the report's folder")
    given = parser.parse_args()
    name = given.name or given.report.name.replace("-", "_")
    path = HERE / f"study_{name}.json"
    path.write_text(json.dumps(collect(given.report, given.claim, given.note), indent=1) + "\n")
    print(path)
    figures = HERE.parent / "docs" / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for picture in sorted(given.report.glob("*.png")):
        target = figures / (f"{name}.png" if picture.stem in ("curves", "responses") else f"{name}_{picture.name}")
        shutil.copy(picture, target)
        print(target)


if __name__ == "__main__":
    main()
