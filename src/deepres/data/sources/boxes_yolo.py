"""YOLO's text files: `labels/a.txt` for `images/a.jpg`, a line a box; `data.yaml` names the classes and the splits.

    0 0.5 0.5 0.2 0.1               class, centre x, centre y, width, height, as shares of the picture
    0 0.4 0.45 0.6 0.45 0.5 0.55    class and three points or more, x and y in turn: the outline of an object

Classes count from 0, in the order of `names` (a list, or a map from numbers). A picture without a file is one without
objects, as is one whose file is empty (`data.unlabelled=stop` refuses the former). Points of an outline may lie outside
of the picture by 1 px, as edges of boxes. Shares are of the picture as it is
shown, upright, unless `data.frame=stored`.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepres.base.errors import InputError
from deepres.base.files import read_text, what_lies
from deepres.base.reading import read_yaml, require_small
from deepres.base.wording import counted, some
from deepres.data.sources.box_labels import Labelled, Labels, Object, coordinate_in, no_size
from deepres.data.sources.config import DataConfig
from deepres.data.sources.labels import repeated
from deepres.data.sources.mask_labels import drawn_polygons
from deepres.data.sources.scan import scanned
from deepres.data.sources.split_names import split_named
from deepres.data.sources.splits import SPLITS, Split

_WHAT = "description of a set (YOLO: names, train, val)"
_KEYS: dict[Split, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_LONGEST = 300  # letters of a path that is told
_MOST = 2**24  # bytes of a file of labels
_BEYOND = 0.25  # of a picture, that points of an outline may lie outside of it: by how many px, its size says


def is_yolo(path: Path) -> bool:
    """Whether a YAML file names classes, or is called as one that does and cannot be read."""
    try:
        facts = read_yaml(path, _WHAT)
    except InputError:
        return path.stem == "data"
    return isinstance(facts, dict) and "names" in facts


def read_yolo(path: Path, config: DataConfig) -> Labels:
    """What `data.yaml` at `path` says, and the files of labels.

    Raises:
        InputError: names that are none, a split that is not there, a line that is no box.
    """
    facts = read_yaml(path, _WHAT)
    if not isinstance(facts, dict):
        raise InputError(f"{path}: wanted a {_WHAT}")
    names = _names(path, facts)
    if facts.get("kpt_shape") is not None:
        raise InputError(f"{path}: kpt_shape: its labels are key points; wanted those of boxes or outlines")
    notes: list[str] = []
    parted: dict[Split, list[Labelled]] = {}
    used: dict[Path, Split] = {}
    for split, pictures in _splits(path, facts, notes).items():
        for picture in pictures:
            other = used.setdefault(picture, split)
            if other != split:
                raise InputError(f"{path}: {picture} stands in {other} and in {split}; keep it in one of them")
        parted[split] = [_read(picture, names, path, config) for picture in dict.fromkeys(pictures)]
    notes += _without_files(parted)
    return Labels(parted, names, _corners, no_size, _called, notes, relative=True)


def _names(path: Path, facts: Mapping[str, Any]) -> tuple[str, ...]:
    given = facts.get("names")
    if isinstance(given, dict):
        given = {int(key) if isinstance(key, str) and key.isdecimal() else key: name for key, name in given.items()}
        if sorted(given, key=str) != sorted(range(len(given)), key=str):
            raise InputError(f"{path}: names are numbered {some(map(str, given))}; wanted 0 to {len(given) - 1}")
        given = [given[number] for number in range(len(given))]
    if not isinstance(given, list) or not given or not all(isinstance(name, str | int) for name in given):
        raise InputError(f"{path}: names: wanted a list of classes, or a map from numbers to them")
    truth = next((name for name in given if isinstance(name, bool)), None)
    if truth is not None:
        raise InputError(f"{path}: names: {truth} is what YAML makes of yes, no, on, off; write it in quotes")
    names = tuple(str(name).strip() for name in given)
    if len(set(names)) < len(names) or not all(names):
        raise InputError(f"{path}: names: '{repeated(names) or ''}' stands twice, or is empty")
    number = facts.get("nc")
    if isinstance(number, int) and number != len(names):
        raise InputError(f"{path}: nc is {number}, names has {len(names)}; correct one of them")
    return names


def _splits(path: Path, facts: Mapping[str, Any], notes: list[str]) -> dict[Split, list[Path]]:
    """The pictures of each split, as the description says or as the folders beside it are called."""
    said: dict[Split, list[str]] = {}
    for split, keys in _KEYS.items():
        given = next((facts[key] for key in keys if facts.get(key)), None)
        if given is not None:
            places = given if isinstance(given, list) else [given]
            if not all(isinstance(place, str) for place in places):
                raise InputError(f"{path}: {split}: wanted a folder or a list of them")
            said[split] = places
    own = path.parent
    top = facts.get("path")
    tops = [own / top, own] if isinstance(top, str) and top else [own]
    found: dict[Split, list[Path]] = {}
    for split, places in said.items():
        where = [_place(tops, place) for place in places]
        absent = [place for place, at in zip(places, where, strict=True) if at is None]
        if absent and split == "test":  # COCO's own description names a test set that few have
            notes.append(f"{path.name}: {split}: {absent[0]:.200} is not there: it is not used")
            continue
        if absent:
            raise InputError(f"{path}: {split}: {absent[0]:.200} is not there; paths are relative to {tops[0]}")
        found[split] = [picture for at in where if at is not None for picture in _pictures(at)]
    if not found:
        return _by_folder(path)
    empty = [split for split, pictures in found.items() if not pictures]
    if empty:
        raise InputError(f"{path}: {empty[0]}: no pictures in {some(said[empty[0]])}; wanted some")
    return found


def _place(tops: Sequence[Path], place: str) -> Path | None:
    """Where a split lies; exports often say ../train/images for what lies beside the file."""
    tries = [top / each for top in tops for each in (place, place.removeprefix("../").removeprefix("./"))]
    return next((at for at in tries if os.path.exists(at)), None)  # noqa: PTH110 (False of what cannot be a name)


def _pictures(place: Path) -> list[Path]:
    if place.is_dir():
        return [place / name for name in scanned(place).pictures]
    lines = [line.strip() for line in read_text(place, "list of pictures").splitlines()]
    paths = [place.parent / line for line in lines if line]
    for number, at in enumerate(paths, 1):
        if not os.path.isfile(at):  # noqa: PTH113 (False of what cannot be a name)
            shown = str(at) if len(str(at)) <= _LONGEST else f"{str(at)[:_LONGEST]}…"
            raise InputError(f"{place}:{number}: no picture {shown}; paths are relative to the list")
    return paths


def _by_folder(path: Path) -> dict[Split, list[Path]]:
    """As images/train, train/images or images alone say."""
    found: dict[Split | None, list[Path]] = {}
    scan = scanned(path.parent)
    for name in scan.pictures:
        folders = name.split("/")[:-1]
        found.setdefault(next((split for f in folders if (split := split_named(f))), None), []).append(
            path.parent / name
        )
    if not found:
        raise InputError(f"{path}: no pictures beside it; wanted images/ and labels/")
    if None in found and len(found) > 1:
        raise InputError(f"{path}: {found[None][0]} is in no split; say train: and val: in it")
    return {split: found[split] for split in SPLITS if split in found} if None not in found else {"train": found[None]}


def labels_of(picture: Path) -> Path:
    """`…/images/a.jpg` -> `…/labels/a.txt` (the last folder so called), else `a.txt` beside it."""
    parts = list(picture.parts[:-1])
    at = next((place for place in reversed(range(len(parts))) if parts[place] == "images"), None)
    if at is not None:
        parts[at] = "labels"
    return Path(*parts, f"{picture.stem}.txt")


def _read(picture: Path, names: Sequence[str], path: Path, config: DataConfig) -> Labelled:
    file, beside = labels_of(picture), picture.with_suffix(".txt")
    lies = what_lies(file)
    if lies is None and (lies := what_lies(beside)) is not None:
        file = beside
    if lies is None:
        if config.unlabelled == "stop":
            raise InputError(
                f"{picture.name}: no label file {file}; data.unlabelled=empty takes it as a picture without objects"
            )
        return Labelled(picture, file, [], missing=True)
    if lies != "a file":
        raise InputError(f"{file}: {lies}, wanted the boxes of {picture.name}; bring the file, or remove what is there")
    require_small(file, "file of boxes", _MOST)
    objects = [
        _object(file, number, line.split(), names, path)
        for number, line in enumerate(read_text(file, "file of boxes").splitlines(), 1)
        if line.strip()
    ]
    return Labelled(picture, file, objects, count=len(objects))


def _object(file: Path, line: int, cells: list[str], names: Sequence[str], path: Path) -> Object:
    where = f"{file}:{line}"
    label, *values = map(coordinate_in, cells)
    if any(map(math.isnan, (label, *values))):
        raise InputError(f"{where}: '{' '.join(cells)[:40]}'; wanted numbers: class x y width height, or an outline")
    if len(values) < 4 or len(values) % 2:
        score = "a score? " if len(cells) == 6 else ""
        raise InputError(
            f"{where}: {counted(len(cells), 'number')}; {score}wanted class x y width height, or class and the pairs "
            "x y of an outline"
        )
    if label != int(label) or not 0 <= label < len(names):
        raise InputError(f"{where}: class {cells[0]}, {path.name} names {len(names)} (0 to {len(names) - 1})")
    beyond = 0 if len(values) == 4 else _BEYOND
    for text, value in zip(cells[1:], values, strict=True):
        if not -beyond <= value <= 1 + beyond:
            raise InputError(f"{where}: {text} lies outside of 0 to 1; YOLO labels are shares of the picture")
    if len(values) == 4:
        x, y, width, height = values
        return Object(line, names[int(label)], (x, y, width, height))
    points = np.array(values).reshape(-1, 2)
    low, high = points.min(0).tolist(), points.max(0).tolist()
    box = tuple((one + other) / 2 for one, other in zip(low, high, strict=True))
    box += tuple(other - one for one, other in zip(low, high, strict=True))
    shape, flaws = drawn_polygons([points])
    return Object(line, names[int(label)], box, shape=shape, flaws=flaws)


def _corners(given: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    scaled = given * np.array([*size, *size], dtype=np.float64)
    return np.concatenate([scaled[:, :2] - scaled[:, 2:] / 2, scaled[:, :2] + scaled[:, 2:] / 2], 1)


def _called(picture: Labelled, found: Object) -> str:
    return f"{os.path.join(picture.labels.parent.name, picture.labels.name)}:{found.number} ({found.name})"  # noqa: PTH118


def _without_files(parted: Mapping[Split, list[Labelled]]) -> Iterator[str]:
    """How many pictures have no file, and how many files no picture."""
    every = [picture for pictures in parted.values() for picture in pictures]
    missing = sum(picture.missing for picture in every)
    if missing:
        yield f"{counted(missing, 'picture')} without a file of labels: without objects, as YOLO means it"
    used = {picture.labels for picture in every}
    folders = {file.parent for file in used}
    others = [
        file for folder in folders if folder.name == "labels" for file in folder.glob("*.txt") if file not in used
    ]
    others = [file for file in others if file.name != "classes.txt"]
    if others:
        yield f"{counted(len(others), 'file')} of labels without a picture, such as {others[0].name}: not used"
