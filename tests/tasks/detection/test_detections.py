"""Boxes as columns: selected, read in all spellings, refused in one line."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepres.base.errors import InputError, RunError
from deepres.data.boxes import Boxes, BoxTargets
from deepres.tasks.detection.coco_json import coco_json, coco_rows, read_coco
from deepres.tasks.detection.detections import Detections, Truth, checked
from deepres.tasks.detection.metrics import BoxAnswers, DetectionMetrics, of_batch, require_object
from deepres.tasks.detection.spellings import read_texts

sys.path.insert(0, str(Path(__file__).parent))
from drawn import drawn


def _equal(one: Any, other: Any) -> bool:
    return all(torch.equal(mine, other.columns()[name]) for name, mine in one.columns().items())


@pytest.mark.parametrize("batches", [[20], [1] * 20, [3, 8, 9], [19, 1]])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_neither_batches_nor_their_order_nor_processes_change_an_answer(batches: list[int], processes: int) -> None:
    found, _ = drawn(tied=True)
    parts = [DetectionMetrics() for _ in range(processes)]
    places = torch.randperm(20, generator=torch.Generator().manual_seed(len(batches)))
    for number, batch in enumerate(places.split(batches)):
        rows = [found.at(found.image == place) for place in batch.tolist()]
        outputs = of_batch([{"boxes": one.corners, "labels": one.classes, "scores": one.scores} for one in rows])
        parts[number % processes].update(outputs, None, batch)
    whole = DetectionMetrics()
    for part in parts[::-1]:
        whole.merge(part)
    answers = whole.answers()
    assert answers.indices.tolist() == list(range(20))
    assert _equal(answers.detections, found)


def test_truth_is_that_of_the_pictures_that_were_asked() -> None:
    boxes = [Boxes.of([[i, 0, i + 5, 5]] * i, [i % 2] * i, [i == 2] * i) for i in range(4)]
    answers = BoxAnswers(torch.tensor([1, 3]), Detections.none()).known(BoxTargets.of(boxes))
    assert answers.truth.image.tolist() == [1, 3, 3, 3]
    assert answers.truth.corners[:, 0].tolist() == [1, 3, 3, 3]
    assert answers.at(torch.tensor([1])).truth.image.tolist() == [3, 3, 3]
    assert answers.truth.placed(answers.indices).image.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("column", ["corners", "scores"])
def test_a_box_that_is_no_number_names_its_picture(column: str, bad: float) -> None:
    columns = {"image": [0, 1], "corners": [[0.0, 0, 1, 1]] * 2, "classes": [0, 0], "scores": [0.5, 0.5]}
    columns = {name: torch.tensor(values) for name, values in columns.items()}
    columns[column][1] = bad
    with pytest.raises(RunError, match=r"1 box of 2 boxes found is not finite \(picture 7\)"):
        DetectionMetrics().update(Detections.of(columns), None, torch.tensor([5, 7]))


def test_a_picture_that_came_twice_or_none_is_refused() -> None:
    metrics = DetectionMetrics()
    with pytest.raises(InputError, match="no images"):
        metrics.answers()
    metrics.update(Detections.none(), None, torch.tensor([4, 4]))
    with pytest.raises(InputError, match="image 4 was given more than once"):
        metrics.answers()


@pytest.mark.parametrize("ignored", [0, 2])
def test_without_an_object_nothing_is_measured(ignored: int) -> None:
    boxes = Boxes.of([[0, 0, 5, 5]] * ignored, [0] * ignored, [True] * ignored)
    told = (
        rf"^test: no object of cat, dog in any picture{' .2 boxes to be ignored.' if ignored else ''}: AP is not defin"
    )
    with pytest.raises(InputError, match=told):
        require_object(Truth.marked(BoxTargets.of([boxes])), ("cat", "dog"), "test")


GOOD = {"image": [0, 1], "corners": [[0, 0, 2, 2], [1, 1, 4, 4]], "classes": [0, 2], "scores": [0.5, 1]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": [0, 2]}, "box 1 is of picture 2, which is not among them"),
        ({"image": [0, -1]}, "box 1 is of picture -1"),
        ({"image": [0.0, 1.0]}, r"image is float64 \(2,\), wanted torch.int64"),
        ({"image": 3}, "image is int64"),
        ({"classes": [0, 3]}, "box 1 is of class 3, there are 3"),
        ({"classes": [-1, 0]}, "box 0 is of class -1"),
        ({"scores": [0.5]}, r"scores is float64 \(1,\)"),
        ({"scores": [0.5, np.nan]}, "scores of box 1 is no number"),
        ({"scores": ["a", "b"]}, "scores is <U1"),
        ({"corners": [[0, 0, 2], [1, 1, 4]]}, r"corners is int64 \(2, 3\)"),
        ({"corners": [[0, 0, 2, 2], [5, 1, 4, 4]]}, r"box 1 is \[5, 1, 4, 4\], wanted x1, y1, x2, y2"),
        ({"corners": [[0, 0, 2, 2], [1, 1, 4, 1e30]]}, "box 1 is"),
        ({"corners": [[0, 0, 2, 2], [1, 1, 4, np.inf]]}, "corners of box 1 is no number"),
    ],
)
def test_columns_from_outside_that_are_no_boxes_are_refused(change: dict[str, Any], told: str) -> None:
    checked(Detections, GOOD, 2, 3)
    with pytest.raises(ValueError, match=told):
        checked(Detections, GOOD | change, 2, 3)


PICTURES, CLASSES = ("a/x.jpg", "a/y.jpg"), ("dog", "cat")
BY_NAME = {
    "images": [{"id": 9, "file_name": "b\\y.jpg"}, {"id": 0, "file_name": "x.jpg"}],
    "categories": [{"id": 0, "name": "cat"}, {"id": 7, "name": "dog"}],
    "annotations": [{"image_id": 0, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}],
}


def _read(tmp_path: Path, content: Any, **ids: Any) -> Detections:
    path = tmp_path / "found.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_coco(path, PICTURES, CLASSES, **ids)


def test_what_is_written_by_ids_comes_back_to_the_last_digit(tmp_path: Path) -> None:
    found, _ = drawn(images=2, classes=3)
    text = coco_json(found, (42, 7), (3, 90))
    again = _read(tmp_path, text, images=(42, 7), categories=(3, 90))
    assert torch.allclose(again.corners, found.corners, atol=1e-12)
    assert _equal(Detections(again.image, found.corners, again.classes, again.scores), found)
    assert coco_rows(found, (42, 7), (3, 90))[0].keys() == {"image_id", "category_id", "bbox", "score"}
    assert len(_read(tmp_path, coco_json(Detections.none(), (), ()), images=(), categories=())) == 0


def test_files_that_bring_names_are_matched_by_them(tmp_path: Path) -> None:
    found = _read(tmp_path, BY_NAME)
    assert (found.image.tolist(), found.classes.tolist(), found.corners.tolist()) == ([0], [0], [[1, 2, 4, 6]])


def _with(**row: Any) -> dict[str, Any]:
    return BY_NAME | {"annotations": [BY_NAME["annotations"][0] | row]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[{", "found.json: not a list of detections in JSON .*is the file whole"),
        ("3", "not a list of detections"),
        ([{"image_id": 1}], "pictures are told by numbers alone, and nothing says which number is which"),
        (_with(image_id=3), "detection 1 is of image_id 3, which is not known here .2 are, 0 to 9.*other pictures"),
        (_with(image_id="0"), "an id is '0', wanted a whole number"),
        (_with(category_id=True), "an id is True"),
        (_with(category_id=1), "detection 1 is of category_id 1"),
        (_with(bbox=[1, 2, 3]), "not a list of detections"),
        (_with(bbox=[1, 2, -3, 4]), r"box 0 is \[1.0, 2.0, -2.0, 6.0\], wanted x1, y1, x2, y2"),
        (_with(bbox=["a", 1, 2, 3]), "could not convert"),
        (_with(score=None), "wanted rows of|scores"),
        (_with(score=float("nan")), "scores of box 0 is no number"),
        (BY_NAME | {"images": [{"id": 0, "file_name": "z.jpg"}]}, "images: 'z.jpg' is none of the 2 here"),
        (BY_NAME | {"categories": [{"id": 0, "name": "cow"}]}, "categories: 'cow' is none of the 2 here"),
        (BY_NAME | {"images": [{"id": 0, "file_name": "x.jpg"}, {"id": 0, "file_name": "y.jpg"}]}, "two have the id 0"),
        ({"images": 3, "categories": [], "annotations": []}, "not a list of detections"),
        ({"images": []}, "no 'annotations'"),
        (BY_NAME | {"annotations": [3]}, "not a list of detections"),
    ],
)
def test_a_file_that_is_no_list_of_detections_is_refused_in_one_line(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as refused:
        _read(tmp_path, content)
    assert "\n" not in str(refused.value)


def test_pictures_of_one_name_are_not_told_apart_by_names(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_text(json.dumps(BY_NAME))
    with pytest.raises(InputError, match=r"two of those here are called 'x.jpg'"):
        read_coco(path, ("a/x.jpg", "b/x.jpg"), CLASSES)


def test_six_spellings_read_to_one(shared: Path) -> None:
    home = shared / "data" / "eval_fixtures" / "padilla_toyexample"
    known = json.loads((home / "gts_coco_format" / "toy_example_coco.JSON").read_text())
    pictures = [one["file_name"] for one in known["images"]]
    sizes = [(one["width"], one["height"]) for one in known["images"]]
    names = (home / "voc.names").read_text().split()
    first = read_texts(home / "dets_classname_abs_xywh", "xywh", pictures, sizes, names)
    assert len(first) == 12
    for folder, spelling, near in (
        ("dets_classid_abs_xywh", "xywh", 0),
        ("dets_classname_abs_xyx2y2", "xyxy", 0),
        ("dets_classid_abs_xyx2y2", "xyxy", 0),
        ("dets_classname_rel_xcycwh", "cxcywh", 0.5),
        ("dets_classid_rel_xcycwh", "cxcywh", 0.5),
    ):
        other = read_texts(home / folder, spelling, pictures, sizes, names)
        assert (other.corners - first.corners).abs().max() <= near, folder
        assert _equal(Detections(other.image, first.corners, other.classes, other.scores), first), folder
    by_json = read_coco(home / "dets_coco_format" / "coco_dets.json", pictures, names)
    assert _equal(by_json, first)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("dog 0.5 1 2 3", r"x.txt:1: 'dog 0.5 1 2 3', wanted class, score and four numbers of a box"),
        ("0.5 1 2 3 4", "wanted class, score"),
        ("dog high 1 2 3 4", "wanted class, score"),
        ("cow 0.5 1 2 3 4", "class 'cow' is none of the 2"),
        ("2 0.5 1 2 3 4", "class '2' is none of the 2"),
        ("-1 0.5 1 2 3 4", "class '-1' is none of the 2"),
        ("dog nan 1 2 3 4", "scores of box 0 is no number"),
        ("dog 0.5 9 9 3 4", "are the boxes spelt xyxy"),
    ],
)
def test_a_line_that_is_no_box_is_refused(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "x.txt").write_text(f"{line}\n")
    with pytest.raises(InputError, match=told):
        read_texts(tmp_path, "xyxy", ["x.jpg", "y.jpg"], [(9, 9)] * 2, CLASSES)


def test_a_class_of_several_words_is_read_and_a_picture_without_a_file_has_no_box(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("tennis racket 0.25 0.5 0.5 1 1\n\n")
    found = read_texts(tmp_path, "cxcywh", ["y.jpg", "x.jpg"], [(9, 9), (10, 20)], ["dog", "tennis racket"])
    assert (found.image.tolist(), found.classes.tolist()) == ([1], [1])
    assert found.corners.tolist() == [[0, 0, 10, 20]]
    assert re.fullmatch(r"\[0\.25\]", str(found.scores.tolist()))
