"""Average precision against pycocotools, torchmetrics, published figures, and a slow loop by the devkit's rule."""

import importlib.util
import sys
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepres.tasks.detection.ap_coco import coco_figures
from deepres.tasks.detection.ap_voc import overlap, voc_matches
from deepres.tasks.detection.detections import Detections, Truth
from deepres.tasks.detection.matches import average_precisions, curve, of_11, of_101, of_all, statistic

sys.path.insert(0, str(Path(__file__).parent))
from drawn import drawn

EVIDENCE = Path(__file__).parents[3] / "evidence" / "detection_ap.py"


def _evidence() -> Any:
    spec = importlib.util.spec_from_file_location("detection_ap", EVIDENCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_published_figures_come_out(shared: Path) -> None:
    rows = _evidence().figures(shared / "data")
    assert len(rows) == 87
    assert [row for row in rows if abs(row["difference"]) > row["bar"]] == []


@pytest.mark.medium
@pytest.mark.parametrize("cut", [0.0, 0.05, 0.5, 0.7])
@pytest.mark.parametrize("tied", [False, True])
def test_cocos_figures_are_pycocotools_with_crowds_and_cut_scores(tied: bool, cut: float) -> None:
    pytest.importorskip("pycocotools")
    module = _evidence()
    for seed in range(3):
        found, truth = drawn(seed=seed, tied=tied)
        measured = (found.above(cut), truth, 20, 4)
        assert module.twelve(measured) == pytest.approx(module.pycocotools(measured), abs=1e-12)


@pytest.mark.slow  # to import it
def test_cocos_figures_are_torchmetrics_without_crowds() -> None:
    torchmetrics = pytest.importorskip("torchmetrics.detection")
    pytest.importorskip("pycocotools")
    found, truth = drawn(crowds=0)
    metric = torchmetrics.MeanAveragePrecision(backend="pycocotools", class_metrics=True)
    for image in range(20):
        here, there = found.image == image, truth.image == image
        boxes = {"boxes": found.corners[here], "scores": found.scores[here], "labels": found.classes[here]}
        own = {"boxes": truth.corners[there], "labels": truth.classes[there], "area": truth.areas[there]}
        metric.update([boxes], [own])
    wanted = metric.compute()
    ours = coco_figures(found, truth, 20, 4)
    assert ours.ap == pytest.approx(float(wanted["map"]), abs=1e-6)  # theirs is float32
    assert ours.per_class[:3, 0].tolist() == pytest.approx(wanted["map_per_class"].tolist(), abs=1e-6)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.medium
def test_the_same_formula_gives_cocos_ap_from_the_matches(tied: bool) -> None:
    for seed in range(5):
        figures = coco_figures(*drawn(seed=seed, tied=tied), 20, 4)
        assert statistic(figures.matches, of_101)(np.ones((1, 20)))[0] == pytest.approx(figures.ap, abs=1e-12)
        each = [average_precisions(found, of_101) for found in figures.matches]
        assert [one.mean() for one in each[:3]] == pytest.approx(figures.per_class[:3, 0].tolist(), abs=1e-12)
        assert isnan(each[3].mean())
        assert isnan(figures.per_class[3, 0])


@pytest.mark.medium
def test_a_picture_drawn_twice_counts_as_if_it_stood_there_twice() -> None:
    found, truth = drawn()
    draws = np.random.default_rng(1).integers(0, 20, (4, 20))
    figures = coco_figures(found, truth, 20, 4)
    voc = voc_matches(found, truth, 20, 4)
    for pictures in draws:
        weights = np.bincount(pictures, minlength=20).astype(float)[None]
        again = torch.from_numpy(pictures)
        copies = [_copied(one, again) for one in (found, truth)]
        whole = coco_figures(*copies, 20, 4)
        assert statistic(figures.matches, of_101)(weights)[0] == pytest.approx(whole.ap, abs=1e-12)
        for share in (of_11, of_all):
            wanted = statistic(voc_matches(*copies, 20, 4), share)(np.ones((1, 20)))
            assert statistic(voc, share)(weights) == pytest.approx(wanted, abs=1e-12)


def _copied(boxes: Any, pictures: torch.Tensor) -> Any:
    parts = []
    for place, picture in enumerate(pictures.tolist()):
        part = boxes.at(boxes.image == picture)
        parts.append(type(boxes)(**(part.columns() | {"image": torch.full((len(part),), place)})))
    return type(boxes).together(parts)


@pytest.mark.parametrize("overlap", [0.1, 0.5, 0.75])
@pytest.mark.parametrize(("share", "area"), [(of_11, False), (of_all, True)])
@pytest.mark.medium
def test_vocs_figures_are_a_loop_by_the_devkits_rule(overlap: float, share: Any, area: bool) -> None:
    for seed in range(4):
        found, truth = drawn(seed=seed, crowds=0.2)
        matches = voc_matches(found, truth, 20, 4, (overlap,))
        for number, of_class in enumerate(matches):
            wanted = _devkit(found, truth, number, overlap, area)
            ours = float(average_precisions(of_class, share)[0])
            assert (isnan(ours) and wanted is None) or ours == pytest.approx(wanted, abs=1e-12)


def _devkit(found: Detections, truth: Truth, number: int, least: float, area: bool) -> float | None:
    """VOCevaldet.m, line by line; corners are half open, so no side gets a 1."""
    objects = [i for i in range(len(truth)) if truth.classes[i] == number]
    total = sum(not truth.ignored[i] for i in objects)
    taken, tp, fp = set[int](), [], []
    boxes = [i for i in range(len(found)) if found.classes[i] == number]
    for i in sorted(boxes, key=lambda i: -float(found.scores[i])):
        best, at = 0.0, -1
        for j in objects:
            if truth.image[j] == found.image[i]:
                a, b = found.corners[i].tolist(), truth.corners[j].tolist()
                wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                shared = wide * high if wide > 0 and high > 0 else 0.0
                union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
                if shared / union > best:
                    best, at = shared / union, j
        right = best >= least and not truth.ignored[at] and at not in taken
        left_out = best >= least and bool(truth.ignored[at])
        tp.append(int(right))
        fp.append(int(not right and not left_out))
        taken |= {at} if right else set()
    if not total:
        return None
    said, hits = np.cumsum(tp) + np.cumsum(fp), np.cumsum(tp)
    recall, precision = hits / total, np.where(said > 0, hits / np.maximum(said, 1), 0.0)
    if not area:
        return sum(max(precision[recall >= t], default=0.0) for t in np.arange(11) * 0.1) / 11
    recall, precision = np.array([0, *recall, 1]), np.array([0, *precision, 0])
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(((recall[1:] - recall[:-1]) * best[1:]).sum())


@pytest.mark.parametrize(("area", "counted"), [(False, 6 / 11), (True, 0.5)])
def test_difficult_objects_would_cost_what_others_lost(area: bool, counted: float) -> None:
    """One that is missed is no miss, and a box on one is not false; were they counted, half of the objects is missed."""
    share, corners = of_all if area else of_11, [[0, 0, 10, 10], [50, 50, 60, 60]]
    own = {"image": [0, 0], "corners": corners, "classes": [0, 0], "areas": [100, 100]}
    told = {"image": [0], "corners": corners[:1], "classes": [0], "scores": [0.9]}
    on_it = {"image": [0], "corners": [[51, 50, 60, 60]], "classes": [0], "scores": [0.95]}
    for found in (Detections.of(told), Detections.together([Detections.of(on_it), Detections.of(told)])):
        (by_rule,) = voc_matches(found, Truth.of(own | {"ignored": [False, True]}), 1, 1)
        assert float(average_precisions(by_rule, share)[0]) == 1.0
    (every,) = voc_matches(Detections.of(told), Truth.of(own | {"ignored": [False, False]}), 1, 1)
    assert float(average_precisions(every, share)[0]) == pytest.approx(counted)


def test_a_recall_of_three_tenths_falls_short_of_the_fields_threshold() -> None:
    assert of_11(np.array([0.0, 0.3, 0.6, 0.7, 0.3 + 1e-15, 1.0])) * 11 == pytest.approx([1, 3, 6, 7, 4, 11])


def test_a_class_without_an_object_is_in_no_mean_and_costs_nothing() -> None:
    found, truth = drawn()
    ap = coco_figures(found, truth, 20, 4).ap
    stray = Detections.of({"image": [0], "corners": [[0, 0, 9, 9]], "classes": [3], "scores": [1.0]})
    figures = coco_figures(Detections.together([found, stray]), truth, 20, 4)
    assert figures.ap == ap
    assert isnan(figures.per_class[3, 0])


@pytest.mark.parametrize(("boxes", "wanted"), [(0, 0.0), (1, 1.0)])
def test_nothing_found_is_zero_and_all_found_is_one(boxes: int, wanted: float) -> None:
    own = {"image": [1], "corners": [[10, 10, 30, 30]], "classes": [0], "ignored": [False], "areas": [400]}
    found = Detections.of({"image": [1], "corners": [[10, 10, 30, 30]], "classes": [0], "scores": [0.3]})
    found, truth = found.at(torch.arange(boxes)), Truth.of(own)
    assert coco_figures(found, truth, 2, 1).twelve[:4] == pytest.approx((wanted,) * 4)
    assert coco_figures(found, truth, 2, 1).by_size[1:] == (None, None)
    for share in (of_11, of_all):
        assert statistic(voc_matches(found, truth, 2, 1), share)(np.ones((1, 2))) == pytest.approx(wanted)


def test_no_object_at_all_has_no_average_precision() -> None:
    found = Detections.of({"image": [0], "corners": [[0, 0, 5, 5]], "classes": [0], "scores": [0.5]})
    for own in (
        Truth.none(),
        Truth.of({"image": [0], "corners": [[0, 0, 5, 5]], "classes": [0], "ignored": [True], "areas": [25]}),
    ):
        assert coco_figures(found, own, 1, 1).ap is None
        assert voc_matches(found, own, 1, 1)[0].num_objects == 0


def test_overlap_is_intersection_by_union_and_0_of_boxes_without_area() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 5, 5, 9]], float)
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [5, 5, 5, 9]], float)
    assert overlap(boxes, others).tolist() == [[1, 50 / 150, 0, 0], [0, 0, 0, 0]]


def test_precision_at_a_recall_is_the_highest_there_or_above() -> None:
    own = {"image": [0] * 4, "corners": [[20 * i, 0, 20 * i + 9, 9] for i in range(4)], "classes": [0] * 4}
    truth = Truth.of({**own, "ignored": [False] * 4, "areas": [81] * 4})
    rows = [[0, 0, 9, 9], [0, 50, 9, 59], [20, 0, 29, 9], [40, 0, 49, 9]]  # right, wrong, right, right
    found = Detections.of({"image": [0] * 4, "corners": rows, "classes": [0] * 4, "scores": [0.9, 0.8, 0.7, 0.6]})
    (matches,) = voc_matches(found, truth, 1, 1)
    assert curve(matches, 0, np.array([0, 0.25, 0.26, 0.75, 0.76, 1])) == [1, 1, 0.75, 0.75, 0, 0]
