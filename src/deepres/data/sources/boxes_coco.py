"""COCO's JSON: `images`, `annotations`, `categories`; one file, or one a split: `annotations/instances_train2017.json`.

A box is written (x, y, width, height) in px from 0. Ids may begin anywhere and have gaps; classes are the categories in
the order of their ids. `iscrowd` (and `ignore`) objects are ignored. Pictures of the folder that the file does not
list are counted and not used; `data.root` names the folder where pictures lie elsewhere.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepres.base.errors import InputError
from deepres.base.files import open_regular, path_of
from deepres.base.reading import read_json, require_small
from deepres.base.wording import counted, some
from deepres.data.sources.box_labels import Labelled, Labels, Object, no_size
from deepres.data.sources.box_places import ABOUT_LABELS
from deepres.data.sources.config import DataConfig
from deepres.data.sources.mask_labels import MOST as MOST_PX
from deepres.data.sources.mask_labels import drawn_coco
from deepres.data.sources.places import Folders
from deepres.data.sources.rows import is_picture
from deepres.data.sources.split_names import split_named, split_within
from deepres.data.sources.splits import Split
from deepres.data.sources.tree import is_hidden

MOST = 2**31
"""Bytes of a file of labels; COCO's own have 448 million."""

_WHAT = "set of boxes (COCO: images, annotations, categories)"
_WORDS = (b'"images"', b'"annotations"', b'"categories"')
_NONE = re.compile(rb'"annotations"\s*:\s*\[\s*\]')
_FOLDERS = 200  # that are looked into for pictures
_TABLE = 10
_SAMPLE = 200  # pictures by which their folder is told


def is_coco(path: Path) -> bool:
    """Whether a JSON file speaks of boxes as COCO does: by its words, none of it read as JSON."""
    require_small(path, _WHAT, MOST)
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError:
        return False
    begins = content[:200].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    boxes = b'"bbox"' in content or _NONE.search(content) is not None
    return begins and boxes and all(word in content for word in _WORDS)


def read_coco(files: Sequence[Path], config: DataConfig, pictured: Sequence[Path] = ()) -> Labels:
    """What these files say: one, or several of which each is a split by its name or its folder's.

    `pictured` are the folders of pictures of the source, in which those of a file may lie.

    Raises:
        InputError: two files of one split or of none; what `_Set` refuses; other categories in one than in another.
    """
    notes: list[str] = []
    read: dict[Split, _Set] = {}
    for path in files:
        split = split_of(path) if len(files) > 1 else "train"
        if split is None or split in read:
            raise InputError(
                f"{path.parent}: {some(each.name for each in files)}: which are for training, which for testing? give "
                "one of them, or call them instances_train.json, instances_val.json"
            )
        read[split] = _Set(path, config, pictured)
    one = next(iter(read.values()))
    for other in read.values():
        if other.classes != one.classes:
            strange = sorted(set(other.classes) ^ set(one.classes)) or ["their order"]
            raise InputError(f"{other.path}: other categories than {one.path} ({some(strange)}); give them the same")
    if len(read) == 1 and split_of(one.path) in ("val", "test"):
        notes.append(f"{one.path.name} is all there is, so it is what is trained on")
    for each in read.values():
        notes += each.notes
    parted = {split: each.pictures for split, each in read.items()}
    return Labels(parted, one.classes, _corners, no_size, _called, notes, one.class_ids)


def split_of(path: Path) -> Split | None:
    """The split that a file is by its name (`instances_val2017.json`), or its folder's (`valid/_annotations.json`)."""
    said = split_within(path.stem)
    return said[0] if said else split_named(path.parent.name)


def _corners(given: NDArray[np.float64], _: tuple[int, int]) -> NDArray[np.float64]:
    return np.concatenate([given[:, :2], given[:, :2] + given[:, 2:]], 1)


def _called(picture: Labelled, found: Object) -> str:
    return f"{picture.labels.name}: annotation {found.number} ({found.name}) of {picture.picture.name}"


