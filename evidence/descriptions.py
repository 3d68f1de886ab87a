"""Printed figures that descriptions alone give, beside ours: `python evidence/descriptions.py`; `descriptions.json`.

No images, no training, no random numbers: sizes, costs, depths, maps and paths, as `deepres reproduce --descriptions`
shows them. A figure is reproduced where ours, rounded as far as the printed one, is that figure.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from deepres.nn.environment import hardware, versions
from deepres.studies.overview import descriptions

PATH = Path(__file__).parent / "descriptions.json"


def figures() -> list[dict[str, Any]]:
    """Every such figure of every study, in the papers' order."""
    return [one.model_dump(mode="json", exclude={"source"}) for one in descriptions()]


def collect() -> dict[str, Any]:
    """The figures and how many of them came out, in all and by study."""
    found = figures()
    counts = Counter(one["verdict"] for one in found)
    by_study: dict[str, Counter[str]] = {}
    for one in found:
        by_study.setdefault(one["study"], Counter())[one["verdict"]] += 1
    return {
        "claim": f"{counts['reproduced']} of {len(found)} printed figures come out of the descriptions alone",
        "note": "reproduced: ours, rounded as far as the printed figure, is that figure; where it is not, why",
        "command": "python evidence/descriptions.py",
        "hardware": hardware(torch.device("cpu")),
        "versions": versions(),
        "seeds": [],
        "n": len(found),
        "verdicts": dict(counts),
        "studies": {name: dict(verdicts) for name, verdicts in by_study.items()},
        "figures": found,
    }


if __name__ == "__main__":
    facts = collect()
    PATH.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    print(facts["claim"])
