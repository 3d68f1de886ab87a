"""A look at boxes before training."""

import re
from pathlib import Path

import pytest
from boxed_sets import picture, voc, xml_of, yolo

from deepres.base.records import edit, parse
from deepres.data.check import CheckReport, check, table
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source


def report(source: Path, *edits: str) -> CheckReport:
    whole = DataConfig(source=str(source), val_fraction=0, test_fraction=0)
    return check(open_source(edit(whole, list(edits))))


def test_boxes_are_counted_by_class_and_size_and_what_is_odd_is_counted(tmp_path: Path) -> None:
    root = voc(tmp_path)
    picture(root / "JPEGImages" / "e.png", (200, 150))
    odd = [("dog", (1, 1, 40, 40)), ("dog", (1, 1, 40, 40)), ("owl", (5, 5, 5, 9)), ("car", (1, 1, 201, 150))]
    (root / "Annotations" / "e.xml").write_text(xml_of(odd, (200, 150), more="<difficult>1</difficult>"))
    found = report(root)
    assert parse(CheckReport, found.to_json(), "report") == found
    assert found.boxes is not None
    (one,) = found.boxes
    assert (one.objects, one.ignored, one.per_class) == (8, 3, (4, 4, 0))
    assert (one.small, one.medium, one.large) == (4, 3, 1)  # 100, 100, 442, 24 px²; 2 x 1,600, 2,790; 30,000
    assert (one.without_objects, one.no_labels, one.left_out, one.clipped, one.duplicates) == (1, 0, 1, 1, 1)
    assert (one.side, one.most, one.middle) == ((2.0, 26.0, 200.0), 3, 2.0)
    told = table(found)
    assert "3 classes, 5 images, 8 boxes" in told
    assert (
        "empty           1 image without objects: 0 of them without a file of labels, 1 whose labels name none" in told
    )
    assert "bad             1 box without area, left out" in told
    assert "outside         1 box clipped, by 1 px at most" in told
    assert "twice           1 box of the class and place of another" in told
    assert re.search(r"owl +0  \n", told)  # and no bar
    assert "--balance" not in told


def test_missing_files_of_labels_are_counted_apart_from_empty_ones(tmp_path: Path) -> None:
    root = yolo(tmp_path)
    (root / "labels" / "b.txt").unlink()
    told = table(report(root))
    assert (
        "empty           2 images without objects: 1 of them without a file of labels, 1 whose labels name none" in told
    )
    assert "data.unlabelled=stop refuses them" in told


def test_broken_files_and_pictures_in_two_splits_are_found(tmp_path: Path) -> None:
    voc(tmp_path, pictures="train", labels="train")
    voc(tmp_path, pictures="test", labels="test")
    whole = (tmp_path / "train" / "b.png").read_bytes()
    (tmp_path / "train" / "b.png").write_bytes(whole[: len(whole) // 2])
    found = report(tmp_path)
    assert [Path(each.path).name for each in found.broken] == ["b.png"]
    assert found.num_leaks == 3


def test_classes_and_targets_of_other_forms_are_looked_at_as_before(class_folders: pytest.FixtureRequest) -> None:
    found = report(class_folders("pets", {"cat": 4, "dog": 4}, (20, 20)))  # type: ignore[operator]
    assert found.boxes is None
    assert "boxes" not in table(found)
