"""Boxes written as others read them: COCO's JSON, VOC's XML, YOLO's text files; the readers in sources/ read them back.

| kind | files                                                                                                     |
| ---- | --------------------------------------------------------------------------------------------------------- |
| coco | instances.json (images, annotations with score, categories), results.json (the list that pycocotools loads) |
| voc  | sub/a.xml for sub/a.jpg: pixels from 1, edges inside, so xmin = x1 + 1; fractions are kept; <score>          |
| yolo | labels/sub/a.txt, data.yaml; scores/sub/a.txt, a line a box                                               |

Boxes of the upright picture, as it is shown. Masks are written by coco alone, as run lengths (`segmentation`).
"""

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args
from xml.etree import ElementTree

from deepres.base.errors import InputError
from deepres.base.files import folder_atomic
from deepres.base.wording import is_text, quoted
from deepres.data.boxes import Boxes

BoxFormat = Literal["coco", "voc", "yolo"]
FORMATS: tuple[BoxFormat, ...] = get_args(BoxFormat)

_FORMS = {"coco": "JSON", "voc": "XML"}
_IN_XML = re.compile("[^\x00-\x1f\ufffe\uffff]+")
_DIGITS = 6  # digits behind the point: of px, and of a share of 2,000 px


@dataclass(frozen=True, eq=False)
class PictureBoxes:
    """The boxes of a picture: its `name` below the folder of all, with "/" between, and its `size` (W, H)."""

    name: str
    size: tuple[int, int]
    boxes: Boxes
    scores: tuple[float, ...] | None = None
    id: int | None = None  # what COCO calls it; None: its place, from 1


def write_boxes(
    out: Path,
    kind: BoxFormat,
    pictures: Sequence[PictureBoxes],
    classes: Sequence[str],
    class_ids: Sequence[int] = (),
) -> None:
    """Write the new folder `out`, whole or not at all; `class_ids` are what COCO calls classes (none: 1, 2, …).

    Raises:
        InputError: `out` exists; two pictures would have one file; a place that cannot be written.
    """
    if os.path.lexists(out):
        raise InputError(f"{out}: exists already; choose another place, or remove it first")
    require_writable(kind, [picture.name for picture in pictures], classes)
    with folder_atomic(out) as folder:
        files = _FILES[kind](pictures, classes, class_ids)
        for name, content in files.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content, encoding="utf-8")


def require_writable(kind: BoxFormat, names: Sequence[str], classes: Sequence[str]) -> None:
    """Refuse names of pictures and classes that the files cannot hold, or that lead out of their folder.

    Raises:
        InputError: one does, is no UTF-8, or in XML has letters that XML has not; two pictures would have one file.
    """
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or not PurePosixPath(name).name:
            raise InputError(f"{name!r}: wanted the name of a picture below a folder, such as sub/a.jpg")
    for name in () if kind == "yolo" else (*names, *classes):
        if not is_text(name) or (kind == "voc" and not _IN_XML.fullmatch(name)):
            raise InputError(f"{quoted(name)}: a name that {_FORMS[kind]} cannot hold; rename it, or write yolo")
    if kind != "coco":
        _require_apart(names, ".xml" if kind == "voc" else ".txt")
    elif len(set(names)) < len(names):
        raise InputError(f"{Counter(names).most_common(1)[0][0]}: stands twice; give it once")


def coco_results(pictures: Sequence[PictureBoxes], class_ids: Sequence[int]) -> list[dict[str, object]]:
    """The list of answers that COCO's own tools load: image_id, category_id, bbox, score, segmentation where drawn."""
    return [
        {"image_id": number, "category_id": class_ids[label], "bbox": box, "score": score, **drawn}
        for number, picture in zip(_ids(pictures), pictures, strict=True)
        for (label, box, score), drawn in zip(_rows(picture), _segmentations(picture), strict=True)
    ]


def _segmentations(picture: PictureBoxes) -> list[dict[str, object]]:
    """The run lengths of each mask, upright; nothing of boxes alone."""
    masks, (width, height) = picture.boxes.masks, picture.size
    if masks is None:
        return [{} for _ in range(len(picture.boxes))]
    return [{"segmentation": masks.runs(row, (height, width)).facts()} for row in range(len(masks))]


