"""Answers of detectors as files: they come back, are compared in pairs, and hostile columns are refused in one line."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepres.base.errors import InputError
from deepres.tasks.bootstrap import drawn as draws
from deepres.tasks.bootstrap import paired as paired_draws
from deepres.tasks.detection.conclude import concluded
from deepres.tasks.detection.detections import Detections
from deepres.tasks.detection.figures import figures
from deepres.tasks.detection.metrics import BoxAnswers
from deepres.tasks.detection.task import Detection
from deepres.tasks.paired import DRAWS, compare, load_saved, sentence
from deepres.tasks.saved import save_predictions

sys.path.insert(0, str(Path(__file__).parent))
from drawn import drawn
from test_detection_result import FACTS, images_of

FOUND, TRUTH = drawn()


def _saved(path: Path, found: Detections = FOUND, measure: Any = "coco", pictures: int = 20) -> Path:
    images = images_of(TRUTH.placed(torch.arange(pictures)), pictures)
    answers = BoxAnswers(torch.arange(pictures), found.placed(torch.arange(pictures)))
    save_predictions(path, concluded(answers, images, FACTS, Detection(measure=measure), measure), images)
    return path


def _worse() -> Detections:
    """The same boxes, the best ones moved away."""
    corners = FOUND.corners + torch.where(FOUND.scores > 0.4, 500.0, 0.0)[:, None]
    return Detections(FOUND.image, corners, FOUND.classes, FOUND.scores)


@pytest.mark.medium
@pytest.mark.parametrize("measure", ["coco", "voc07", "voc"])
def test_the_difference_of_two_is_that_of_the_same_draws(measure: Any, tmp_path: Path) -> None:
    one, other = _saved(tmp_path / "a.npz", measure=measure), _saved(tmp_path / "b.npz", _worse(), measure)
    values, (pair,) = compare([load_saved(one), load_saved(other)])
    known = [figures(found, TRUTH, 20, 4, measure) for found in (FOUND, _worse())]
    assert values == pytest.approx([each.ap for each in known], abs=1e-9)
    weights = np.concatenate(list(draws(20, DRAWS, 0, "compare")))
    differences = known[1].statistic(weights) - known[0].statistic(weights)
    assert pair.difference == pytest.approx((known[1].ap or 0) - (known[0].ap or 0), abs=1e-9)
    assert (pair.low, pair.high) == pytest.approx(np.percentile(differences, (2.5, 97.5)), abs=1e-9)
    assert pair.shown
    told = sentence(pair, load_saved(one).compared)
    assert told.startswith("a is better than b by ")
    assert "paired bootstrap p =" in told


@pytest.mark.medium
def test_equal_answers_differ_by_nothing_and_not_by_minus_nothing(tmp_path: Path) -> None:
    pair = compare([load_saved(_saved(tmp_path / name)) for name in ("a.npz", "b.npz")])[1][0]
    assert sentence(pair, load_saved(tmp_path / "a.npz").compared) == (
        "a and b: no difference shown (0.00 %, 95 % interval 0.00 % to 0.00 %; paired bootstrap p = 1)"
    )


@pytest.mark.medium
def test_other_pictures_and_another_measure_are_refused(tmp_path: Path) -> None:
    whole = load_saved(_saved(tmp_path / "a.npz"))
    with pytest.raises(InputError, match=r"a was measured on 20 images .* b on 19 others"):
        compare([whole, load_saved(_saved(tmp_path / "b.npz", pictures=19))], force=True)
    with pytest.raises(InputError, match="a was measured by AP, b by VOC 2007 AP: the numbers say different things"):
        compare([whole, load_saved(_saved(tmp_path / "b.npz", measure="voc07"))], force=True)


Change = Callable[[dict[str, Any]], dict[str, Any]]


def _with(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda columns: {name: change(columns[name].copy())}


def _set(row: int, column: int, value: float) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        values[row, column] = value
        return values

    return change


@pytest.mark.medium
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_with("index", lambda index: index[::-1]), "not in the order of their places, each once"),
        (_with("index", lambda index: index * 0), "not in the order of their places, each once"),
        (_with("index", lambda index: index[None]), "not in the order"),
        (_with("index", lambda index: index - 5), "which is not among them"),
        (_with("name", lambda name: name[:3]), "3 names of 20 images"),
        (_with("truth", lambda truth: truth[:, :7]), r"truth is \(\d+, 7\), wanted \(G, 8\)"),
        (_with("truth", lambda truth: truth[:0]), "no object in any picture"),
        (_with("truth", _set(0, 5, 0.5)), "no whole number"),
        (_with("truth", _set(0, 5, np.inf)), "no whole number"),
        (_with("truth", _set(0, 0, 1e300)), "no whole number"),
        (_with("truth", _set(0, 0, 77)), "is of picture 77, which is not among them"),
        (_with("truth", _set(0, 1, np.nan)), "corners of box 0 is no number"),
        (_with("truth", _set(0, 7, -1)), "has an area of -1.0"),
        (_with("box_scores", lambda scores: scores[1:]), "scores is float64"),
        (_with("box_scores", lambda scores: scores * np.nan), "scores of box 0 is no number"),
        (_with("box_classes", lambda classes: classes + 2**40), "is of class 1099"),
        (_with("box_classes", lambda classes: classes - 9), "is of class -"),
        (_with("box_image", lambda image: image.astype(float)), "image is float64"),
        (_with("box_corners", lambda corners: corners[:, ::-1]), "wanted x1, y1, x2, y2 in px"),
        (_with("box_corners", lambda corners: corners * 1e9), "wanted x1, y1, x2, y2 in px"),
    ],
)
def test_columns_that_no_detector_has_written_are_refused(change: Change, told: str, tmp_path: Path) -> None:
    columns = dict(np.load(_saved(tmp_path / "a.npz")))
    np.savez(tmp_path / "b.npz", **(columns | change(columns)))
    with pytest.raises(
        InputError, match=f"b.npz: not what detection answers .*{told}.*; evaluate the run again"
    ) as refused:
        load_saved(tmp_path / "b.npz")
    assert "\n" not in str(refused.value)


@pytest.mark.medium
def test_boxes_of_classes_that_no_object_has_cost_neither_time_nor_precision(tmp_path: Path) -> None:
    columns = dict(np.load(_saved(tmp_path / "a.npz")))
    stray = {"image": 0, "corners": np.ones((1, 4)), "classes": 2**31 - 1, "scores": 1.0}
    more = {f"box_{name}": np.concatenate([columns[f"box_{name}"], np.atleast_1d(row)]) for name, row in stray.items()}
    np.savez(tmp_path / "b.npz", **(columns | more))
    ones = np.ones((1, 20))
    values = [load_saved(tmp_path / name).compared.statistic(ones)[0] for name in ("a.npz", "b.npz")]
    assert values[0] == values[1]


def test_draws_without_an_object_are_left_out_of_a_difference() -> None:
    found = paired_draws([0.1, np.nan, 0.2, 0.3, np.nan], 5)
    assert found == paired_draws([0.1, 0.2, 0.3], 3)
    assert found[2] == pytest.approx(2 / 4)
