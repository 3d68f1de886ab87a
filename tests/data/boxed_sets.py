"""One set of pictures with boxes, written as VOC, COCO, YOLO and a table: what the tests of their readers share."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (64, 48)
NAMES = ("car", "dog")
SET: Mapping[str, Sequence[tuple[str, tuple[int, int, int, int]]]] = {
    "a.png": [("car", (0, 0, 10, 10)), ("dog", (54, 38, 64, 48))],
    "b.png": [("dog", (3, 5, 20, 31))],
    "c.png": [],
    "d.png": [("car", (1, 2, 63, 47)), ("car", (8, 8, 10, 20))],
}
"""Half-open corners."""


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(sum(path.name.encode())).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def xml_of(objects: Sequence[tuple[str, Sequence[float]]], size: tuple[int, int] | None = SIZE, more: str = "") -> str:
    told = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    each = "".join(
        f"<object><name>{name}</name>{more}<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>"
        for name, (x1, y1, x2, y2) in objects
    )
    return f"<annotation><filename>x</filename>{told}{each}</annotation>"


def voc(root: Path, first: int = 1, pictures: str = "JPEGImages", labels: str = "Annotations") -> Path:
    for name, objects in SET.items():
        picture(root / pictures / name)
        written = [(label, (x1 + first, y1 + first, x2, y2)) for label, (x1, y1, x2, y2) in objects]
        file = root / labels / f"{Path(name).stem}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(xml_of(written))
    return root


def coco_facts() -> dict[str, list[dict[str, object]]]:
    """Ids with gaps: images 10, 20, …, categories 3 and 90."""
    images, annotations = [], []
    for number, (name, objects) in enumerate(SET.items(), 1):
        images.append({"id": 10 * number, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
        for label, (x1, y1, x2, y2) in objects:
            annotations.append(
                {
                    "id": 100 + len(annotations),
                    "image_id": 10 * number,
                    "category_id": {"car": 3, "dog": 90}[label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 90, "name": "dog"}, {"id": 3, "name": "car"}]
    return {"images": images, "annotations": annotations, "categories": categories}  # type: ignore[dict-item]


def coco(root: Path) -> Path:
    for name in SET:
        picture(root / "images" / name)
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "instances.json").write_text(json.dumps(coco_facts()))
    return root


def yolo(root: Path) -> Path:
    width, height = SIZE
    (root / "labels").mkdir(parents=True)
    for name, objects in SET.items():
        picture(root / "images" / name)
        lines = [
            f"{NAMES.index(label)} {(x1 + x2) / 2 / width:.9f} {(y1 + y2) / 2 / height:.9f} "
            f"{(x2 - x1) / width:.9f} {(y2 - y1) / height:.9f}"
            for label, (x1, y1, x2, y2) in objects
        ]
        (root / "labels" / f"{Path(name).stem}.txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text("names: [car, dog]\n")
    return root


def table(root: Path, first: int = 1) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with (root / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"])
        for name, objects in SET.items():
            picture(root / "images" / name)
            for label, (x1, y1, x2, y2) in objects:
                writer.writerow([name, *SIZE, label, x1 + first, y1 + first, x2, y2])
            if not objects:
                writer.writerow([name, *SIZE, "", "", "", "", ""])
    return root


KINDS = {"voc": voc, "coco": coco, "yolo": yolo, "csv": table}
