"""Readers of labels of boxes, a valid file for each: part of `fuzz.readers()`."""

import json
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from fuzz import Reader
from PIL import Image

from deepres.data.boxes import Boxes
from deepres.data.run_lengths import of_bitmap
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_splits

_XML = (
    '<?xml version="1.0"?>\n<annotation>\n<filename>a.png</filename>\n'
    "<size><width>40</width><height>30</height><depth>3</depth></size>\n"
    "<object><name>dog</name><difficult>0</difficult>"
    "<bndbox><xmin>3</xmin><ymin>4.5</ymin><xmax>20</xmax><ymax>28</ymax></bndbox></object>\n"
    "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object>\n"
    "</annotation>\n"
)
_COCO = {
    "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 30}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [2, 3.5, 18, 20], "area": 300.5, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 90, "bbox": [0, 0, 40, 30], "iscrowd": 1},
    ],
    "categories": [{"id": 3, "name": "dog"}, {"id": 90, "name": "cat"}],
}
_ROWS = "filename,width,height,class,xmin,ymin,xmax,ymax,split\na.png,40,30,dog,3,4.5,20,28,train\n"
_MASKED = 'filename,class,x1,y1,x2,y2,segmentation\na.png,dog,2,3.5,20,23,"[[2, 3.5, 20, 3.5, 11, 23]]"\n'
_YAML = "path: .\ntrain: images\nnc: 2\nnames:\n  0: dog\n  1: cat\n"


def readers_of_boxes() -> list[Reader]:
    """VOC's XML and lists, COCO's JSON, YOLO's text files, lists and descriptions, tables."""
    return [
        Reader("boxes (VOC)", _placed("a.xml", _XML), _opened("voc")),
        Reader("boxes (VOC, lists)", _listed, lambda file: _opened("voc")(file.parents[1])),
        Reader("boxes (VOC, WordNet's numbers)", _numbered, lambda file: _opened("voc")(file)),
        Reader("boxes (ImageNet)", _kaggle, lambda file: _opened("imagenet")(file)),
        Reader("boxes (COCO)", _placed("set.json", json.dumps(_COCO)), _opened("coco")),
        Reader("boxes (a folder of COCO)", _placed("set.json", json.dumps(_COCO)), _opened("auto")),
        Reader("masks (COCO)", _placed("set.json", json.dumps(_outlined())), _opened("coco")),
        Reader("masks (YOLO)", _outlined_yolo, lambda file: _opened("yolo")(file.parent)),
        Reader("masks (VOC)", _numbers, lambda file: _opened("voc")(file.parent)),
        Reader("boxes (YOLO)", _yolo("labels/a.txt"), lambda file: _opened("yolo")(file.parent)),
        Reader("boxes (YOLO, data.yaml)", _yolo("data.yaml"), _opened("auto")),
        Reader("boxes (YOLO, lists)", _yolo("list.txt"), _opened("auto")),
        Reader("boxes (table)", _placed("boxes.csv", _ROWS), lambda file: _parts(file, "auto")),
        Reader("masks (table)", _placed("boxes.csv", _MASKED), lambda file: _parts(file, "auto")),
        Reader("boxes (an archive)", _archived, lambda file: _parts(file, "auto")),
        Reader("boxes (a folder of tables)", _placed("boxes.csv", _ROWS), _opened("csv")),
    ]


def _outlined() -> dict[str, list[dict[str, object]]]:
    """Of one object polygons, of the other run lengths."""
    parts = [[2.0, 3.5, 20, 3.5, 11, 23], [4, 4, 8, 4, 8, 9, 4, 9]]
    runs = of_bitmap(np.eye(30, 40) > 0).facts()
    facts = json.loads(json.dumps(_COCO))
    for row, drawn in zip(facts["annotations"], (parts, runs), strict=True):
        row["segmentation"] = drawn
    return facts  # type: ignore[no-any-return]


def _outlined_yolo(folder: Path) -> Path:
    file = _yolo("labels/a.txt")(folder)
    file.write_text("0 0.1 0.2 0.5 0.2 0.4 0.75\n1 0 0 1 0 1 1 0 1\n")
    return file


def _numbers(folder: Path) -> Path:
    """The pictures of numbers of two objects."""
    for name in ("Annotations", "JPEGImages", "SegmentationObject"):
        (folder / name).mkdir()
    (folder / "Annotations" / "a.xml").write_text(_XML)
    Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / "a.png")
    values = np.zeros((30, 40), np.uint8)
    values[5:20, 4:19], values[25:, 30:], values[0] = 1, 2, 255
    Image.fromarray(values).save(folder / "SegmentationObject" / "a.png")
    return folder / "SegmentationObject" / "a.png"


def _archived(folder: Path) -> Path:
    with ZipFile(folder / "set.zip", "w") as archive:
        archive.writestr("a.xml", _XML)
        picture = folder / "a.png"
        Image.new("RGB", (40, 30)).save(picture)
        archive.write(picture, "a.png")
        picture.unlink()
    return folder / "set.zip"


def _opened(kind: str) -> Callable[[Path], object]:
    """Its folder as a source of that kind of boxes."""
    return lambda file: _parts(file.parent, kind)


def _parts(source: Path, kind: str) -> list[Boxes]:
    found = open_splits(DataConfig.model_validate({"source": str(source), "boxes": kind}))
    return [boxes for images in found.splits.values() for boxes in images.targets]  # type: ignore[attr-defined]


def _placed(name: str, text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        Image.new("RGB", (40, 30)).save(folder / "a.png")
        (folder / name).write_text(text)
        return folder / name

    return write


def _listed(folder: Path) -> Path:
    for place in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / place).mkdir(parents=True)
    for stem in ("a", "b c"):
        Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / f"{stem}.png")
        (folder / "Annotations" / f"{stem}.xml").write_text(_XML)
    file = folder / "ImageSets" / "Main" / "train.txt"
    file.write_text("a  1\nb c\n")
    return file


def _kaggle(folder: Path) -> Path:
    for stem in ("a", "b"):
        Image.new("RGB", (40, 30)).save(folder / f"{stem}.png")
    file = folder / "LOC_val_solution.csv"
    file.write_text("ImageId,PredictionString\na,n02084071 3 4.5 20 28 n02121808 1 1 40 30 \nb,n02121808 2 2 9 9\n")
    return file


def _numbered(folder: Path) -> Path:
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    (folder / "a.xml").write_text(_XML.replace("dog", "n02084071").replace("cat", "n02121808"))
    (folder / "map_det.txt").write_text("n02084071 1 dog\nn02121808 2 domestic cat\n")
    return folder / "map_det.txt"


def _yolo(damaged: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        for place in ("images", "labels"):
            (folder / place).mkdir()
        Image.new("RGB", (40, 30)).save(folder / "images" / "a.png")
        (folder / "labels" / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n1 .2 .3 .1 .125\n")
        (folder / "data.yaml").write_text(_YAML.replace("images", "list.txt") if damaged == "list.txt" else _YAML)
        (folder / "list.txt").write_text("images/a.png\n")
        return folder / damaged

    return write
