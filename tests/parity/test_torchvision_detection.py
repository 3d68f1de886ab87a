"""Detectors of torchvision: the same boxes, losses and gradients from the same weights, and their states both ways."""

import importlib.util
import json
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from torchvision.models.detection import (
    FasterRCNN,
    fasterrcnn_resnet50_fpn,
    fasterrcnn_resnet50_fpn_v2,
)
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

import deepres
from deepres.arch.catalogue.lookup import DETECTORS
from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.cli.main import run
from deepres.tasks.detection import names_torchvision as names
from deepres.tasks.detection.detector import DetectorNetwork, create

EVIDENCE = Path(__file__).parents[2] / "evidence"


def _program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("detection_parity", EVIDENCE / "detection_parity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


parity = _program()
BARS = {"maps": 1e-10, "proposals": 1e-8, "boxes": 1e-5, "scores": 1e-5, "num_other_classes": 0}
LEARNT = ("objectness_loss", "proposal_boxes_loss", "classes_loss", "region_boxes_loss", "gradients")
SLOW = [
    pytest.param(name, marks=pytest.mark.slow if name == "resnet18_fpn" else pytest.mark.long)  # `make parity` has all
    for name in parity.NETWORKS
    if name != "resnet50_c4"  # the stored one has it
]


def test_anchors_coding_and_matching_are_equal() -> None:
    assert parity.small_parts() == {"anchors": 0, "encoding": 0, "decoding": 0, "matching": 0}


@pytest.mark.parametrize("name", SLOW)
def test_the_same_maps_proposals_and_detections(name: str) -> None:
    found = parity.answers(name)
    assert found["num_detections"] >= 50
    assert {key: found[key] for key, bar in BARS.items() if found[key] > bar} == {}


@pytest.mark.parametrize("name", SLOW)
def test_the_same_losses_and_gradients_from_the_same_drawn_boxes(name: str) -> None:
    found = parity.learning(name)
    assert min(found["terms"].values()) > 1e-6
    assert {key: found[key] for key in LEARNT if found[key] > 1e-5} == {}


def test_the_stored_comparison_covers_all_and_keeps_the_bars() -> None:
    facts = json.loads((EVIDENCE / "detection_parity.json").read_text())
    assert [row["network"] for row in facts["rows"]] == list(parity.NETWORKS)
    assert set(facts["small_parts"].values()) == {0}
    for row in facts["rows"]:
        assert all(row[key] <= bar for key, bar in {**BARS, **dict.fromkeys(LEARNT, 1e-5)}.items()), row


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Of 91 columns, without values: what is asked of names and shapes alone."""
    with torch.device("meta"):
        network = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    return {name: tensor for name, tensor in network.state_dict().items() if "num_batches" not in name}


@pytest.mark.medium
def test_a_state_of_91_columns_goes_in_and_comes_out_with_its_eps(state: dict[str, torch.Tensor]) -> None:
    detector = names.config_of(state, "a test", names.COCO_V1[0] + "a1").architecture()
    assert (detector.num_classes, detector.name) == (90, "fasterrcnn_resnet50_fpn")
    assert not detector.regions.aligned
    network = create(detector)
    filled = {name: torch.full(tensor.shape, place / 1e3) for place, (name, tensor) in enumerate(state.items())}
    network.load_state_dict(names.to_ours(filled, detector))
    assert {module.eps for name, module in network.named_modules() if name.endswith("norm1")} == {0.0}
    back = names.to_theirs(network.state_dict(), detector)
    assert back.keys() == filled.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in filled.items())
    assert names.config_of(state, "a test").architecture() != detector  # of another file nothing says eps 0


@pytest.mark.medium
def test_names_of_before_torchvision_0_13_are_the_same_layers(state: dict[str, torch.Tensor]) -> None:
    old = {name.replace("_blocks.0.0.", "_blocks.0.").replace("conv.0.0.", "conv."): t for name, t in state.items()}
    assert old.keys() != state.keys()
    detector = names.config_of(old, "a test").architecture()
    assert names.to_ours(old, detector).keys() == names.to_ours(state, detector).keys()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (fasterrcnn_resnet50_fpn_v2, "a fasterrcnn_resnet50_fpn_v2, whose heads are convolutions with norms"),
    ],
)
@pytest.mark.medium
def test_another_detector_is_refused_by_what_it_is(make: object, message: str) -> None:
    with torch.device("meta"):
        network = make(weights=None, weights_backbone=None)  # type: ignore[operator]
    assert names.is_torchvisions(network.state_dict())
    with pytest.raises(InputError, match=message):
        names.config_of(network.state_dict(), "x.pth")


def test_a_state_without_classes_or_of_another_backbone_is_refused(state: dict[str, torch.Tensor]) -> None:
    bare = {name: tensor for name, tensor in state.items() if "box_predictor" not in name}
    with pytest.raises(InputError, match=r"no roi_heads\.box_predictor\.cls_score"):
        names.config_of(bare, "x.pth")
    short = {name: tensor for name, tensor in state.items() if "layer4.2" not in name}
    with pytest.raises(InputError, match="a backbone that is none of fasterrcnn_resnet18_fpn"):
        names.config_of(short, "x.pth")


def test_names_of_classes_differ_and_skip_what_coco_left_out() -> None:
    found = names.coco_classes()
    assert len(found) == len(set(found)) == 90
    assert found[:3] == ("person", "bicycle", "car")
    assert sum(name.startswith("unused") for name in found) == 10


@pytest.mark.slow
@pytest.mark.parametrize("eps", [pytest.param(0.0, marks=pytest.mark.long), 1e-5])
def test_a_state_of_theirs_goes_through_both_commands_and_back_bitwise(
    eps: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    norm = partial(FrozenBatchNorm2d, eps=eps)
    theirs = FasterRCNN(resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=norm), num_classes=4)
    for name, buffer in theirs.named_buffers():
        buffer.uniform_(0.5, 1.5) if "var" in name else buffer.normal_(0, 0.1)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    said = f"fasterrcnn_resnet18_fpn+backbone.style.eps={eps:g}"
    plan = ("--variant", said, "--preprocessing", "imagenet")
    assert run(["weights", "convert", str(tmp_path / "theirs.pth"), str(tmp_path / "ours"), *plan]) == 0
    assert deepres.load(tmp_path / "ours").description.num_classes == 3
    capsys.readouterr()
    for file in ("back.pth", "back.safetensors"):
        words = ["weights", "convert", str(tmp_path / "ours"), str(tmp_path / file), "--names", "torchvision"]
        assert run(words) == 0
    told = capsys.readouterr().out
    assert "note: num_classes=4 there, the background being the first" in told
    assert ("note: norms of eps 0: " in told) == (eps == 0)
    assert "half a pixel" not in told
    for state in (torch.load(tmp_path / "back.pth", weights_only=True), load_file(tmp_path / "back.safetensors")):
        trained = FasterRCNN(resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=norm), 4)
        trained.load_state_dict(state)
        assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in trained.state_dict().items())
    assert run(words) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        ((), ("regions are shifted by half a pixel here and not there", "num_classes=81 there")),
        (("regions.aligned=false", "anchors.sizes=16/32/64/128/256"), ("model.anchors.sizes is ((16.0,), (32.0,)",)),
        (("backbone.style.norm=group",), ()),
        (("neck=c4", "anchors.sizes=128,256,512"), ()),
    ],
)
def test_what_torchvision_has_to_be_told_is_told_or_it_has_no_such_detector(
    edits: tuple[str, ...], told: tuple[str, ...]
) -> None:
    config = DETECTORS["fasterrcnn_resnet18_fpn"].config
    detector = edit(config, list(edits)).architecture()
    with torch.device("meta"):
        tensors = DetectorNetwork(detector).state_dict()
    if not told:
        with pytest.raises(InputError, match=r"torchvision has no such detector|norms of groups"):
            names.returned(tensors, detector)
        return
    notes = names.returned(tensors, detector)[1]
    assert all(any(note.startswith(each) for note in notes) for each in told)
