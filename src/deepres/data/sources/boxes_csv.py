"""A table of a row a box: `filename,width,height,class,xmin,ymin,xmax,ymax`, as it is made of VOC's XML.

Columns called xmin … ymax are as in VOC (boxes_voc.py: edges inside, pixels from 1 unless a box begins at 0); x1 … y2
are half open, in px from 0. `width` and `height` of the picture, `split`, `difficult` (ignored), `area` and `image_id`
may be there, `label_index` for the order of classes, and `category_id`, what COCO calls them; `segmentation`, the mask
of an object in COCO's JSON. A row without class and corners is a picture without objects. Several files of which each
is called by a split (`train_labels.csv`, `test_labels.csv`) are its splits. `write_boxes` writes all that is known.
"""

import csv
import io
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepres.base.errors import InputError
from deepres.base.files import open_regular, write_atomic
from deepres.base.wording import some
from deepres.data.boxes import BoxTargets
from deepres.data.images import Images
from deepres.data.sources.box_labels import Labelled, Labels, Object, coordinate_in
from deepres.data.sources.boxes_voc import corners_from, first_pixel, no_area_from
from deepres.data.sources.columns import INDEX, is_header, plain, split_among
from deepres.data.sources.config import DataConfig
from deepres.data.sources.kept_columns import KeptBoxes
from deepres.data.sources.labels import in_order
from deepres.data.sources.mask_labels import cells_of, drawn_cell
from deepres.data.sources.places import files_of
from deepres.data.sources.read_targets import ordered
from deepres.data.sources.rows import BLANKS, Cells, read_rows
from deepres.data.sources.split_names import others_beside, split_named, split_of_cell, split_within
from deepres.data.sources.splits import SPLITS, Split

_VOC, _OPEN = ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2")
_MASK = "segmentation"
_KNOWN: dict[str, tuple[str, ...]] = {
    "path": ("filename", "path", "filepath", "file", "image", "imagename", "imagepath", "img", "imageid", "name"),
    "class": ("class", "label", "classname", "category", "name", "object", "labelname"),
    "width": ("width", "imagewidth", "imgwidth"),
    "height": ("height", "imageheight", "imgheight"),
    "split": ("split", "set", "subset", "partition"),
    "ignored": ("difficult", "ignored", "iscrowd"),
    "area": ("area",),
    "id": ("imageid", "id"),
    "index": ("labelindex",),
    "number": ("categoryid",),
    "mask": (_MASK,),
}
_COLUMNS = ("path", "width", "height", "image_id", "class", *_OPEN, "ignored", "area", "split")
_NUMBER = "category_id"  # of a class, as COCO calls it


def is_box_table(path: Path) -> bool:
    """Whether the first line of a table names the four corners of boxes, a file and a class."""
    try:
        with open_regular(path) as file:
            start = file.read(2**14)
    except OSError:
        return False
    lines = start.replace(b"\0", b"").decode("latin-1").splitlines()  # names of columns are ASCII in any encoding
    first = next((line for line in lines if line.strip() and not line.startswith("sep=")), "")
    return _columns(re.split(r"[,;\t|]", first.lstrip("\u00ef\u00bb\u00bf\u00fe\u00ff#"))) is not None


