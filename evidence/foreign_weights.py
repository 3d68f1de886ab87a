"""CIFAR-10 weights that others published, asked as one types it: `python evidence/foreign_weights.py FOLDER TEST.npz`.

Of each what `deepres eval WEIGHTS TEST.npz --precision float32` prints, beside what its author states and a
plain loop of torch over the same 10,000 images, scaled by hand; writes `foreign_cifar_weights.json`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepres.arch.catalogue.lookup import entry
from deepres.nn.build import build
from deepres.nn.environment import hardware, versions
from deepres.nn.weights.convert import to_ours
from deepres.nn.weights.files import load_state, read_tensors

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NETWORKS: tuple[tuple[str, str, str, tuple[tuple[float, ...], tuple[float, ...]], float], ...] = (
    ("pytorch_resnet_cifar10/resnet20-12fca82f.th", "resnet20_cifar", "A", IMAGENET, 91.73),
    ("pytorch_resnet_cifar10/resnet44-014dd654.th", "resnet44_cifar", "A", IMAGENET, 93.10),
    ("distiller/checkpoint_trained_dense.pth.tar", "resnet20_cifar", "B", HALF, 91.71),
)
COMMAND = ("deepres", "eval", "{weights}", "{images}", "--precision", "float32", "--json")


def evaluated(weights: Path, images: Path) -> dict[str, Any]:
    """What the command prints, as JSON."""
    words = [word.format(weights=weights, images=images) for word in COMMAND]
    done = subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@torch.inference_mode()
def plain(
    weights: Path, model: str, shortcut: str, scaling: tuple[tuple[float, ...], ...], x: Tensor, y: Tensor
) -> int:
    """How many of the images (uint8 N, 3, 32, 32) a loop of torch has wrong, in float32."""
    description = entry(model).config.replace(shortcut=shortcut).architecture()
    network = build(description)
    load_state(network, to_ours(read_tensors(weights), description).tensors, str(weights))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in scaling)
    answers = [network.eval()((part / 255 - mean) / std).argmax(1) for part in x.split(500)]
    return int((torch.cat(answers) != y).sum())


def main() -> None:
    """Measure all, print a table, write the evidence."""
    folder, images = Path(sys.argv[1]), Path(sys.argv[2])
    arrays = np.load(images)
    x, y = torch.from_numpy(arrays["x"]).permute(0, 3, 1, 2), torch.from_numpy(arrays["y"])
    rows: list[dict[str, Any]] = []
    for name, model, shortcut, scaling, published in NETWORKS:
        found = evaluated(folder / name, images)
        row = {"weights": name, "network": f"{model}, option {shortcut}", "published_accuracy_percent": published}
        row |= {"accuracy_percent": round(100 * (1 - found["error"]), 6), "num_wrong": found["num_wrong"]}
        row |= {"num_wrong_by_a_plain_loop": plain(folder / name, model, shortcut, scaling, x, y)}
        rows.append({**row, "preprocessing": found["provenance"]["preprocessing"]})
        print(f"{name:50} published {published:.2f} %  here {row['accuracy_percent']:.2f} %")
    facts = {
        "claim": "CIFAR-10 networks trained by others have the accuracy that their authors state, by deepres eval",
        "note": "23 of the 10,000 test images are JPEG stand-ins of a public copy of the set: one image more or less.",
        "command": " ".join(COMMAND[:-1]).format(weights="WEIGHTS", images="cifar10_test.npz"),
        "hardware": hardware(torch.device("cpu")),
        "versions": versions(),
        "n": len(y),
        "networks": rows,
    }
    (Path(__file__).parent / "foreign_cifar_weights.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
