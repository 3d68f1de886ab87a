"""Each network of the catalogue through ONNX: `python evidence/onnx_catalogue.py [--most N] [--output FILE]`.

Random weights with small branches, statistics of the network's own maps, logits some units apart; norms folded, traced
at batch 2 and 64 px (32, where that is the input), then asked by onnxruntime with 1 and 3 images: the largest
difference of probabilities (WANTED) and of logits (of the largest logit), whether all operators are ONNX's own.
`rounding` is how far the network in float32 is from itself in float64, of the largest logit. Written after each
network; a second start goes on behind the last, `--most` of them.
"""

import argparse
import json
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.lookup import CATALOGUE, architecture
from deepres.base.files import write_atomic
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.environment import hardware, versions
from deepres.nn.inference import folded
from deepres.nn.layers import Parallel
from deepres.nn.onnx_graph import BATCH, traced
from deepres.nn.precise_bn import precise_bn

PLACE = Path(__file__).with_name("onnx_catalogue.json")
CLASSES, SIDE, SEEN, SPREAD = 10, 64, 16, 2.0
"""Classes, px; pictures that the statistics are of, and the spread of their logits."""
WANTED = 1e-4
"""The largest difference of a probability that a network should have."""


def pictures(number: int, channels: int, side: int, draw: torch.Generator) -> torch.Tensor:
    """Noise that is coarse and fine, each picture of another brightness: (number, channels, side, side) in [0, 1]."""
    coarse = torch.rand(number, channels, 4, 4, generator=draw)
    fine = torch.rand(number, channels, side, side, generator=draw)
    return (functional.interpolate(coarse, (side, side), mode="bilinear") + 0.3 * fine) / 1.3


def made_small(branch: nn.Module) -> None:
    """What the branch adds is a fifth of what it was: by its last gamma, or last convolution where norms come first."""
    weighty = [module for module in branch.modules() if isinstance(module, nn.BatchNorm2d | nn.Conv2d)]
    kind = nn.Conv2d if weighty and isinstance(weighty[0], nn.BatchNorm2d) else nn.BatchNorm2d
    for last in [module for module in weighty if isinstance(module, kind)][-1:]:
        last.weight.data *= 0.2


def settled(name: str, draw: torch.Generator) -> ResidualNetwork:
    """A network as training leaves one: branches add little, norms have its own maps' statistics, logits are apart.

    As drawn, a network of a hundred units multiplies each rounding until nothing of its answer is left.
    """
    network = create_model(name, num_classes=CLASSES, seed=0)
    for unit in network.modules():
        if isinstance(unit, Parallel) and "branch" in dict(unit.named_children()):
            made_small(unit.branch)
    channels, height, _ = network.description.input
    images = pictures(SEEN, channels, min(height, SIDE), draw)
    precise_bn(network, [images])
    network.eval()
    head = network.get_classifier()
    with torch.no_grad():
        head.weight *= SPREAD / network(images).std(0).mean()
        head.bias -= network(images).mean(0)
    return network


def through_onnx(name: str) -> dict[str, Any]:
    """How far onnxruntime's answers are from those of the network itself."""
    import onnxruntime

    began = perf_counter()
    draw = torch.Generator().manual_seed(0)
    network = folded(settled(name, draw))
    channels, height, _ = network.description.input
    side = min(height, SIDE)
    model = traced(network, pictures(2, channels, side, draw), "logits", {0: BATCH})
    run = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    exact = deepcopy(network).double()
    probabilities = logits = rounding = highest = 0.0
    for number in (1, 3):
        images = pictures(number, channels, side, draw)
        (found,) = run.run(None, {"image": images.numpy()})
        with torch.inference_mode():
            wanted, finer = network(images), exact(images.double())
        rounding = max(rounding, float((wanted - finer).abs().max() / finer.abs().max()))
        apart = (torch.from_numpy(found).softmax(1) - wanted.softmax(1)).abs().max()
        highest = max(highest, float(wanted.softmax(1).max()))
        probabilities = max(probabilities, float(apart))
        logits = max(logits, float((torch.from_numpy(found) - wanted).abs().max() / wanted.abs().max()))
    return {
        "network": name,
        "probabilities_apart": float(f"{probabilities:.3g}"),
        "highest": float(f"{highest:.2g}"),
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
            "wanted": WANTED,
            "n": len(rows),
            "of": len(names()),
            "largest": {what: max(row[what] for row in rows) for what in ("probabilities_apart", "logits_apart")},
            "rows": sorted(rows, key=lambda row: row["network"]),
        }
        write_atomic(given.output, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
