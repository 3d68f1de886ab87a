"""The tensors of every residual network that timm and torchvision have: `python evidence/namesakes.py`.

Writes `src/deepres/nn/namesakes.json`: signature of names and shapes (1,000 classes, RGB) -> the networks that have
them. The guard reads it to know which networks bare weights may be of. Takes a minute of one core.
"""

import json
from importlib.metadata import version
from pathlib import Path

import timm
import torch
from torchvision import models

from deepres.nn.weights.variants import LIBRARIES, signature

TIMM = ("resnet", "resnetv2", "densenet", "vgg", "senet", "sknet", "res2net", "resnest", "byobnet", "nfnet")
TORCHVISION = ("resnet", "resnext", "wide_resnet", "densenet", "vgg")
FILE = Path(__file__).parents[1] / "src" / "deepres" / "nn" / LIBRARIES


def networks() -> list[str]:
    """`timm resnet18`, …: every network of these families."""
    theirs = [f"timm {name}" for module in TIMM for name in timm.list_models(module=module)]
    return [*theirs, *(f"torchvision {n}" for n in models.list_models(module=models) if n.startswith(TORCHVISION))]


def built(network: str) -> torch.nn.Module:
    """The network of that name on the meta device, for 1,000 classes and RGB."""
    library, name = network.split()
    with torch.device("meta"):
        net: torch.nn.Module = (
            timm.create_model(name, num_classes=1000) if library == "timm" else models.get_model(name, num_classes=1000)
        )
    return net


def table(of: list[str]) -> dict[str, list[str]]:
    """Signature -> those of the networks that have it."""
    found: dict[str, list[str]] = {}
    for network in of:
        found.setdefault(signature(built(network).state_dict()), []).append(network)
    return found


if __name__ == "__main__":
    facts = {"libraries": {name: version(name) for name in ("timm", "torchvision")}, "networks": table(networks())}
    rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(names)}" for key, names in facts["networks"].items())
    FILE.write_text(f'{{\n "libraries": {json.dumps(facts["libraries"])},\n "networks": {{\n{rows}\n }}\n}}\n')
