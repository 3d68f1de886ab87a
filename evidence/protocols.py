"""Trained weights under several protocols: `python evidence/protocols.py NAME WEIGHTS SOURCE --protocol … --claim …`.

Writes NAME.json: for each protocol what `deepres eval` says of all images of SOURCE.
"""

import argparse
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from deepres.data.sources.config import DataConfig
from deepres.runs.evaluate import evaluate_weights

HERE = Path(__file__).parent
KEPT = (
    "num_images",
    "num_wrong",
    "error",
    "error_low",
    "error_high",
    "top5_error",
    "cross_entropy",
    "calibration_error",
)


def main() -> None:
    """Measure each protocol, write the file beside this one after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("weights")
    parser.add_argument("source")
    parser.add_argument("--protocol", action="append", required=True)
    parser.add_argument("--claim", required=True)
    parser.add_argument("--note", default="")
    given = parser.parse_args()
    words = [Path(word).name if word.startswith(("/", ".")) else word for word in sys.argv[1:]]
    command = " ".join(["python evidence/protocols.py", *(f'"{w}"' if " " in w else w for w in words)])
    facts: dict[str, Any] = {"claim": given.claim, "note": given.note, "command": command}
    rows: list[dict[str, Any]] = []
    for protocol in given.protocol:
        began = perf_counter()
        evaluation, _ = evaluate_weights(
            given.weights,
            DataConfig(source=given.source),
            protocol=protocol,
            device=torch.device("cpu"),
            command=command,
        )
        result = evaluation.result.model_dump(mode="json")
        told = result["provenance"]
        facts |= {name: told[name] for name in ("model", "hardware", "precision", "versions")}
        facts |= {"n": result["num_images"], "rows": rows}
        rows.append({"protocol": result["protocol"], **{name: result[name] for name in KEPT}})
        print(f"{rows[-1]}  {perf_counter() - began:.0f} s", flush=True)
        (HERE / f"{given.name}.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