def read_csv(files: Sequence[Path], config: DataConfig) -> Labels:
    """What these tables say: one, with a column of splits or without, or several of which each is a split.

    Raises:
        InputError: a cell that is no number, a missing file, a picture of two sizes or in two splits.
    """
    labels: dict[Split, dict[Path, Labelled]] = {}
    notes: list[str] = []
    tables: dict[Path, _Table] = {}
    voc = None
    for path in files:
        own = _split_of(path) if len(files) > 1 else None
        table = tables[path] = _Table(path, own)
        if voc not in (None, table.voc):
            raise InputError(f"{path}: corners are called otherwise than in {files[0].name}; write them alike")
        voc = table.voc
        notes += table.notes
        for split, pictures in table.pictures.items():
            both = labels.setdefault(split, {}).keys() & pictures.keys()
            if both:
                raise InputError(f"{path}: {next(iter(both))} stands in another table of {split} too; keep one")
            labels[split] |= pictures
    where: dict[Path, Split] = {}
    for split, pictures in labels.items():
        for picture in pictures:
            if where.setdefault(picture, split) != split:
                raise InputError(f"{files[-1]}: {picture} stands in {where[picture]} and in {split}; keep it in one")
    parted = {split: list(labels[split].values()) for split in SPLITS if split in labels}
    classes, class_ids = _numbered(tables, {one.name for each in _every(parted) for one in each.objects})
    if not classes:
        raise InputError(f"{files[0]}: no object in any row; nothing to learn from")
    others = tuple(dict.fromkeys(name for table in tables.values() for name in table.others))
    for items in parted.values():
        for each in items:
            each.count = len(each.objects)
    first, told = first_pixel(parted, config) if voc else (0, "corners x1 … y2 are half open, in px from 0")
    notes += others_beside(files[0]) if len(files) == 1 and len(parted) == 1 else ()
    return Labels(
        parted,
        classes,
        corners_from(first),
        no_area_from(first),
        _called,
        [*notes, told],
        class_ids,
        others,
        lambda picture, found: tables[picture.labels].cells_of(picture, found, others),
    )


def _every(parted: Mapping[Split, list[Labelled]]) -> Iterator[Labelled]:
    return (picture for pictures in parted.values() for picture in pictures)


def _numbered(tables: Mapping[Path, "_Table"], names: set[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Classes in the order of `label_index`, where all tables have it, else sorted; what COCO calls them, if known."""
    places, ids = dict[str, str](), dict[str, set[str]]()
    for path, table in tables.items():
        for name, given in table.places.items():
            if places.setdefault(name, given) != given:
                raise InputError(f"{path}: class '{name}' has two numbers, {places[name]} and {given}; keep one")
        for name, several in table.ids.items():
            ids.setdefault(name, set()).update(several)
    whole = all("index" in table.roles for table in tables.values())
    classes = ordered(next(iter(tables)), names, places if whole else {})
    found = ["".join(ids.get(name, ())) if len(ids.get(name, ())) == 1 else "" for name in classes]
    known = all(each.isdecimal() and len(each) < 19 for each in found) and len(set(found)) == len(found)
    return classes, tuple(map(int, found)) if known else ()


def chosen(files: Sequence[Path]) -> list[Path]:
    """Of a folder's tables of boxes those that are its splits, or the only one; none where that is not clear."""
    called: dict[Split, list[Path]] = {}
    for path in files:
        split = _split_of(path)
        if split is not None:
            called.setdefault(split, []).append(path)
    if "train" in called and len(called) > 1 and all(len(each) == 1 for each in called.values()):
        return [called[split][0] for split in SPLITS if split in called]
    return list(files) if len(files) == 1 else []


def write_boxes(path: Path, splits: Mapping[str, Images], source: str, kept: KeptBoxes) -> None:
    """The splits as a table whose paths are relative to it; `read_csv` gives the same boxes, ids, classes and splits.

    Classes that no box is of are not in it; `kept` are sizes of pictures and further columns.

    Raises:
        InputError: the images lie in memory, and have no paths.
    """
    classes, names, numbers = _classes_of(splits)
    standard = [*_COLUMNS, *[INDEX] * (classes != in_order(classes)), *[_NUMBER] * bool(numbers)]
    standard += [_MASK] * any(getattr(images.targets, "masks", None) is not None for images in splits.values())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*standard, *_apart(standard, kept.names)])
    for split, images in splits.items():
        targets = images.targets
        assert isinstance(targets, BoxTargets)
        if not images.paths:
            raise InputError(
                f"{source}: its images are no files to be listed; split_seed and fractions repeat the split"
            )
        for file, boxes, number in zip(images.paths, targets, targets.ids.tolist(), strict=True):
            place = Path(os.path.relpath(file, path.parent)).as_posix()
            place = f"./{place}" if place != place.strip(BLANKS) or place[0] == "#" else place
            width, height = kept.sizes.get(file, ("", ""))
            of_picture = {"path": place, "width": width, "height": height, "image_id": number, "split": split}
            others = kept.rows[file] if kept.names else [[]] * max(1, len(boxes))
            columns = (boxes.classes, boxes.corners, boxes.ignored.int(), boxes.areas)
            told = [
                {"class": names[label], INDEX: classes.index(names[label]), _NUMBER: numbers.get(names[label])}
                | dict(zip((*_OPEN, "ignored", "area"), (*corners, ignored, area), strict=True))
                for label, corners, ignored, area in zip(*(each.tolist() for each in columns), strict=True)
            ]
            for one, mask in zip(told, cells_of(boxes.masks, f"{file}"), strict=False):
                one[_MASK] = mask
            for one, cells in zip(told or [{}], others, strict=True):
                writer.writerow([*((of_picture | one).get(name, "") for name in standard), *cells])
    write_atomic(path, text.getvalue())


