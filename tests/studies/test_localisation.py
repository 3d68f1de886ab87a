"""The study of localisation, from ImageNet's layout to its report: both stages, several scales, three networks as one."""

import json
from pathlib import Path

import pytest

from deepres.cli import main
from drawn_objects import imagenet

SMALL = {
    "model.backbone.depths": "1,1",
    "model.backbone.widths": "8,8",
    "model.backbone.stem_width": 8,
    "model.backbone.unit": "basic",
    "preparation.resize": 32,
    "preparation.crop": 32,
    "augmentation.scale": "32,36",
    "augmentation.colour_pca": 0,
    "task.anchors.sizes": "12,20",
    "task.side": 16,
    "task.proposals": 3,
    "train.batch_size": 4,
    "data.workers": 0,
}


@pytest.mark.long
def test_table_13_goes_from_the_pictures_to_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = imagenet(tmp_path / "set", train=2, val=1, side=32)
    small = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    words = ["reproduce", "resnet/table13", "--data", f"loc={source}", "--output", str(tmp_path / "out")]
    words += ["--scale", "short", "--share", str(2 / 80_000), "--device", "cpu", *small]
    assert main.run(words) == 0
    told = capsys.readouterr().out
    (only,) = (tmp_path / "out").glob("reports/*/report.json")
    facts = json.loads(only.read_text())
    assert [run["done"] for run in facts["runs"]] == [2] * 4, "one of the first stage, three of the second"
    assert len(list((tmp_path / "out" / "short").glob("local*"))) == 6, "each of these with a first one of its own"
    found = {(one["row"], one["column"]): one for one in facts["outcome"]["found"]}
    rows = {
        ("RPN ResNet-101, 1-crop", "gt"): 1,
        ("RPN ResNet-101, dense", "gt"): 1,
        ("RPN ResNet-101, cls ResNet-101", "pred"): 1,
        ("RPN+RCNN ResNet-101, cls ResNet-101", "pred"): 1,
        ("RPN+RCNN ensemble, cls ensemble", "pred"): 1,
    }
    assert {name: len(found[name]["values"]) for name in rows} == rows
    assert all(0 <= found[name]["values"][0] <= 100 for name in rows)
    (measured,) = (tmp_path / "out" / "short" / "together").iterdir()
    assert found["RPN+RCNN ensemble, cls ensemble", "pred"]["values"][0] == pytest.approx(
        100 * json.loads(measured.read_text())["error"]
    )
    assert len(facts["outcome"]["claims"]) == 3
    assert "whole pictures at several scales" in told or "RPN ResNet-101, dense" in told
