"""A class and its box, from ImageNet's layout to the answer: both stages of the 2015 paper as commands, on drawn objects."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from deepres.data.boxes import BoxTargets
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_splits
from deepres.tasks.detection.detections import Truth
from deepres.tasks.localisation.measure import right, wrong
from drawn_objects import BACKBONE, CROPS, NAMES, REGIONS, imagenet
from processes import DEEPRES, ended_together

Say = Callable[..., str]

ANCHORS = {"task.anchors.sizes": "16,24,36"}
FEW_REGIONS = {**REGIONS, "augmentation.scale": "64,64", "task.proposals": 8}


def _words(settings: dict[str, Any]) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def _train(said: Say, source: Path, output: Path, *words: object, **settings: Any) -> dict[str, Any]:
    said("train", source, "--output", output, "--device", "cpu", *words, *_words(settings))
    return json.loads((output / "test.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.long
def test_both_stages_are_trained_measured_and_asked_by_commands(said: Say, tmp_path: Path) -> None:
    source = imagenet(tmp_path / "set", train=4, val=2, side=64)
    backbone = {f"model.backbone.{name}": value for name, value in BACKBONE.items()}
    few = {**CROPS, "train.batch_size": 4, "train.iterations": 2}
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
    regions = {**FEW_REGIONS, "train.batch_size": 4, "train.iterations": 2}
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
    assert "paired bootstrap" in said("compare", rpn, rcnn)
    table = tmp_path / "answers.csv"
    told = said("predict", rpn, picture, "--output", table, "--device", "cpu", code=2)
    assert f"{rpn} is a localisation; --csv FILE writes its answers as a table" in told
    said("predict", rpn, picture, "--csv", table, "--device", "cpu")
    assert len(table.read_text().splitlines()) == 1 + 5
    assert "--calibrate is for classification alone" in said("eval", rpn, "--calibrate", "--device", "cpu", code=2)
    said("train", "--resume", rcnn, "--set", "train.iterations=3", "--device", "cpu")
    _moved_with_its_neighbours(said, rcnn, tmp_path / "moved", picture)


def _moved_with_its_neighbours(said: Say, run: Path, home: Path, picture: Path) -> None:
    """Both stages go elsewhere: the second is measured and resumed there, and refused without the first."""
    known = json.loads((run / "test.json").read_text())
    home.mkdir()
    for each in ("rpn", "rcnn"):
        (run.parent / each).rename(home / each)
    again = json.loads(said("eval", home / "rcnn", "--device", "cpu", "--json"))
    assert (again["error"], again["top1_error"]) == (known["error"], known["top1_error"])
    said("train", "--resume", home / "rcnn", "--set", "train.iterations=4", "--device", "cpu")
    assert json.loads((home / "rcnn" / "run.json").read_text())["task"]["proposer"] == str(home / "rpn")
    inspected = said("weights", "inspect", home / "rcnn")
    assert f"its proposer    {home / 'rpn'}" in inspected
    said("weights", "convert", home / "rcnn", home / "sent" / "there")
    assert said("predict", home / "sent" / "there", picture, "--device", "cpu") == said(
        "predict", home / "rcnn", picture, "--device", "cpu"
    )
    (home / "rpn").rename(home / "gone")
    told = f"task.proposer={home / 'rpn'}: no longer there, nor at ../rpn from the run; bring it back"
    for words in (("eval", home / "rcnn"), ("predict", home / "rcnn", picture), ("train", "--resume", home / "rcnn")):
        assert told in said(*words, "--device", "cpu", code=2)


@pytest.mark.long
def test_two_processes_learn_what_one_does(said: Say, tmp_path: Path) -> None:
    source = imagenet(tmp_path / "set", train=4, val=1, side=64)
    backbone = {f"model.backbone.{name}": value for name, value in BACKBONE.items()}
    few = {"train.batch_size": 8, "train.iterations": 3, "train.accumulate": 2}
    first = ("--model", "resnet18", *_words({**CROPS, **few, **backbone, **ANCHORS}))
    for stage, words in (
        ("rpn", first),
        ("rcnn", ("--weights", tmp_path / "one-rpn", *_words({**FEW_REGIONS, **few}))),
    ):
        asked = ["train", source, "--recipe", "loc_2015", "--device", "cpu", *words]
        said(*asked, "--output", tmp_path / f"one-{stage}")
        two = [str(word) for word in (*asked, "--output", tmp_path / f"two-{stage}")]
        ended = ended_together([*DEEPRES, *two])
        assert [code for code, *_ in ended] == [0, 0], ended
        assert ended[1][1:] == ("", "")
        weights = [load_file(tmp_path / f"{number}-{stage}" / "model.safetensors") for number in ("one", "two")]
        for name, tensor in weights[0].items():
            assert torch.allclose(tensor, weights[1][name], rtol=1e-3, atol=1e-5), name
        results = [json.loads((tmp_path / f"{number}-{stage}" / "test.json").read_text()) for number in ("one", "two")]
        assert results[0]["num_images"] == results[1]["num_images"] == 10


@pytest.mark.long
def test_boxes_that_were_learnt_are_better_than_the_whole_picture_and_than_maps(said: Say, tmp_path: Path) -> None:
    """Ten classes of drawn objects; the classes are those of one classification network in all cases."""
    source = imagenet(tmp_path / "set", train=40, val=10, side=64, largest=0.95)
    named, rpn = tmp_path / "cls", tmp_path / "rpn"
    plain = {f"model.{name}": value for name, value in BACKBONE.items()}
    settings = {**CROPS, **plain, "train.accumulate": 1, "train.precise_bn_batches": 0}
    settings |= {"train.iterations": 150, "train.schedule.lr": 0.1}
    _train(said, source, named, "--recipe", "imagenet_2015", "--model", "resnet18", **settings)
    said("analyze", "localisation", named, "--output", tmp_path / "cam", "--device", "cpu")
    maps = json.loads((tmp_path / "cam" / "localisation.json").read_text())["numbers"]["errors"]
    learnt = {**CROPS, **ANCHORS, "train.iterations": 200, "train.schedule.lr": 0.02}
    found = _train(said, source, rpn, "--recipe", "loc_2015", "--weights", named, **learnt)
    assert found["classifier"] == str(named)
    assert found["class_top5_error"] == pytest.approx(maps["class_top5_error"], abs=1e-9)
    whole = _whole_picture(source)
    assert found["whole_given_error"] == whole < 0.95
    assert whole <= found["whole_error"] < 1
    assert found["given_error"] < min(maps["given_error"], whole) - 0.2
    assert found["error"] < maps["top5_error"] - 0.1
    assert found["error"] < found["whole_error"]


def _whole_picture(source: Path) -> float:
    """The error of the whole picture as the box, given the true class."""
    images = open_splits(DataConfig(source=str(source), boxes="imagenet")).splits["val"]
    targets = images.targets
    assert isinstance(targets, BoxTargets)
    boxes = torch.tensor([[[0.0, 0.0, 64.0, 64.0]]]).expand(len(targets), 1, 4)
    found = right(targets.classes[:, None], boxes, Truth.marked(targets))
    return wrong(found, 1) / len(targets)
