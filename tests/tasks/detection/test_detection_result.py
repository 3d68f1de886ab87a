"""What a detector's answers come to: figures against pycocotools' and a loop, words, curves, the worst pictures."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepres.base.errors import InputError
from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.images import ArrayImages
from deepres.tasks.bootstrap import drawn as draws
from deepres.tasks.detection.ap_voc import overlap
from deepres.tasks.detection.conclude import concluded, worst_rows
from deepres.tasks.detection.detections import Detections, Truth
from deepres.tasks.detection.figures import figures
from deepres.tasks.detection.metrics import BoxAnswers
from deepres.tasks.detection.result import DetectionResult
from deepres.tasks.result import Evaluation

sys.path.insert(0, str(Path(__file__).parent))
from drawn import drawn

NAMES = ("cat", "dog", "eel", "fox")
FACTS = {"split": "test", "protocol": "center", "skipped": (), "seconds": 2.0, "provenance": {}}


def images_of(truth: Truth, number: int, side: int = 4) -> ArrayImages:
    columns = [
        Boxes.of(truth.corners[own], truth.classes[own], truth.ignored[own], truth.areas[own])
        for own in (truth.image == image for image in range(number))
    ]
    pixels = torch.zeros(number, 3, side, side, dtype=torch.uint8)
    return ArrayImages(pixels, BoxTargets.of(columns), NAMES, "set/test")


def evaluated(found: Detections, truth: Truth, measure: Any = "coco", number: int = 20) -> Evaluation:
    answers = BoxAnswers(torch.arange(number), found)
    return concluded(answers, images_of(truth, number), FACTS, None, measure)


@pytest.mark.parametrize("measure", ["coco", "voc07", "voc"])
def test_the_result_is_that_of_the_measure_and_comes_back_from_its_file(measure: Any, tmp_path: Path) -> None:
    found, truth = drawn()
    result = evaluated(found, truth, measure).result
    known = figures(found, truth, 20, 4, measure)
    assert result.ap == pytest.approx(known.ap, abs=1e-9)  # a set's corners are float32
    assert result.error == 1 - result.ap
    assert result.ap_low < result.ap < result.ap_high
    assert (result.ap75 is None) == (measure != "coco")
    assert (result.num_classes, result.num_objects) == (3, int((~truth.ignored).sum()))
    assert result.num_ignored == int(truth.ignored.sum())
    assert [one.ap is None for one in result.per_class] == [False, False, False, True]
    assert np.mean([one.ap for one in result.per_class[:3]]) == pytest.approx(result.ap, abs=1e-12)
    assert np.mean([one.ap50 for one in result.per_class[:3]]) == pytest.approx(result.ap50, abs=1e-12)
    path = tmp_path / "result.json"
    path.write_text(result.model_dump_json())
    assert DetectionResult.load(path) == result
    assert result.facts()["error"] == result.error


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.medium
def test_float32_corners_of_a_set_change_no_figure_of_pycocotools(seed: int) -> None:
    pytest.importorskip("pycocotools")
    from test_average_precision import _evidence

    found, truth = drawn(seed=seed)
    result = evaluated(found, truth).result
    wanted = _evidence().pycocotools((found, truth, 20, 4))
    ours = [result.ap, result.ap50, result.ap75, *result.by_size, *result.recalls]
    assert ours == pytest.approx(wanted, abs=1e-12)


@pytest.mark.medium
def test_the_interval_is_seeded_holds_the_figure_and_narrows_with_more_pictures() -> None:
    widths = []
    for number in (15, 60):
        known = figures(*drawn(images=number), number, 4, "coco")
        low, high = known.interval(number)
        assert (low, high) == known.interval(number)
        assert low < (known.ap or 0) < high
        widths.append(high - low)
    assert widths[1] < 0.7 * widths[0]


@pytest.mark.slow
def test_the_interval_is_as_wide_as_the_figures_of_other_pictures_are_far_apart() -> None:
    found, truth = drawn(images=1500, seed=9)
    values, widths = [], []
    for part in range(30):
        own = torch.arange(part * 50, part * 50 + 50)
        known = figures(found.placed(own), truth.placed(own), 50, 4, "coco")
        low, high = known.interval(50, 200)
        values.append(known.ap)
        widths.append(high - low)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(values), rel=0.25)


def test_a_class_without_an_object_is_told_as_no_object_and_the_mean_says_of_how_many() -> None:
    result = evaluated(*drawn()).result
    assert any(line == "no object, so left out of the mean: fox" for line in result.lines())
    assert "of 20 images" in result.lines()[0]
    assert "of 3 classes" in result.lines()[0]
    table = result.blocks()[0]
    assert table.rows[-1][:2] == ("fox", "no object")
    assert ("3 of 4", "classes in the mean") in [(card.value, card.name) for card in result.cards()]


def test_no_object_at_all_is_refused() -> None:
    found, _ = drawn()
    with pytest.raises(InputError, match="test: no object of cat, dog, eel … in any picture: AP is not defined"):
        evaluated(found, Truth.none())


@pytest.mark.parametrize("measure", ["coco", "voc07"])
@pytest.mark.medium
def test_missed_and_false_boxes_are_those_of_a_loop(measure: Any) -> None:
    for seed in range(3):
        found, truth = drawn(seed=seed, crowds=0)
        evaluation = evaluated(found, truth, measure)
        missed, false = np.zeros(20, int), np.zeros(20, int)
        for image in range(20):
            own = [i for i in range(len(truth)) if truth.image[i] == image]
            taken = set[int]()
            boxes = [i for i in range(len(found)) if found.image[i] == image and found.scores[i] >= 0.5]
            for i in sorted(boxes, key=lambda i: -float(found.scores[i])):
                shared = overlap(found.corners[i : i + 1].numpy(), truth.corners[own].numpy())[0] if own else []
                fits = [(s, j) for s, j in zip(shared, own, strict=True) if truth.classes[j] == found.classes[i]]
                free = [pair for pair in fits if measure == "voc07" or pair[1] not in taken]
                best = max(free, default=(0.0, -1))
                if best[0] >= 0.5 and best[1] not in taken:
                    taken.add(best[1])
                else:
                    false[image] += 1
            missed[image] = len(own) - len(taken)
        result = evaluation.result
        assert (result.num_missed, result.num_false) == (missed.sum(), false.sum())
        rows = worst_rows(evaluation, images_of(truth, 20))
        assert {row[0]: row[3:5] for row in rows[1:]} == {
            f"set/test/{i}": (missed[i], false[i]) for i in range(20) if missed[i] + false[i]
        }
        assert [one.num_missed for one in result.most_missed] == sorted(missed[missed > 0], reverse=True)[:12]
        assert [one.num_false for one in result.most_false] == sorted(false[false > 0], reverse=True)[:12]
        first = result.most_missed[0]
        kinds = [one.kind for one in first.outlines]
        assert (kinds.count("missed"), kinds.count("false")) == (first.num_missed, first.num_false)


def test_curves_begin_at_the_highest_precision_and_fall() -> None:
    result = evaluated(*drawn()).result
    assert [(one.name, one.overlap) for one in result.curves[:2]] == [("cat", 0.5), ("cat", 0.75)]
    assert len(result.curves) == 6
    for one in result.curves:
        assert list(one.precision) == sorted(one.precision, reverse=True)
    known = figures(*drawn(), 20, 4, "coco")
    for number in range(3):
        mean = np.mean(result.curves[2 * number].precision)
        assert mean == pytest.approx(known.per_class[number, 1], abs=1e-6)  # COCO's AP50 is the mean of this curve


@pytest.mark.medium
def test_weights_of_draws_go_by_pictures() -> None:
    known = figures(*drawn(), 20, 4, "coco")
    pieces = np.concatenate([known.statistic(weights) for weights in draws(20, 9, 0, "x")])
    each = [known.statistic(weights[None])[0] for weights in np.concatenate(list(draws(20, 9, 0, "x")))]
    assert pieces == pytest.approx(each, abs=1e-15)


@pytest.mark.medium
def test_more_than_a_hundred_boxes_of_a_class_count_as_the_best_hundred() -> None:
    pytest.importorskip("pycocotools")
    from test_average_precision import _evidence

    draw = np.random.default_rng(0)
    low = draw.uniform(0, 300, (260, 2))
    columns = {"image": draw.integers(0, 2, 260), "corners": np.concatenate([low, low + 20], 1)}
    found = Detections.together([Detections.of({**columns, "classes": np.zeros(260), "scores": draw.random(260)})])
    own = {"image": [0] * 30, "corners": columns["corners"][:30] + 1, "classes": [0] * 30, "ignored": [False] * 30}
    truth = Truth.of({**own, "areas": [400] * 30})
    known = figures(found, truth, 2, 1, "coco")
    assert known.ap == pytest.approx(_evidence().pycocotools((found, truth, 2, 1))[0], abs=1e-12)
    assert known.statistic(np.ones((1, 2)))[0] == pytest.approx(known.ap, abs=1e-12)
    assert len(known.matches[0].row) == 200


@pytest.mark.medium
def test_a_result_is_json_without_nan() -> None:
    for boxes in (drawn()[0], Detections.none()):
        text = evaluated(boxes, drawn()[1]).result.model_dump_json()
        json.loads(text, parse_constant=lambda name: pytest.fail(name))
