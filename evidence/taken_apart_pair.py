"""The deepest pair that a queue has trained, taken apart: `python evidence/taken_apart_pair.py runs/full SOURCE`.

A residual network and the plain one of its depth, both trained at full length: `taken_apart.py` of each (Veit et al.
2016, Fig. 3, 5a, 5b, 6; He et al. 2015, Fig. 7), then the page. What follows SOURCE is handed on (`--images 2000`).
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NETWORK = re.compile(r"(resnet|plain)(\d+)_cifar")


def deepest(home: Path) -> dict[str, dict[str, Any]]:
    """Kind, resnet or plain -> the evidence of a run, of the largest depth of which both have ended.

    Raises:
        SystemExit: there is no such pair.
    """
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for path in sorted(home.glob("evidence/*.json")):
        run = json.loads(path.read_text())
        named = NETWORK.fullmatch(run["network"])
        if named is None or run["diverged"] or (run["scale"], run["recipe"]) != ("full", "cifar_2015"):
            continue
        if run["seed"] == 0:
            found.setdefault(int(named[2]), {})[named[1]] = run
    pairs = {depth: runs for depth, runs in found.items() if len(runs) == 2}
    if not pairs:
        raise SystemExit(f"{home}: no residual network and plain one of its depth have been trained to the end")
    return pairs[max(pairs)]


def main() -> None:
    """Take both apart and write the page."""
    home, source, *more = sys.argv[1:]
    for kind, run in deepest(Path(home)).items():
        name = run["network"].removesuffix("_cifar")
        words = [f"{name}_full", str(Path(home) / run["scale"] / run["name"]), source, *more]
        words += ["--claim", f"{run['network']}, trained by the paper's recipe to the letter, taken apart"]
        words += ["--note", f"{run['steps']:,} steps, {run['precision']}; test error {100 * run['error']:.2f} %"]
        words += ["--plain"] if kind == "plain" else []
        subprocess.run([sys.executable, str(HERE / "taken_apart.py"), *words], check=True)
    subprocess.run([sys.executable, str(HERE / "taken_apart_page.py")], check=True)


if __name__ == "__main__":
    main()