def _coco(pictures: Sequence[PictureBoxes], classes: Sequence[str], class_ids: Sequence[int]) -> dict[str, str]:
    class_ids = class_ids or range(1, len(classes) + 1)
    numbers = _ids(pictures)
    results = coco_results(pictures, class_ids)
    areas = [area for picture in pictures for area in picture.boxes.areas.tolist()]
    ignored = [int(one) for picture in pictures for one in picture.boxes.ignored.tolist()]
    told = zip(results, areas, ignored, strict=True)
    facts = {
        "images": [
            {"id": number, "file_name": picture.name, "width": picture.size[0], "height": picture.size[1]}
            for number, picture in zip(numbers, pictures, strict=True)
        ],
        "annotations": [
            {"id": place, **row, "area": round(area, _DIGITS), "iscrowd": crowd}
            for place, (row, area, crowd) in enumerate(told, 1)
        ],
        "categories": [{"id": number, "name": name} for number, name in zip(class_ids, classes, strict=True)],
    }
    if any(picture.scores is None for picture in pictures):
        for row in facts["annotations"]:
            del row["score"]
        return {"instances.json": _json(facts)}
    return {"instances.json": _json(facts), "results.json": _json(results)}


def _voc(pictures: Sequence[PictureBoxes], classes: Sequence[str], _: Sequence[int]) -> dict[str, str]:
    files = {}
    for picture in pictures:
        tree = ElementTree.Element("annotation")
        _element(tree, "filename", PurePosixPath(picture.name).name)
        size = ElementTree.SubElement(tree, "size")
        for side, value in zip(("width", "height", "depth"), (*picture.size, 3), strict=True):
            _element(size, side, str(value))
        for row, label in enumerate(picture.boxes.classes.tolist()):
            one = ElementTree.SubElement(tree, "object")
            _element(one, "name", classes[label])
            _element(one, "difficult", str(int(picture.boxes.ignored[row])))
            box = ElementTree.SubElement(one, "bndbox")
            x1, y1, x2, y2 = picture.boxes.corners[row].double().tolist()
            for side, value in zip(("xmin", "ymin", "xmax", "ymax"), (x1 + 1, y1 + 1, x2, y2), strict=True):
                _element(box, side, _number(value))
            if picture.scores is not None:
                _element(one, "score", _number(picture.scores[row]))
        ElementTree.indent(tree, "\t")
        files[f"{PurePosixPath(picture.name).with_suffix('')}.xml"] = (
            ElementTree.tostring(tree, encoding="unicode") + "\n"
        )
    return files


def _yolo(pictures: Sequence[PictureBoxes], classes: Sequence[str], _: Sequence[int]) -> dict[str, str]:
    named = "".join(f"  {number}: {json.dumps(name, ensure_ascii=False)}\n" for number, name in enumerate(classes))
    files = {"data.yaml": f"names:\n{named}"}
    for picture in pictures:
        stem = PurePosixPath(picture.name).with_suffix("")
        width, height = picture.size
        lines = [
            f"{label} {(x + w / 2) / width:.9f} {(y + h / 2) / height:.9f} {w / width:.9f} {h / height:.9f}\n"
            for label, (x, y, w, h), _ in _rows(picture)
        ]
        files[f"labels/{stem}.txt"] = "".join(lines)
        if picture.scores is not None:
            files[f"scores/{stem}.txt"] = "".join(f"{_number(score)}\n" for score in picture.scores)
    return files


_FILES = {"coco": _coco, "voc": _voc, "yolo": _yolo}


def _ids(pictures: Sequence[PictureBoxes]) -> list[int]:
    return [place if picture.id is None else picture.id for place, picture in enumerate(pictures, 1)]


def _rows(picture: PictureBoxes) -> list[tuple[int, list[float], float]]:
    """Class, [x, y, width, height] in px, score of each box."""
    scores = picture.scores if picture.scores is not None else (1.0,) * len(picture.boxes)
    return [
        (label, [round(value, _DIGITS) for value in (x1, y1, x2 - x1, y2 - y1)], score)
        for label, (x1, y1, x2, y2), score in zip(
            picture.boxes.classes.tolist(), picture.boxes.corners.double().tolist(), scores, strict=True
        )
    ]


def _element(above: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(above, name).text = text


def _number(value: float) -> str:
    return f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".")


def _json(facts: object) -> str:
    return json.dumps(facts, ensure_ascii=False) + "\n"


def _require_apart(names: Sequence[str], suffix: str) -> None:
    """Refuse pictures that differ in their suffix only: their labels would have one name."""
    first: dict[str, str] = {}
    for name in names:
        stem = str(PurePosixPath(name).with_suffix("")).casefold()
        other = first.setdefault(stem, name)
        if other is not name:
            raise InputError(
                f"{other} and {name}: both would have {PurePosixPath(name).stem}{suffix}; rename one, or write coco"
            )


def relative_names(paths: Sequence[Path]) -> list[str]:
    """The names of pictures below the folder that holds them all, with "/" between."""
    every = [os.path.abspath(path) for path in paths]  # noqa: PTH100
    if not every:
        return []
    top = os.path.commonpath([os.path.dirname(path) for path in every])  # noqa: PTH120
    return [os.path.relpath(path, top).replace(os.sep, "/") for path in every]