class _Set:
    """One file.

    Raises:
        InputError: a field that is not as COCO has it, an id that stands twice or is none, a picture that is not there.
    """

    def __init__(self, path: Path, config: DataConfig, pictured: Sequence[Path]) -> None:
        self.path, self.notes, self._pictured = path, list[str](), pictured
        self._masks = config.masks != "off"
        facts = read_json(path, _WHAT, most=MOST)
        if not isinstance(facts, dict):
            given = (
                f"a list of {len(facts)}, as of answers?" if isinstance(facts, list) else f"a {type(facts).__name__},"
            )
            raise InputError(f"{path}: {given} wanted a {_WHAT}")
        images, annotations, categories = (self._rows(facts, name) for name in ("images", "annotations", "categories"))
        names = self._names(categories)
        self.class_ids = tuple(sorted(names))
        self.classes = tuple(names[key] for key in self.class_ids)
        listed: dict[int, dict[str, Any]] = {}
        files: dict[str, int] = {}
        for place, image in enumerate(images):
            number, name = self._id(image, "id", f"image {place + 1}"), image.get("file_name")
            if not isinstance(name, str) or not name.strip():
                raise InputError(f"{path}: image {number} has no file_name")
            if number in listed:
                raise InputError(f"{path}: two images of id {number}; give each its own")
            if name in files:
                raise InputError(f"{path}: two images of file name {name} ({files[name]} and {number}); keep one")
            listed[number], files[name] = image, number
        if not listed:
            raise InputError(f"{path}: no images; wanted a {_WHAT}")
        paths = self._located(list(files), config)
        self.pictures = [
            Labelled(at, path, [], self._size(image, number), number)
            for (number, image), at in zip(listed.items(), paths, strict=True)
        ]
        by_id = {picture.id: picture for picture in self.pictures}
        for place, each in enumerate(annotations):
            called = each.get("id", place + 1)
            image_id = self._id(each, "image_id", f"annotation {called}")
            picture = by_id.get(image_id)
            if picture is None:
                raise InputError(f"{path}: annotation {called} speaks of image {image_id}, which is not in images")
            picture.objects.append(self._object(each, called if isinstance(called, int) else place + 1, names))
        for picture in self.pictures:
            picture.count = len(picture.objects)

    def _rows(self, facts: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
        rows = facts.get(name)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            given = "missing" if name not in facts else f"{type(rows).__name__}, no list of objects"
            raise InputError(f"{self.path}: {name} is {given}; wanted a {_WHAT}")
        return rows

    def _id(self, row: Mapping[str, Any], name: str, where: str) -> int:
        value = row.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
            raise InputError(f"{self.path}: {where}: {name} is {_short(value)}; wanted a whole number")
        return value

    def _names(self, categories: list[dict[str, Any]]) -> dict[int, str]:
        names: dict[int, str] = {}
        used = set[str]()
        for place, category in enumerate(categories):
            number, name = self._id(category, "id", f"category {place + 1}"), category.get("name")
            if not isinstance(name, str) or not name.strip():
                raise InputError(f"{self.path}: category {number} has no name")
            if number in names or name.strip() in used:
                raise InputError(f"{self.path}: two categories of id {number} or of name {name!r}; keep one")
            names[number] = name.strip()
            used.add(name.strip())
        if not names:
            raise InputError(f"{self.path}: no categories; wanted a {_WHAT}")
        return names

    def _size(self, image: Mapping[str, Any], number: int) -> tuple[int, int] | None:
        sides: list[Any] = [image.get("width"), image.get("height")]
        if sides in ([None, None], [0, 0]):
            return None
        for side in sides:
            if not _is_number(side) or side <= 0 or side != int(side):
                raise InputError(
                    f"{self.path}: image {number}: width and height {_short(sides)}; wanted two whole numbers of px"
                )
        return int(sides[0]), int(sides[1])

    def _object(self, row: Mapping[str, Any], called: int, names: Mapping[int, str]) -> Object:
        where, box = f"annotation {called}", row.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            remedy = "write the box of its outline" if box is None and row.get("segmentation") else ""
            raise InputError(
                f"{self.path}: {where}: bbox is {_short(box)}; wanted [x, y, width, height] in px"
                + (f" ({remedy})" if remedy else "")
            )
        category = self._id(row, "category_id", where)
        if category not in names:
            low, high = min(names), max(names)
            hint = f"; did you mean ids from {low}?" if category in (low - 1, high + 1) else ""
            raise InputError(f"{self.path}: {where}: category {category} is used, categories has {low} to {high}{hint}")
        area = row.get("area")
        if area is not None and (not _is_number(area) or area < 0):
            raise InputError(f"{self.path}: {where}: area is {_short(area)}; wanted px^2")
        ignored = row.get("iscrowd") or row.get("ignore") or 0
        if ignored not in (0, 1):
            raise InputError(f"{self.path}: {where}: iscrowd is {_short(row.get('iscrowd'))}; wanted 0 or 1")
        try:
            drawn = drawn_coco(row.get("segmentation") if self._masks else None)
        except ValueError as cause:
            raise InputError(
                f"{self.path}: {where}: segmentation: {cause}; wanted polygons or run lengths, or data.masks=off"
            ) from cause
        shape, flaws = drawn or (None, ())
        x, y, width, height = map(float, box)
        known = None if area is None else float(area)
        return Object(called, names[category], (x, y, width, height), bool(ignored), known, shape, flaws)

    def _located(self, names: list[str], config: DataConfig) -> list[Path]:
        """The files, all below one folder; other pictures of it are counted."""
        folders = Folders()
        slashed = [name.strip().replace("\\", "/") for name in names]
        given = self._given_root(config)
        base = given if given is not None else self._base(folders, slashed)
        found = [[] if base is None else folders.find(str(base), name) for name in slashed]
        missing = [name for name, files in zip(names, found, strict=True) if not files]
        if missing:
            where = f"in {base}" if base is not None else f"in {given}" if given is not None else "beside it"
            raise InputError(
                f"{self.path}: {len(missing):,} of {len(names):,} pictures are not {where}, such as {missing[0]}; "
                "data.root=FOLDER says where they lie",
                [f"  {name}" for name in missing[:_TABLE]] if len(missing) > 1 else (),
            )
        assert base is not None
        for name, files in zip(names, found, strict=True):
            if len(files) > 1:
                raise InputError(f"{self.path}: file name {name} may be {some(files)}; write it with its suffix")
        paths = [Path(files[0]) for files in found]
        if base != self.path.parent:
            self.notes.append(f"{self.path.name}: pictures lie in {base}")
        left = sum(_num_pictures(folder) for folder in {path.parent for path in paths}) - len(set(paths))
        if left > 0:
            self.notes.append(f"{self.path.name}: {counted(left, 'picture')} beside those that it lists: not used")
        return paths

    def _base(self, folders: Folders, names: list[str]) -> Path | None:
        """The folder beside the file that has its pictures, the likeliest first; of others the only one."""
        sample, likely = names[:_SAMPLE], list(dict.fromkeys(_likely(self.path)))
        held = [sum(bool(folders.find(str(each), name)) for name in sample) for each in likely]
        if any(held):
            return likely[held.index(max(held))]
        others = list(dict.fromkeys([*_others(self.path), *self._pictured]))
        every = [each for each in others if folders.find(str(each), names[0])]
        if len(every) > 1:
            raise InputError(
                f"{self.path}: its pictures may lie in {some(map(str, every))}; data.root=FOLDER says where they lie"
            )
        return next(iter(every), None)

    def _given_root(self, config: DataConfig) -> Path | None:
        """`data.root`, where it was said and is not what sets known by name have."""
        if config.root in (None, DataConfig().root):
            return None
        return path_of(config.root or ".")


def _likely(path: Path) -> Iterator[Path]:
    """Folders where the pictures of a file lie by its name, and by what such folders are called."""
    own, above = path.parent, path.parent.parent
    said = re.sub(r"^(instances|person_keypoints|annotations?|labels?|coco)[_-]+", "", path.stem, flags=re.IGNORECASE)
    split = split_of(path)
    names = [said, *([split, "valid"] if split == "val" else [split] if split else [])]
    for top in (own, above):
        for name in names:
            yield from (top / name, top / "images" / name, top / name / "images")
    yield from (own, own / "images", above / "images", above)


def _others(path: Path) -> list[Path]:
    """All other folders in its own and, of a file in annotations/, beside it."""
    tops = (path.parent, path.parent.parent) if path.parent.name.casefold() in ABOUT_LABELS else (path.parent,)
    found: list[Path] = []
    for top in tops:
        inside = [folder for folder in _inside(top) if not is_hidden(folder.name)][:_FOLDERS]
        found += [*inside, *[below for folder in inside for below in _inside(folder)][:_FOLDERS]]
    return list(dict.fromkeys(found))


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir())
    except OSError:
        return []


def _num_pictures(folder: Path) -> int:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not is_hidden(entry.name)]
    return sum(map(is_picture, names))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_PX


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def chosen(files: Sequence[Path]) -> list[Path]:
    """Of a folder's JSON files those that are its splits: instances before others, then those called by a split."""
    instances = [path for path in files if path.stem.startswith("instances")]
    files = instances or list(files)
    splits = Counter(split_of(path) for path in files)
    called = [path for path in files if split_of(path) is not None]
    return called if called and splits[None] else list(files)
