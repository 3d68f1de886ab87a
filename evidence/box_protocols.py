"""What `deepres eval RUN --json` printed of a detector, once for each protocol -> one evidence file.

`python evidence/box_protocols.py NAME [LABEL=]FILE… --claim TEXT [--note TEXT] [--seeds 0 1]`
"""

import argparse
import json
from pathlib import Path
from typing import Any

FIGURES = ("ap", "ap_low", "ap_high", "ap50", "ap75")


def collect(files: list[str], claim: str, note: str, seeds: list[int]) -> dict[str, Any]:
    """AP with its 95 % interval, AP50 and AP75 by protocol and precision, each file once; LABEL says what was asked."""
    labels, places = zip(*(file.rpartition("=")[::2] for file in files), strict=True)
    found = [json.loads(Path(place).read_text()) for place in places]
    first = found[0]["provenance"]
    rows = []
    for label, one in zip(labels, found, strict=True):
        row = {"command": one["provenance"]["command"], "protocol": one["protocol"], "precision": one["precision"]}
        row |= {"of": label} if label else {}
        rows.append({**row, "num_images": one["num_images"], **{name: one[name] for name in FIGURES}})
    about = {name: first[name] for name in ("command", "hardware", "versions")}
    return {"claim": claim, "note": note, **about, "seeds": seeds, "n": found[0]["num_images"], "rows": rows}


def main() -> None:
    """Read the command line, write the file beside this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--claim", required=True)
    parser.add_argument("--note", default="")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the runs")
    given = parser.parse_args()
    path = Path(__file__).parent / f"{given.name}.json"
    path.write_text(json.dumps(collect(given.files, given.claim, given.note, given.seeds), indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
