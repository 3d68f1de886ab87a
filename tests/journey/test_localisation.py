"""A class and its box, from ImageNet's layout to the answer: both stages of the 2015 paper as commands, on drawn objects."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deepres.data.boxes import BoxTargets
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_splits
from deepres.tasks.detection.detections import Truth
from deepres.tasks.localisation.measure import right, wrong
from drawn_objects import NAMES, imagenet

Say = Callable[..., str]

SMALL = {
    "preparation.resize": 64,
    "preparation.crop": 56,
    "augmentation.scale": "60,68",
    "augmentation.colour_pca": 0,
    "data.workers": 0,
    "data.decode": "scaled",
    "train.batch_size": 32,
}
BACKBONE = {"depths": "1,1,1", "widths": "16,32,64", "stem_width": 16}
ANCHORS = {"task.anchors.sizes": "16,24,36"}
REGIONS = {
    "preparation.resize": 64,
    "preparation.longest": 128,
    "augmentation.scale": "64,64",
    "augmentation.colour_pca": 0,
    "data.workers": 0,
    "task.side": 32,
    "task.proposals": 8,
}


def _words(settings: dict[str, Any]) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def _train(said: Say, source: Path, output: Path, *words: object, **settings: Any) -> dict[str, Any]:
    said("train", source, "--output", output, "--device", "cpu", *words, *_words(settings))
    return json.loads((output / "test.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.slow
def test_both_stages_are_trained_measured_and_asked_by_commands(said: Say, tmp_path: Path) -> None:
    source = imagenet(tmp_path / "set", train=4, val=2, side=64)
    backbone = {f"model.backbone.{name}": value for name, value in BACKBONE.items()}
    few = {**SMALL, "train.batch_size": 4, "train.iterations": 2}
    rpn, rcnn = tmp_path / "rpn", tmp_path / "rcnn"
    first = _train(said, source, rpn, "--recipe", "loc_2015", "--model", "resnet18", **few, **backbone, **ANCHORS)
    assert (first["task"], first["num_images"], first["classes"]) == ("localisation", 20, list(NAMES))
    again = json.loads(said("eval", rpn, "--device", "cpu", "--json"))
    assert (again["error"], again["given_error"]) == (first["error"], first["given_error"])
    assert first["given_error"] <= first["error"] or first["class_top5_error"] < first["error"]
    told = said("eval", rpn, "--protocol", "dense:48,64", "--device", "cpu")
    assert "error of the box given the true class" in told
    assert "short side 48, 64 px" in told
    picture = next((source / "val").iterdir())
    answer = json.loads(said("predict", rpn, picture, "--json", "--device", "cpu"))
    assert len(answer["boxes"]) == 5
    assert (rpn / "report.html").is_file()
    assert (rpn / "worst.csv").read_text().startswith("image,truth,guessed,chance,x1")
    regions = {**REGIONS, "train.batch_size": 4, "train.iterations": 2}
    second = _train(said, source, rcnn, "--recipe", "loc_2015", "--weights", rpn, **regions)
    assert second["class_top5_error"] == pytest.approx(first["class_top5_error"], abs=0.5)
    assert "whole image" in second["shown"]
    assert str(picture) in said("predict", rcnn, picture, "--device", "cpu")
    both = json.loads(said("eval", rpn, rcnn, source, "--force", "--device", "cpu", "--json"))
    assert both["num_images"] == 20
    assert "looks at regions; wanted center" in said("eval", rcnn, "--protocol", "dense", code=2)
    assert "which no exported file does yet" in said(
        "export", rpn, "--format", "onnx", "--output", tmp_path / "x", code=2
    )
    assert "finds boxes" in said("slim", rpn, "--output", tmp_path / "s", "--drop-blocks", 1, code=2)


@pytest.mark.long
def test_boxes_that_were_learnt_are_better_than_the_whole_picture_and_than_maps(said: Say, tmp_path: Path) -> None:
    """Ten classes of drawn objects; the classes are those of one classification network in all cases."""
    source = imagenet(tmp_path / "set", train=40, val=10, side=64)
    named, rpn = tmp_path / "cls", tmp_path / "rpn"
    plain = {f"model.{name}": value for name, value in BACKBONE.items()}
    settings = {**SMALL, **plain, "train.accumulate": 1, "train.precise_bn_batches": 0}
    settings |= {"train.iterations": 150, "train.schedule.lr": 0.1}
    _train(said, source, named, "--recipe", "imagenet_2015", "--model", "resnet18", **settings)
    said("analyze", "localisation", named, "--output", tmp_path / "cam", "--device", "cpu")
    maps = json.loads((tmp_path / "cam" / "localisation.json").read_text())["numbers"]["errors"]
    learnt = {**SMALL, **ANCHORS, "train.iterations": 200, "train.schedule.lr": 0.02}
    found = _train(said, source, rpn, "--recipe", "loc_2015", "--weights", named, **learnt)
    assert found["classifier"] == str(named)
    assert found["class_top5_error"] == pytest.approx(maps["class_top5_error"], abs=1e-9)
    whole = _whole_picture(source)
    assert found["given_error"] < min(maps["given_error"], whole) - 0.2
    assert found["error"] < maps["top5_error"] - 0.1
    assert found["error"] < whole


def _whole_picture(source: Path) -> float:
    """The error of the whole picture as the box, given the true class."""
    images = open_splits(DataConfig(source=str(source), boxes="imagenet")).splits["val"]
    targets = images.targets
    assert isinstance(targets, BoxTargets)
    boxes = torch.tensor([[[0.0, 0.0, 64.0, 64.0]]]).expand(len(targets), 1, 4)
    found = right(targets.classes[:, None], boxes, Truth.marked(targets))
    return wrong(found, 1) / len(targets)
