"""Labels of boxes, of each kind a valid file that tests/faults/test_hostile_boxes.py puts a hostile one in place of."""

import json
from collections.abc import Callable
from pathlib import Path

from fuzz import Reader
from PIL import Image

from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_splits

VOC = """<annotation><folder>JPEGImages</folder><filename>{name}.jpg</filename>
<size><width>24</width><height>16</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>10</xmax><ymax>12</ymax></bndbox></object>
<object><name>dog</name><difficult>1</difficult>
<bndbox><xmin>1.5</xmin><ymin>1</ymin><xmax>24</xmax><ymax>16</ymax></bndbox></object></annotation>
"""
COCO = {
    "images": [{"id": n, "file_name": f"{name}.jpg", "width": 24, "height": 16} for n, name in ((7, "a"), (9, "b"))],
    "categories": [{"id": 1, "name": "cat"}, {"id": 90, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 9.5, 10], "area": 95, "iscrowd": 0},
        {"id": 2, "image_id": 9, "category_id": 90, "bbox": [0, 0, 24, 16], "area": 384, "iscrowd": 1},
    ],
}
YOLO = "0 0.25 0.5 0.3 0.25\n1 0.5 0.5 1 1\n"
TABLE = "path,class,xmin,ymin,xmax,ymax\na.jpg,cat,1,2,10,12\nb.jpg,dog,0,0,24,16\n"


def labels_of_boxes() -> list[Reader]:
    """VOC's XML and lists, COCO's JSON, YOLO's text and its description, a table."""
    return [
        Reader("VOC annotation", _voc(Path("Annotations", "a.xml")), _from(2)),
        Reader("VOC list", _voc(Path("ImageSets", "Main", "train.txt")), _from(3)),
        Reader("COCO annotations", _coco, lambda file: open_splits(DataConfig(source=str(file)))),
        Reader("YOLO labels", _yolo(Path("labels", "train", "a.txt")), _from(3)),
        Reader("YOLO description", _yolo(Path("data.yaml")), lambda file: open_splits(DataConfig(source=str(file)))),
        Reader("table of boxes", _table, lambda file: open_splits(DataConfig(source=str(file)))),
    ]


def _from(levels: int) -> Callable[[Path], object]:
    """All that lies below the folder so many levels above the file."""
    return lambda file: open_splits(DataConfig(source=str(file.parents[levels - 1])))


def _pictures(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        Image.new("RGB", (24, 16), (200, 10, 10)).save(folder / f"{name}.jpg")


def _voc(which: Path) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        _pictures(folder / "JPEGImages")
        for name in ("Annotations", "ImageSets/Main"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("a", "b"):
            (folder / "Annotations" / f"{name}.xml").write_text(VOC.format(name=name))
        (folder / "ImageSets" / "Main" / "train.txt").write_text("a\nb\n")
        return folder / which

    return write


def _coco(folder: Path) -> Path:
    _pictures(folder / "images")
    path = folder / "instances.json"
    path.write_text(json.dumps(COCO))
    return path


def _yolo(which: Path) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        _pictures(folder / "images" / "train")
        (folder / "labels" / "train").mkdir(parents=True, exist_ok=True)
        for name in ("a", "b"):
            (folder / "labels" / "train" / f"{name}.txt").write_text(YOLO)
        (folder / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
        return folder / which

    return write


def _table(folder: Path) -> Path:
    _pictures(folder)
    path = folder / "boxes.csv"
    path.write_text(TABLE)
    return path
