"""Boxes of one picture, told in lines, rows and JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from tiny import network

from deepres.arch.regions import Regions
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.predict.predictor import Predictor
from deepres.tasks.detection.answer import COLUMNS, BoxesAnswer, FoundBox, told_hidden
from deepres.tasks.detection.task import Detection

CAR = FoundBox(name="car", score=0.984, corners=(12.4, 40.0, 310.25, 220.6))
DOG = FoundBox(name="dog\x1b[2J", score=0.5, corners=(0.0, 0.0, 1.0, 1.0))


def _answer(*boxes: FoundBox, hidden: int = 0, best: float | None = None) -> BoxesAnswer:
    return BoxesAnswer(image="street.jpg", boxes=boxes, above=0.5, hidden=hidden, best_hidden=best)


def test_a_line_a_box() -> None:
    assert _answer(CAR, DOG, hidden=3).line() == (
        "street.jpg: car 0.98 (12, 40, 310, 221)\nstreet.jpg: dog\\u001b[2J 0.50 (0, 0, 1, 1)"
    )
    assert _answer(hidden=2, best=0.41).line() == "street.jpg: no box with a score of 0.5 or more (best 0.41)"
    assert _answer().line() == "street.jpg: no box with a score of 0.5 or more"
    unread = BoxesAnswer(image="a.jpg", boxes=(), above=0.5, hidden=0, problem="a.jpg: empty")
    assert unread.line() == "a.jpg: empty"


@pytest.mark.medium
def test_boxes_are_told_on_the_upright_picture_however_it_is_stored(tmp_path: Path) -> None:
    upright = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    one = torch.ones(3)
    predictor = Predictor(
        network(regions=Regions(pool=3, widths=(16,), score_above=0, most=5)).eval(),
        ("a", "b", "c"),
        Preparation(fit="sides", resize=48, longest=64, multiple=32),
        Statistics(one / 2, one, one, torch.eye(3), None, 0),
        torch.device("cpu"),
        task=Detection(above=0),
    )
    answers = []
    for turn, back in enumerate((None, 0, 3, 1, 5, 2, 6, 4), start=1):  # EXIF's, and how PIL stores such a picture
        stored = Image.fromarray(upright) if back is None else Image.fromarray(upright).transpose(Image.Transpose(back))
        exif = stored.getexif()
        exif[274] = turn
        stored.save(tmp_path / f"{turn}.png", exif=exif)
        assert np.array_equal(ImageOps.exif_transpose(Image.open(tmp_path / f"{turn}.png")), upright)
        answers.append(predictor(tmp_path / f"{turn}.png").model_dump()["boxes"])
    assert len(answers[0]) == 5
    assert all(answer == answers[0] for answer in answers)
    assert all(0 <= x1 <= x2 <= 64 and 0 <= y1 <= y2 <= 48 for x1, y1, x2, y2 in (b["corners"] for b in answers[0]))


def test_a_row_a_box_and_json() -> None:
    rows = _answer(CAR, DOG).rows()
    assert [list(row) for row in rows] == [list(COLUMNS)] * 2
    assert rows[0] == {"class": "car", "score": "0.984000", "x1": "12.4", "y1": "40", "x2": "310.25", "y2": "220.6"}
    assert _answer().rows() == [{}]
    told = json.loads(json.dumps(_answer(CAR).model_dump(mode="json")))
    assert told["boxes"] == [{"name": "car", "score": 0.984, "corners": [12.4, 40.0, 310.25, 220.6]}]
    assert (told["above"], told["hidden"]) == (0.5, 0)


def test_a_mask_stands_in_json_beside_its_box() -> None:
    mask = {"size": [6, 8], "counts": "04"}
    told = json.loads(json.dumps(_answer(CAR.replace(segmentation=mask), DOG).model_dump(mode="json")))
    assert [one.get("segmentation") for one in told["boxes"]] == [mask, None]
    assert BoxesAnswer.model_validate(told).boxes[0].segmentation == CAR.replace(segmentation=mask).segmentation


@pytest.mark.parametrize(
    ("hidden", "told"),
    [
        ((0, 0), ""),
        ((1, 0), "1 box of 1 image has a score below 0.5 and is not shown; --above 0 shows it"),
        ((2, 5), "7 boxes of 2 images have a score below 0.5 and are not shown; --above 0 shows them"),
    ],
)
def test_what_is_hidden_is_said(hidden: tuple[int, int], told: str) -> None:
    assert told_hidden([_answer(CAR, hidden=one) for one in hidden]) == told
