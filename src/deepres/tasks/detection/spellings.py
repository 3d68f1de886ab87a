"""Detections as text, a file a picture, a line a box, in the spellings of review_object_detection_metrics and YOLO."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from deepres.base.errors import InputError
from deepres.base.files import read_text
from deepres.base.reading import require_small
from deepres.tasks.detection.detections import Detections, checked

Spelling = Literal["xywh", "xyxy", "cxcywh"]
"""Corner and sides in px, both corners in px, centre and sides as shares of the picture."""

_WANTED = "class, score and four numbers of a box"


def read_texts(
    folder: Path, spelling: Spelling, pictures: Sequence[str], sizes: Sequence[tuple[int, int]], classes: Sequence[str]
) -> Detections:
    """`class score a b c d` in `NAME.txt` for picture NAME; a class is a name, or a number from 0 where no name is.

    `sizes` are width and height of each picture, in px. A picture without a file has no detections.

    Raises:
        InputError: a line that is no box, a class that is not known; both are named.
    """
    rows: list[tuple[int, int, float, list[float]]] = []
    for place, (name, size) in enumerate(zip(pictures, sizes, strict=True)):
        path = folder / f"{Path(name).stem}.txt"
        if not path.is_file():
            continue
        require_small(path, "list of detections")
        for number, line in enumerate(read_text(path, "list of detections").splitlines(), start=1):
            if line.strip():
                of_class, score, box = _row(line, f"{path}:{number}", classes)
                rows.append((place, of_class, score, _corners(box, spelling, size)))
    columns = {
        "image": np.array([row[0] for row in rows], dtype=np.int64),
        "classes": np.array([row[1] for row in rows], dtype=np.int64),
        "scores": np.array([row[2] for row in rows], dtype=np.float64),
        "corners": np.array([row[3] for row in rows], dtype=np.float64).reshape(-1, 4),
    }
    try:
        return Detections.of(checked(Detections, columns, len(pictures), len(classes)))
    except ValueError as cause:
        raise InputError(f"{folder}: {cause}; are the boxes spelt {spelling}?") from cause


def _row(line: str, where: str, classes: Sequence[str]) -> tuple[int, float, list[float]]:
    words = line.split()
    try:
        score, *box = map(float, words[-5:])
        name = " ".join(words[:-5])
        if len(box) != 4 or not name:
            raise ValueError
    except ValueError as cause:
        raise InputError(f"{where}: {line.strip()!r:.80}, wanted {_WANTED}") from cause
    if name in classes:
        return list(classes).index(name), score, box
    if not (name.isascii() and name.isdigit() and int(name) < len(classes)):
        raise InputError(f"{where}: class {name!r:.40} is none of the {len(classes)} ({', '.join(classes[:3])}, …)")
    return int(name), score, box


def _corners(box: list[float], spelling: Spelling, size: tuple[int, int]) -> list[float]:
    a, b, c, d = box
    if spelling == "xyxy":
        return box
    if spelling == "xywh":
        return [a, b, a + c, b + d]
    width, height = size
    return [(a - c / 2) * width, (b - d / 2) * height, (a + c / 2) * width, (b + d / 2) * height]
