"""What `deepres eval RUN --json` printed of a detector, once for each protocol -> one evidence file.

`python evidence/box_protocols.py NAME FILE… --claim TEXT [--note TEXT]`
"""

import argparse
import json
from pathlib import Path
from typing import Any

FIGURES = ("ap", "ap_low", "ap_high", "ap50", "ap75")


def collect(files: list[Path], claim: str, note: str) -> dict[str, Any]:
    """AP with its 95 % interval, AP50 and AP75 by protocol and precision, each file once."""
    found = [json.loads(file.read_text()) for file in files]
    first = found[0]["provenance"]
    rows = []
    for one in found:
        row = {"command": one["provenance"]["command"], "protocol": one["protocol"], "precision": one["precision"]}
        rows.append({**row, "num_images": one["num_images"], **{name: one[name] for name in FIGURES}})
    about = {name: first[name] for name in ("command", "hardware", "versions")}
    return {"claim": claim, "note": note, **about, "seeds": [0], "n": found[0]["num_images"], "rows": rows}


def main() -> None:
    """Read the command line, write the file beside this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--claim", required=True)
    parser.add_argument("--note", default="")
    given = parser.parse_args()
    path = Path(__file__).parent / f"{given.name}.json"
    path.write_text(json.dumps(collect(given.files, given.claim, given.note), indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
