"""Our networks against timm's, torchvision's and transformers': `python evidence/parity.py`; writes `parity.json`.

For every network that both have: their weights in ours and ours in theirs, all tensors equal; and the largest
difference of the logits on random images, at 224 and at 97 px, in float64 and in float32.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from deepres.arch.catalogue.lookup import architecture
from deepres.nn.build import build
from deepres.nn.environment import hardware, versions
from deepres.nn.init import initialise
from deepres.nn.weights.convert import TIMM, to_foreign, to_ours
from deepres.nn.weights.files import load_state

CLASSES = 11
TORCHVISION = (
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    *("vgg16_bn", "vgg19_bn"),
)
TRANSFORMERS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet50_v1"]
PAIRS = [
    *(("timm", name) for name in TIMM),
    *(("torchvision", name) for name in TORCHVISION),
    *(("transformers", name) for name in TRANSFORMERS),
]


def theirs(library: str, name: str) -> nn.Module:
    """Their network with random weights, norms and statistics, in evaluation mode and float64."""
    net = _theirs(library, name).double().eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor_name, tensor in net.state_dict().items():
            if tensor_name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=draw)
            elif tensor_name.endswith("running_mean"):
                tensor.normal_(0, 0.1, generator=draw)
            elif tensor.dim() == 1:
                tensor.uniform_(0.3, 0.7, generator=draw)
    return net


def logits(net: nn.Module, images: Tensor) -> Tensor:
    """The answers, of whatever the library wraps them in."""
    with torch.inference_mode():
        answer = net(images)
    return answer if isinstance(answer, Tensor) else answer.logits


def compare(library: str, name: str, size: int, dtype: torch.dtype = torch.float64) -> float:
    """Largest difference of the logits; the weights go from them to us, and back into them, where all must be equal."""
    net = theirs(library, name)
    description = architecture(name, CLASSES)
    ours = build(description)
    initialise(ours, seed=1)
    ours = ours.double().eval()
    load_state(ours, to_ours(net.state_dict(), description).tensors, f"{library}'s {name}")
    back = to_foreign(ours.state_dict(), description, library)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    net.load_state_dict(back)
    if any(not torch.equal(before[key], back[key]) for key in before if not key.endswith("batches_tracked")):
        raise AssertionError(f"{library}'s {name}: weights changed on the way")
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)
    return float((logits(ours.to(dtype), images) - logits(net.to(dtype), images)).abs().max())


def _theirs(library: str, name: str) -> nn.Module:
    if library == "timm":
        import timm

        return timm.create_model(TIMM[name], num_classes=CLASSES)
    if library == "torchvision":
        from torchvision import models

        return models.get_model(name, num_classes=CLASSES)
    from transformers import ResNetConfig, ResNetForImageClassification

    units = {"resnet18": (2, 2, 2, 2), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
    basic = name in ("resnet18", "resnet34")
    config = ResNetConfig(
        depths=list(units.get(name, (3, 4, 6, 3))),
        layer_type="basic" if basic else "bottleneck",
        hidden_sizes=[64, 128, 256, 512] if basic else [256, 512, 1024, 2048],
        downsample_in_bottleneck=name.endswith("_v1"),
        num_labels=CLASSES,
    )
    return ResNetForImageClassification(config)


def main() -> None:
    """Compare all and write what was found."""
    rows = []
    for library, name in PAIRS:
        row: dict[str, object] = {"library": library, "network": name}
        for dtype in (torch.float64, torch.float32):
            for size in (224, 97):
                row[f"{str(dtype).removeprefix('torch.')}_{size}"] = compare(library, name, size, dtype)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
    facts = {
        "claim": "weights go both ways between deepres and timm, torchvision, transformers; the logits are the same",
        "command": "python evidence/parity.py",
        "hardware": hardware(torch.device("cpu")),
        "versions": {**versions(), **{name: version(name) for name in ("timm", "transformers")}},
        "n": len(rows),
        "seeds": [0],
        "unit": "largest absolute difference of logits, 2 images",
        "largest_float64": max(float(str(v)) for row in rows for k, v in row.items() if k.startswith("float64")),
        "largest_float32": max(float(str(v)) for row in rows for k, v in row.items() if k.startswith("float32")),
        "rows": rows,
    }
    (Path(__file__).parent / "parity.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