def _classes_of(splits: Mapping[str, Images]) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, int]]:
    """The classes that some box is of, in their order, all of them, and what COCO calls those."""
    names = next(iter(splits.values())).classes
    used, numbers = set[int](), dict[str, int]()
    for images in splits.values():
        assert isinstance(images.targets, BoxTargets)
        used |= set(images.targets.classes.tolist())
        numbers |= dict(zip(names, images.targets.class_ids, strict=False))
    return tuple(names[label] for label in sorted(used)), names, numbers


def _apart(standard: Sequence[str], others: Sequence[str]) -> list[str]:
    """What further columns are called: as they were, or `own NAME` where that would be taken for another one."""
    names, known = list(standard), _columns(standard)
    for name in others:
        while plain(name) in map(plain, standard) or _columns([*names, name]) != known:
            name = f"own {name}"
        names.append(name)
    return names[len(standard) :]


def _columns(header: Sequence[str]) -> dict[str, int] | None:
    """Role -> column; None where it is no table of boxes."""
    names = [plain(name) for name in header]
    corners = next((each for each in (_VOC, _OPEN) if all(name in names for name in each)), None)
    if corners is None:
        return None
    found = {name: names.index(name) for name in corners}
    for role, known in _KNOWN.items():
        at = next(
            (names.index(name) for name in known if name in names and names.index(name) not in found.values()), None
        )
        if at is not None:
            found[role] = at
    return found if {"path", "class"} <= set(found) else None


def _split_of(path: Path) -> Split | None:
    said = split_within(path.stem)
    return split_named(path.stem) or (said[0] if said else None)


def _called(picture: Labelled, found: Object) -> str:
    return f"{picture.labels.name}: line {found.number} ({found.name}, {picture.picture.name})"


