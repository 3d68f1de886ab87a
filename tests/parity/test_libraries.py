"""Every network that timm, torchvision or transformers also has: weights both ways, equal logits."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

EVIDENCE = Path(__file__).parents[2] / "evidence"


def _program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity", EVIDENCE / "parity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


parity = _program()
QUICK = {  # every kind of name that a library has
    "timm": (
        "resnet18",
        "seresnet18",
        "ecaresnet26t",
        "resnest14d",
        "skresnet18",
        "resnet18d",
        "resnetv2_50",
        "densenet121",
    ),
    "torchvision": ("resnet18", "resnext50_32x4d"),
    "transformers": ("resnet18", "resnet50"),
}
DEEPER = re.compile(
    r"152|161|169|20[01]|269|270|350|420|vgg|wide_|101_(32x8|64x4)d|101d_|101s|50[st]|26t$|ecaresn.*(50|101|light)|res2net50_.*_[268]s|res2net.*d|101_26w|101e|resnest50d$|skresnet(34|50)|v2_(34|50t|50d|101d)"
)
"""More units, wider ones or more weights of kinds that others here have: `make parity` computes them, the tests do not."""
SMALL = [(library, name) for library, name in parity.PAIRS if name in QUICK[library]]
LARGE = [(library, name) for library, name in parity.PAIRS if name not in QUICK[library] and not DEEPER.search(name)]


@pytest.mark.medium
@pytest.mark.parametrize(("library", "name"), SMALL)
def test_logits_are_equal_in_float64_at_an_odd_size(library: str, name: str) -> None:
    pytest.importorskip(library)
    assert parity.compare(library, name, 65) < 1e-9


@pytest.mark.long
@pytest.mark.parametrize(("library", "name"), LARGE)
def test_logits_of_large_networks_are_equal_in_float64_at_an_odd_size(library: str, name: str) -> None:
    pytest.importorskip(library)
    assert parity.compare(library, name, 33) < 1e-9


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("timm", "resnet18"),
        pytest.param("timm", "resnetv2_50", marks=pytest.mark.slow),
        pytest.param("transformers", "resnet50", marks=pytest.mark.slow),
    ],
)
@pytest.mark.medium
def test_logits_agree_in_float32_at_224(library: str, name: str) -> None:
    pytest.importorskip(library)
    assert parity.compare(library, name, 224, torch.float32) < 1e-4


def test_the_stored_comparison_covers_all_at_224_and_at_an_odd_size() -> None:
    facts = json.loads((EVIDENCE / "parity.json").read_text())
    assert [(row["library"], row["network"]) for row in facts["rows"]] == parity.PAIRS
    for row in facts["rows"]:
        assert max(row["float64_224"], row["float64_97"]) < 1e-9, row
        assert max(row["float32_224"], row["float32_97"]) < 1e-4, row
