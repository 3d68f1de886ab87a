"""ImageNet's boxes as Kaggle writes them: ROOT/LOC_train_solution.csv and LOC_val_solution.csv beside the pictures.

`ImageId,PredictionString`, a picture a row: `n02017213_7894,n02017213 115 49 448 294`, the number of a class in WordNet
and (xmin, ymin, xmax, ymax) again for each box. They are the numbers of VOC's XML, edges inside and pixels from 1
unless a box begins at 0 (boxes_voc.py). A picture lies anywhere below ROOT under its name; which table it stands in is
its split. Pictures that no table names have no boxes and are left out, as are rows of pictures that are not there: of
ImageNet's 1,281,167 training pictures fewer than half have boxes, and few people keep all of them. Names of classes as
of ImageNet's folders (folders.py).
"""

import csv
import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from deepres.base.errors import InputError
from deepres.base.files import read_text
from deepres.base.wording import counted
from deepres.data.sources.box_labels import Labelled, Labels, Object, coordinate_in
from deepres.data.sources.boxes_voc import corners_from, first_pixel, no_area_from
from deepres.data.sources.config import DataConfig
from deepres.data.sources.folders import titles
from deepres.data.sources.labels import in_order
from deepres.data.sources.scan import Scan
from deepres.data.sources.splits import Split

TABLES: dict[Split, str] = {"train": "LOC_train_solution.csv", "val": "LOC_val_solution.csv"}
_HEADER = ["ImageId", "PredictionString"]
_WANTED = "wanted ImageId,PredictionString, such as n02017213_7894,n02017213 115 49 448 294"


def read_imagenet(root: Path, scan: Scan, config: DataConfig) -> Labels:
    """What the tables in `root` say of the pictures below it.

    Raises:
        InputError: a row that says no boxes, a picture twice in the tables or below the folder, none of their pictures.
    """
    pictures = _by_name(scan)
    found: dict[Split, list[Labelled]] = {}
    notes = list(scan.notes)
    listed: dict[str, Path] = {}
    for split, name in TABLES.items():
        if not (root / name).is_file():
            continue
        items: list[Labelled] = []
        absent = 0
        for line, stem, objects in _rows(root / name):
            if (other := listed.get(stem)) is not None:
                where = "twice" if other == root / name else f"in {other.name} too"
                raise InputError(f"{root / name}:{line}: {stem} stands {where}; keep it once")
            listed[stem] = root / name
            if (picture := _of(pictures, stem, root)) is None:
                absent += 1
            else:
                items.append(Labelled(picture, root / name, objects, count=len(objects)))
        if absent:
            notes.append(f"{name}: {counted(absent, 'row')} of pictures that are not there, left out")
        if items:
            found[split] = items
    if not found:
        raise InputError(f"{root}: no picture that {' or '.join(TABLES.values())} names; give the folder that has both")
    left = len(scan.pictures) - sum(map(len, found.values()))
    if left:
        notes.append(f"{counted(left, 'picture')} that the tables have no box of, left out")
    classes = _named(root, found)
    first, told = first_pixel(found, config)
    return Labels(found, classes, corners_from(first), no_area_from(first), _called, [*notes, told])


def _named(root: Path, found: dict[Split, list[Labelled]]) -> tuple[str, ...]:
    """The classes in the order of their numbers; objects get their names."""
    every = [one for items in found.values() for one in items]
    numbers = in_order({each.name for one in every for each in one.objects})
    named = titles(root, numbers)
    names = dict(zip(numbers, named, strict=True))
    for one in every:
        one.objects[:] = [each._replace(name=names[each.name]) for each in one.objects]
    return named


def _by_name(scan: Scan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in scan.pictures:
        found.setdefault(PurePosixPath(path).stem, []).append(path)
    return found


def _of(pictures: dict[str, list[str]], stem: str, root: Path) -> Path | None:
    paths = pictures.get(stem, [])
    if len(paths) > 1:
        raise InputError(f"{root}: '{stem}' may be {' or '.join(paths[:2])}; keep one of them")
    return root / paths[0] if paths else None


def _rows(path: Path) -> Iterator[tuple[int, str, list[Object]]]:
    """Line, name of the picture, and its boxes."""
    rows = csv.reader(read_text(path, "table of boxes").splitlines(), strict=True)
    try:
        for line, row in enumerate(rows, 1):
            if line == 1:
                if [cell.strip() for cell in row] != _HEADER:
                    raise InputError(f"{path}:1: {','.join(row)[:80]!r}; {_WANTED}")
            elif row:
                yield line, row[0].strip(), _objects(path, line, row)
    except csv.Error as cause:
        raise InputError(f"{path}: not a table of boxes ({cause}); {_WANTED}") from cause


def _objects(path: Path, line: int, row: list[str]) -> list[Object]:
    words = row[1].split() if len(row) == 2 else []
    if not words or len(words) % 5 or not row[0].strip():
        raise InputError(f"{path}:{line}: {','.join(row)[:80]!r}; {_WANTED}")
    found = []
    for place in range(0, len(words), 5):
        x1, y1, x2, y2 = (coordinate_in(word) for word in words[place + 1 : place + 5])
        if any(map(math.isnan, (x1, y1, x2, y2))):
            raise InputError(f"{path}:{line}: {' '.join(words[place : place + 5])[:80]!r}; {_WANTED}")
        found.append(Object(place // 5 + 1, words[place], (x1, y1, x2, y2)))
    return found


def _called(picture: Labelled, found: Object) -> str:
    return f"{picture.labels.name}: {picture.picture.stem}, box {found.number} of {picture.count} ({found.name})"