class _Table:
    """One file of rows."""

    def __init__(self, path: Path, split: Split | None) -> None:
        self.path = path
        table = read_rows(path, is_header)
        header = table.cells[0][1]
        of = _columns(header)
        if of is None:
            raise InputError(f"{path}: columns {some(header)}; wanted filename,class,xmin,ymin,xmax,ymax")
        self.voc, self._of, self._header = "xmin" in of, of, header
        self.roles = frozenset(of)
        rows = table.cells[1:]
        if not rows:
            raise InputError(f"{path}: no rows; wanted one a box")
        files, where = files_of(path, [(line, self._text(cells, "path")) for line, cells in rows])
        self.notes = [*table.notes, *where]
        if "split" not in of and (at := split_among(path, header, rows, of.values())) is not None:
            of["split"] = at
            self.notes.append(f"{path.name}: split from '{header[at]}'")
        left = [at for at in range(len(header)) if at not in of.values()]
        self.others = {header[at] or f"column {at + 1}": at for at in left}
        self.others |= {f"{header[at]} (column {at + 1})": at for at in left if at not in self.others.values()}
        if self.others:
            self.notes.append(f"{path.name}: columns not used: {some(self.others)}")
        self.places, self.ids = dict[str, str](), dict[str, set[str]]()  # of classes: label_index, category_id
        self._rows = dict(rows) if self.others else {}
        self._first = dict[Path, int]()
        wide = next((line for line, cells in rows if len(cells) > len(header) and any(cells[len(header) :])), None)
        if wide is not None:
            raise InputError(
                f"{path}: line {wide}: more cells than the {len(header)} columns; quote those with a comma"
            )
        self.pictures: dict[Split, dict[Path, Labelled]] = {}
        for (line, cells), file in zip(rows, files, strict=True):
            told = split or self._split((line, cells))
            picture = self.pictures.setdefault(told, {}).setdefault(file, Labelled(file, path, []))
            self._first.setdefault(file, line)
            self._told_once(picture, line, cells)
            found = self._object(line, cells)
            if found is not None:
                picture.objects.append(found)

    def cells_of(self, picture: Labelled, found: Object | None, others: Sequence[str]) -> list[str]:
        """What stands in the columns `others` of an object's row, or in the first row of a picture."""
        row = self._rows.get(self._first[picture.picture] if found is None else found.number, [])
        places = [self.others.get(name, len(row)) for name in others]
        return [row[at] if at < len(row) else "" for at in places]

    def _text(self, cells: Sequence[str], role: str) -> str:
        at = self._of.get(role)
        return cells[at] if at is not None and at < len(cells) else ""

    def _split(self, row: Cells) -> Split:
        line, cells = row
        text = self._text(cells, "split")
        if "split" not in self._of:
            return "train"
        told = split_of_cell(self._header[self._of["split"]], text)
        if told is None:
            raise InputError(f"{self.path}: line {line}: split '{text}'; wanted train, val or test")
        return told

    def _told_once(self, picture: Labelled, line: int, cells: Sequence[str]) -> None:
        """What every row of a picture says of it."""
        width, height = (self._number(line, cells, role, none=0.0) for role in ("width", "height"))
        if min(width, height) < 0 or width != int(width) or height != int(height):
            raise InputError(f"{self.path}: line {line}: size {width:g} x {height:g}; wanted whole numbers of px")
        size = (int(width), int(height)) if width and height else None
        number = self._text(cells, "id")
        own = int(number) if number.isdecimal() and len(number) < 19 else None
        for name, value in (("size", size), ("id", own)):
            before = getattr(picture, name)
            if before is not None and value is not None and before != value:
                raise InputError(
                    f"{self.path}: line {line}: {picture.picture.name} has two {name}s, {before} and {value}"
                )
            setattr(picture, name, value if before is None else before)

    def _object(self, line: int, cells: Sequence[str]) -> Object | None:
        corners: Any = _VOC if self.voc else _OPEN
        name = self._text(cells, "class").strip()
        texts = [self._text(cells, corner) for corner in corners]
        if not name and not any(texts):
            return None
        if not name:
            raise InputError(f"{self.path}: line {line}: no class; a picture without objects has no corners either")
        place = self._text(cells, "index")
        if place and self.places.setdefault(name, place) != place:
            raise InputError(
                f"{self.path}: line {line}: class '{name}' has two numbers, {self.places[name]} and {place}; keep one"
            )
        self.ids.setdefault(name, set()).add(self._text(cells, "number"))
        x1, y1, x2, y2 = (self._number(line, cells, corner) for corner in corners)
        ignored, area = self._number(line, cells, "ignored", none=0.0), self._number(line, cells, "area", none=0.0)
        if area < 0:
            raise InputError(f"{self.path}: line {line}: area is {area:g}; wanted px^2")
        mask = drawn_cell(self._text(cells, "mask"), f"{self.path}: line {line}: segmentation")
        known = area if self._text(cells, "area") else None
        return Object(line, name, (x1, y1, x2, y2), ignored != 0, known, *(mask or ()))

    def _number(self, line: int, cells: Sequence[str], role: str, none: float | None = None) -> float:
        text = self._text(cells, role)
        if not text and none is not None:
            return none
        value = coordinate_in(text)
        if math.isnan(value):
            raise InputError(
                f"{self.path}: line {line}: {self._header[self._of[role]]} is '{text:.80}'; wanted a number"
            )
        return value
