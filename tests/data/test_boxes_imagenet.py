"""ImageNet's boxes: Kaggle's tables, and the XML that they were made of."""

from pathlib import Path

import pytest
from boxed_sets import xml_of

from deepres.base.errors import InputError
from deepres.data.images import FileImages
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_splits
from drawn_objects import NAMES, NUMBERS, drawn, imagenet

TABLE = "LOC_train_solution.csv"


def _boxes(root: Path, **said: object) -> dict[str, dict[str, tuple[list[int], list[list[float]]]]]:
    found = open_splits(DataConfig.model_validate({"source": str(root), "targets": "boxes", **said}))
    told = {}
    for split, images in found.splits.items():
        assert isinstance(images, FileImages)
        pairs = zip(images.paths, images.targets, strict=True)
        told[str(split)] = {path.stem: (own.classes.tolist(), own.corners.tolist()) for path, own in pairs}
    return told


@pytest.mark.parametrize("first", [0, 1])
def test_the_tables_say_where_the_objects_are(tmp_path: Path, first: int) -> None:
    root = imagenet(tmp_path, train=2, val=1, side=32, first=first, classes=3)
    if not first:  # a box that begins at the edge says so
        text = (root / TABLE).read_text().replace("n00000001_0,n00000001 ", "n00000001_0,n00000001 0 0 9 9 n00000001 ")
        (root / TABLE).write_text(text)
    found = _boxes(root)
    assert {split: len(of) for split, of in found.items()} == {"train": 6, "val": 3}
    for label in range(3):
        _, corners = drawn(label, 32, 1)
        assert found["train"][f"{NUMBERS[label]}_1"] == ([label], [list(corners)])
        _, corners = drawn(label, 32, 2)
        assert found["val"][f"ILSVRC2012_val_{label + 1:08d}"] == ([label], [list(corners)])


def test_without_being_asked_it_is_a_folder_of_classes_of_the_same_names(tmp_path: Path) -> None:
    root = imagenet(tmp_path, train=2, val=1, side=32, classes=3)
    plain = open_splits(DataConfig(source=str(root)))
    boxed = open_splits(DataConfig(source=str(root), boxes="imagenet"))
    assert plain.classes == boxed.classes == NAMES[:3]
    assert {split: images.paths for split, images in plain.splits.items()} == {
        split: images.paths for split, images in boxed.splits.items()
    }


def test_pictures_without_boxes_and_boxes_without_pictures_are_left_out_and_told(tmp_path: Path) -> None:
    root = imagenet(tmp_path, train=2, val=1, side=32, classes=2)
    lines = (root / TABLE).read_text().splitlines()
    (root / TABLE).write_text("\n".join([*lines[:-1], "n00000001_99,n00000001 1 1 5 5"]))
    found = open_splits(DataConfig(source=str(root), boxes="imagenet"))
    assert len(found.splits["train"]) == 3
    assert f"{TABLE}: 1 row of pictures that are not there, left out" in found.notes
    assert "1 picture that the tables have no box of, left out" in found.notes


def test_a_table_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    root = imagenet(tmp_path, train=2, val=1, side=32, classes=2)
    known = _boxes(root)
    (root / TABLE).write_bytes(b"\xef\xbb\xbf" + (root / TABLE).read_bytes().replace(b"\n", b"\r\n"))
    assert _boxes(root) == known


def test_xml_as_imagenet_has_it_says_the_same(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "of", train=2, val=1, side=32, classes=3)
    told = _boxes(root)
    (root / "Data").mkdir()
    for split in ("train", "val"):
        (root / split).rename(root / "Data" / split)
        for stem, (labels, ((x1, y1, x2, y2),)) in told[split].items():
            inner = stem.partition("_")[0] if split == "train" else ""
            file = root / "Annotations" / split / inner / f"{stem}.xml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(xml_of([(NUMBERS[labels[0]], (x1 + 1, y1 + 1, x2, y2))], (32, 32)))
    assert _boxes(root, boxes="voc") == told
    with pytest.raises(InputError, match=r"labels of two kinds .* say which: data\.boxes=voc or imagenet$"):
        _boxes(root)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("ImageId\n", r"csv:1: 'ImageId'; wanted ImageId,PredictionString, such as n02017213_7894,n02017213 115 49"),
        ("ImageId,PredictionString\na,n1 1 2 3\n", r"csv:2: 'a,n1 1 2 3'; wanted ImageId"),
        ("ImageId,PredictionString\na,\n", r"csv:2: 'a,'; wanted ImageId"),
        ("ImageId,PredictionString\na,n1 1 2 3 x\n", r"csv:2: 'n1 1 2 3 x'; wanted ImageId"),
        ('ImageId,PredictionString\n"a,n1 1 2 3 4\n', r"not a table of boxes \(.*\); wanted ImageId"),
        (
            "ImageId,PredictionString\nn00000001_0,n1 1 2 3 4\nn00000001_0,n1 1 2 3 4\n",
            r"csv:3: n00000001_0 stands twice; keep it once$",
        ),
        ("ImageId,PredictionString\nb,n1 1 2 3 4\n", r"no picture that LOC_train_solution.csv or .* names; give the"),
        (
            "ImageId,PredictionString\nn00000001_0,n00000001 1 1 9 40\n",
            r"csv: n00000001_0, box 1 of 1 \(red disc\): box 1,1,9,40 ends outside of the picture \(32 x 32\)",
        ),
    ],
)
def test_what_says_no_boxes_is_refused(tmp_path: Path, table: str, said: str) -> None:
    root = imagenet(tmp_path, train=1, val=1, side=32, classes=1)
    (root / "LOC_val_solution.csv").unlink()
    (root / TABLE).write_text(table)
    with pytest.raises(InputError, match=said):
        _boxes(root)


def test_a_picture_in_two_places_or_in_both_tables_is_refused(tmp_path: Path) -> None:
    root = imagenet(tmp_path, train=1, val=1, side=32, classes=1)
    text = (root / TABLE).read_text()
    (root / TABLE).write_text(text + (root / "LOC_val_solution.csv").read_text().splitlines()[1] + "\n")
    with pytest.raises(
        InputError, match=r"ILSVRC2012_val_00000001 stands in LOC_train_solution\.csv too; keep it once"
    ):
        _boxes(root)
    (root / TABLE).write_text(text)
    twin = root / "train" / NUMBERS[0] / "ILSVRC2012_val_00000001.JPEG"
    twin.write_bytes((root / "val" / twin.name).read_bytes())
    with pytest.raises(InputError, match=r"'ILSVRC2012_val_00000001' may be train/.* or val/.*; keep one of them"):
        _boxes(root)
