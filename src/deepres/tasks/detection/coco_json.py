"""Detections as COCO's JSON, in and out: a list by ids, or an object that brings its pictures and classes by name."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from pydantic import JsonValue

from deepres.base.errors import InputError
from deepres.base.reading import read_json, reading
from deepres.data.sources.labels import repeated
from deepres.tasks.detection.detections import Detections, checked

_WHAT = "list of detections"
_REMEDY = 'wanted rows of "image_id", "category_id", "bbox" (x, y, width, height in px) and "score"'


def coco_rows(found: Detections, images: Sequence[int], categories: Sequence[int]) -> list[dict[str, JsonValue]]:
    """A row a box: `images[i]` and `categories[c]` are what COCO's files call picture i and class c."""
    sides = found.corners.clone()
    sides[:, 2:] -= sides[:, :2]
    columns = (found.image.tolist(), found.classes.tolist(), sides.tolist(), found.scores.tolist())
    return [
        {"image_id": images[image], "category_id": categories[of_class], "bbox": box, "score": score}
        for image, of_class, box, score in zip(*columns, strict=True)
    ]


def coco_json(found: Detections, images: Sequence[int], categories: Sequence[int]) -> str:
    """The rows as a file holds them, a line each."""
    rows = coco_rows(found, images, categories)
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n" if rows else "[]\n"


def read_coco(
    path: Path,
    pictures: Sequence[str],
    classes: Sequence[str],
    images: Sequence[int] | None = None,
    categories: Sequence[int] | None = None,
) -> Detections:
    """What the file says was found in `pictures` (file names), each called by its place there, as are `classes`.

    A file that brings "images" and "categories" is read by their names, whatever their ids are. A list has ids alone:
    `images` and `categories` say what it calls each picture and class.

    Raises:
        InputError: neither of them, an id or a name that is not known, numbers that are no box, no score.
    """
    given = read_json(path, _WHAT)
    with reading(path, f"a {_WHAT}", _REMEDY):
        rows = given["annotations"] if isinstance(given, dict) else given
        if not isinstance(rows, list):
            raise ValueError(f"{type(rows).__name__} where rows should be")
        if isinstance(given, dict):
            of_image = _by_name(given["images"], "file_name", [_file(name) for name in pictures], f"{path}: images")
            of_class = _by_name(given["categories"], "name", list(classes), f"{path}: categories")
        else:
            of_image, of_class = _by_id(images, f"{path}: pictures"), _by_id(categories, f"{path}: classes")
        for number, row in enumerate(rows):
            for field, known in (("image_id", of_image), ("category_id", of_class)):
                if _id(row[field]) not in known:
                    raise InputError(
                        f"{path}: detection {number + 1} is of {field} {row[field]!r:.40}, which is not known here "
                        f"({len(known)} are, {min(known, default='none')} to {max(known, default='none')}); "
                        "is the file of other pictures, or of other classes?"
                    )
        boxes = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
        columns: dict[str, Any] = {
            "image": np.array([of_image[row["image_id"]] for row in rows], dtype=np.int64),
            "classes": np.array([of_class[row["category_id"]] for row in rows], dtype=np.int64),
            "scores": np.array([row["score"] for row in rows], dtype=np.float64),
            "corners": np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
        }
        return Detections.of(checked(Detections, columns, len(pictures), len(classes)))


def _by_name(entries: Any, field: str, names: list[str], where: str) -> Mapping[int, int]:
    """The ids of a file's own entries -> the places of their names in `names`."""
    places = {name: place for place, name in enumerate(names)}
    if len(places) < len(names):
        raise InputError(
            f"{where}: two of those here are called {repeated(names)!r}, so that names tell them not apart; use ids"
        )
    found: dict[int, int] = {}
    for entry in entries:
        name = _file(str(entry[field])) if field == "file_name" else str(entry[field])
        if _id(entry["id"]) in found:
            raise InputError(f"{where}: two have the id {entry['id']}; wanted one each")
        if name not in places:
            raise InputError(f"{where}: {name!r:.80} is none of the {len(places)} here; is the file of other ones?")
        found[entry["id"]] = places[name]
    return found


def _by_id(ids: Sequence[int] | None, where: str) -> Mapping[int, int]:
    if ids is None:
        raise InputError(
            f"{where} are told by numbers alone, and nothing says which number is which; "
            'wanted a file with "images", "categories" and "annotations"'
        )
    return {number: place for place, number in enumerate(ids)}


def _id(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"an id is {value!r:.40}, wanted a whole number")
    return value


def _file(name: str) -> str:
    return PurePath(name.replace("\\", "/")).name
