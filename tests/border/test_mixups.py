"""Bare weights of one network never answer as another's, of ours or of any that timm and torchvision have."""

import importlib.util
import json
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from deepres.arch.catalogue import lookup
from deepres.arch.readings.diff import difference
from deepres.base.errors import InputError
from deepres.nn.build import build
from deepres.nn.create import create_model
from deepres.nn.weights.convert import TIMM, conventions_for, to_foreign, to_ours
from deepres.nn.weights.formats import Checkpoint
from deepres.nn.weights.inspection import inspect
from deepres.nn.weights.variants import LIBRARIES, namesakes, require_variant, signature

FILE = files("deepres.nn.weights").joinpath(LIBRARIES)
TABLE: dict[str, list[str]] = json.loads(FILE.read_text())["networks"]
EVIDENCE = Path(__file__).parents[2] / "evidence"


def _program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EVIDENCE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lru_cache(1)
def _state(name: str) -> dict[str, torch.Tensor]:
    return build(lookup.architecture(name)).state_dict()


def _bare(name: str, convention: str) -> Checkpoint:
    """Weights, without values, as that library saves them."""
    return Checkpoint("bare.pth", to_foreign(_state(name), lookup.architecture(name), convention))


def _taken(name: str, stored: Checkpoint, variant: str | None = None) -> bool:
    description = lookup.architecture(name)
    try:
        require_variant(description, stored, to_ours(stored.tensors, description).convention, variant)
    except InputError as refusal:
        if "say so with --variant" in str(refusal):
            return False
        raise
    return True


@pytest.mark.parametrize(
    ("name", "convention", "theirs"),
    [
        ("resnet18", "timm", ["timm's resnetblur18"]),
        ("resnet50", "timm", ["timm's resnetaa50", "timm's resnetblur50"]),
        ("resnet34d", "timm", ["timm's resnetaa34d"]),
        ("resnet50d", "timm", ["timm's resnetaa50d", "timm's resnetblur50d"]),
        pytest.param("resnet101d", "timm", ["timm's resnetaa101d", "timm's resnetblur101d"], marks=pytest.mark.slow),
        pytest.param("resnet101", "timm", [], marks=pytest.mark.slow),
        ("resnet50", "transformers", []),
        ("resnet50", "mmpretrain", []),
        ("resnet50", "detectron2", []),
        pytest.param("resnet200", "timm", [], marks=pytest.mark.slow),
        pytest.param("wide_resnet50_2", "torchvision", None, marks=pytest.mark.slow),
        pytest.param("resnext50_32x4d", "timm", None, marks=pytest.mark.slow),
        ("seresnet50", "timm", None),
        ("resnet50c", "timm", None),
        ("resnetv2_50", "timm", None),
        ("densenet121", "torchvision", None),
        ("resnet20_cifar", "pytorch_resnet_cifar10", None),
    ],
)
@pytest.mark.medium
@pytest.mark.medium
def test_tensors_of_several_networks_ask_which(name: str, convention: str, theirs: list[str] | None) -> None:
    stored = _bare(name, convention)
    assert _taken(name, stored) == (theirs is None)
    assert _taken(name, stored, variant=name)
    assert list(namesakes(lookup.architecture(name), convention)) == (theirs or [])


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnet152", "resnet200"])
def test_a_name_of_the_field_means_the_fields_network(name: str) -> None:
    assert TIMM[name] == name
    found = difference(lookup.architecture(name), lookup.architecture(f"{name}_v1"))
    assert found is not None
    assert found.name.endswith("conv1.stride")


@pytest.mark.parametrize("variant", ["resnetaa50", "resnetblur50", "legacy_seresnet50"])
def test_a_variant_that_is_not_described_here_is_refused_by_name(variant: str) -> None:
    with pytest.raises(InputError, match=rf"bare\.pth: timm's {variant} is not among deepres's networks"):
        require_variant(lookup.architecture("resnet50"), _bare("resnet50", "timm"), "timm", variant)


@pytest.mark.slow
def test_an_edited_network_is_called_by_its_edits(tmp_path: Path) -> None:
    save_file(dict(create_model("resnet18", num_classes=2).state_dict()), tmp_path / "bare.safetensors")
    with pytest.raises(
        InputError, match=r"fit resnet18\+style\.blur=3, resnet18, .* --variant resnet18\+style\.blur=3$"
    ):
        create_model("resnet18+style.blur=3", weights=tmp_path / "bare.safetensors")
    found = inspect(tmp_path / "bare.safetensors")
    assert found.networks == ("resnet18", "resnet18_blur4")
    torch.save(
        to_foreign(create_model("resnet18").state_dict(), lookup.architecture("resnet18")), tmp_path / "theirs.pth"
    )
    found = inspect(tmp_path / "theirs.pth")
    assert found.elsewhere == ("timm's resnetblur18",)
    assert "resnet18, resnet18_blur4, timm's resnetblur18" in "\n".join(found.lines())


@pytest.mark.long
def test_no_network_of_the_libraries_loads_into_another_of_ours() -> None:
    """What is taken without a word is compared by logits in tests/parity; a signature is all that loading sees."""
    taken, seen = set(), set()
    for name in lookup.CATALOGUE:
        description = lookup.architecture(name)
        if description.num_classes != 1000:
            continue
        for convention in {"timm", "torchvision"} & set(conventions_for(description)):
            stored = _bare(name, convention)
            shared = TABLE.get(number := signature(stored.tensors), [])
            new = (name, number) not in seen  # of most networks both libraries have the same names
            seen.add((name, number))
            if new and shared and _taken(name, stored):
                taken |= {(*other.split(), name) for other in shared}
    pairs = {(library, TIMM[name] if library == "timm" else name, name) for library, name in _program("parity").PAIRS}
    assert len(taken) > 20
    assert taken <= pairs


@pytest.mark.long
def test_the_table_of_the_libraries_is_what_they_have() -> None:
    pytest.importorskip("timm")
    program = _program("namesakes")
    small = (
        "timm resnet",
        "timm seresne",
        "timm ecaresne",
        "timm densenet",
        "timm vgg",
        "timm skresnet",
        "torchvision",
    )
    if json.loads(FILE.read_text())["libraries"]["timm"] == version("timm"):
        assert {name for names in TABLE.values() for name in names} == set(program.networks())
    here = [name for names in TABLE.values() for name in names if name.startswith(small)][::3]
    assert set(here) <= set(program.networks())
    assert program.table(here) == {
        key: kept for key, names in TABLE.items() if (kept := [name for name in names if name in here])
    }
