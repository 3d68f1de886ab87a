"""Readers of what detectors answer, a valid file for each: part of `fuzz.readers()`."""

import json
from pathlib import Path

from fuzz import Reader

from deepres.tasks.detection.coco_json import read_coco
from deepres.tasks.detection.spellings import read_texts

_CLASSES = ("dog", "cat")
_ROWS = [
    {"image_id": 7, "category_id": 1, "bbox": [1.5, 2, 30, 40.25], "score": 0.9},
    {"image_id": 9, "category_id": 90, "bbox": [0, 0, 10, 10], "score": 0.05},
]


def readers_of_answers() -> list[Reader]:
    """COCO's JSON by ids and by names; text, a file a picture."""
    return [
        Reader(
            "detections by ids", _by_ids, lambda file: read_coco(file, ("x.jpg", "y.jpg"), _CLASSES, (7, 9), (1, 90))
        ),
        Reader("detections by names", _by_names, lambda file: read_coco(file, ("x.jpg", "y.jpg"), _CLASSES)),
        Reader(
            "detections as text",
            _texts,
            lambda file: read_texts(file.parent, "xyxy", ("x.jpg", "y.jpg"), [(90, 90)] * 2, _CLASSES),
        ),
    ]


def _by_ids(folder: Path) -> Path:
    path = folder / "found.json"
    path.write_text(json.dumps(_ROWS))
    return path


def _by_names(folder: Path) -> Path:
    path = folder / "found.json"
    pictures = [{"id": 7, "file_name": "x.jpg"}, {"id": 9, "file_name": "y.jpg"}]
    classes = [{"id": 1, "name": "dog"}, {"id": 90, "name": "cat"}]
    path.write_text(json.dumps({"images": pictures, "categories": classes, "annotations": _ROWS}))
    return path


def _texts(folder: Path) -> Path:
    path = folder / "x.txt"
    path.write_text("dog 0.9 1 2 30 40\ncat 0.25 0.5 0.5 7 8\n")
    return path
