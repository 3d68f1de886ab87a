"""Each network of the catalogue through ONNX: `python evidence/onnx_catalogue.py [--most N] [--output FILE]`.

Random weights and statistics, norms folded, traced at batch 2 and 64 px (32, where that is the input), then asked by
onnxruntime with 1 and 3 images: the largest difference of probabilities and of logits (of the largest logit), whether
all operators are ONNX's own. `rounding` is how far the network in float32 is from itself in float64: at random weights
a deep one may be so steep that no two programs agree. Written after each network; a second start goes on behind the
last, `--most` of them.
"""

import argparse
import json
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.lookup import CATALOGUE, architecture
from deepres.base.files import write_atomic
from deepres.nn.create import create_model
from deepres.nn.environment import hardware, versions
from deepres.nn.inference import folded
from deepres.nn.onnx_graph import BATCH, traced

PLACE = Path(__file__).with_name("onnx_catalogue.json")
CLASSES, SIDE = 10, 64


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """The network with statistics that are not 0 and 1, as those of a trained one."""
    draw = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=draw)
        elif name.endswith("running_mean"):
            tensor.normal_(0, 0.1, generator=draw)
    return network.eval()


def through_onnx(name: str) -> dict[str, Any]:
    """How far onnxruntime's answers are from those of the network itself."""
    import onnxruntime

    began = perf_counter()
    network = folded(shaken(create_model(name, num_classes=CLASSES, seed=0)))  # type: ignore[arg-type]
    channels, height, _ = network.description.input
    side = min(height, SIDE)
    draw = torch.Generator().manual_seed(0)
    model = traced(network, torch.rand(2, channels, side, side, generator=draw), "logits", {0: BATCH})
    run = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    exact = deepcopy(network).double()
    probabilities = logits = rounding = 0.0
    for number in (1, 3):
        images = torch.rand(number, channels, side, side, generator=draw)
        (found,) = run.run(None, {"image": images.numpy()})
        with torch.inference_mode():
            wanted, finer = network(images), exact(images.double())
        rounding = max(rounding, float((wanted - finer).abs().max() / finer.abs().max()))
        apart = (torch.from_numpy(found).softmax(1) - wanted.softmax(1)).abs().max()
        probabilities = max(probabilities, float(apart))
        logits = max(logits, float((torch.from_numpy(found) - wanted).abs().max() / wanted.abs().max()))
    return {
        "network": name,
        "probabilities_apart": float(f"{probabilities:.3g}"),
        "logits_apart": float(f"{logits:.3g}"),
        "rounding": float(f"{rounding:.3g}"),
        "own_operators": [each.domain for each in model.opset_import] == [""],
        "seconds": round(perf_counter() - began, 1),
    }


def names() -> list[str]:
    """All networks of the catalogue that answer with classes, the small first."""
    return sorted(
        (name for name in CATALOGUE if isinstance(architecture(name), Architecture)), key=lambda n: (len(n), n)
    )


def main() -> None:
    """Try those that are not in the file yet, write after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=PLACE, help="another place, while not all are tried")
    given = parser.parse_args()
    rows = json.loads(given.output.read_text())["rows"] if given.output.exists() else []
    done = {row["network"] for row in rows}
    for name in [name for name in names() if name not in done][: given.most]:
        rows.append(through_onnx(name))
        print(rows[-1], flush=True)
        facts = {
            "claim": "networks of the catalogue answer through ONNX as they do themselves",
            "command": "python evidence/onnx_catalogue.py",
            "hardware": hardware(torch.device("cpu")),
            "versions": versions() | {library: version(library) for library in ("onnx", "onnxscript", "onnxruntime")},
            "seeds": [0],
            "n": len(rows),
            "of": len(names()),
            "largest": {what: max(row[what] for row in rows) for what in ("probabilities_apart", "logits_apart")},
            "rows": sorted(rows, key=lambda row: row["network"]),
        }
        write_atomic(given.output, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
