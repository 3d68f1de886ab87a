"""VOC's XML: `Annotations/a.xml` beside `JPEGImages/a.jpg`, with lists in `ImageSets/Main` or without.

A box is written (xmin, ymin, xmax, ymax), whole pixels from 1, those at its edges inside: half open it is (xmin - 1,
ymin - 1, xmax, ymax). Where any box of the source begins at 0, pixels are counted from 0 and nothing is subtracted
(`data.first_pixel`). `difficult` objects are ignored; where that is not told, or "Unspecified", they are not difficult.

Any pair of folders will do, one of XML and one of pictures of the same names, also one folder with both; folders called
by a split, such as train/ and valid/, are splits. Of several files that a name without suffix may mean none is taken.
ILSVRC's DET has WordNet's numbers for classes: where `map_det.txt` lies in the source, it names them. So do ImageNet's
lists, those of its folders (folders.py).
"""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from deepres.base.errors import InputError
from deepres.base.files import read_text
from deepres.base.reading import read_xml
from deepres.base.wording import counted
from deepres.data.sources.box_labels import Labelled, Labels, Object, coordinate_in
from deepres.data.sources.box_places import PicturesByFolder, label_folders, require_labelled
from deepres.data.sources.config import DataConfig
from deepres.data.sources.folders import titles
from deepres.data.sources.labels import in_order
from deepres.data.sources.masks_voc import with_masks
from deepres.data.sources.scan import Scan
from deepres.data.sources.split_names import split_named
from deepres.data.sources.splits import SPLITS, Split
from deepres.data.sources.wordnet_names import FILE as NAMES
from deepres.data.sources.wordnet_names import name_objects, wordnet_names

_WHAT = "VOC annotation"
_NO, _YES = ("", "0", "false", "no", "unspecified"), ("1", "true", "yes")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(root: Path, scan: Scan, config: DataConfig) -> Labels:
    """What the XML files below `root` say.

    Raises:
        InputError: XML that cannot be read or says no box, a picture without XML (`data.unlabelled`) or XML without a
            picture, a picture in two lists.
    """
    if not scan.pictures:
        raise InputError(f"{root}: XML of boxes, and no pictures; give the folder that holds both")
    pictures = PicturesByFolder(root, scan)
    found: dict[Split | None, list[Labelled]] = {}
    notes: list[str] = []
    for folder, names in label_folders(scan.others, ".xml").items():
        lists = _lists(root, folder)
        if lists:
            of_list, said = _listed(root, folder, set(names), lists, pictures, config)
            notes += said
            for split, items in of_list.items():
                found.setdefault(split, []).extend(items)
            continue
        own = [_read(root / folder / name, pictures) for name in names]
        found.setdefault(_split_of(folder), []).extend(own)
    parted = require_labelled(root, found, pictures, _unlabelled(config))
    if named := wordnet_names(root):
        for items in parted.values():
            name_objects(items, named)
        notes.append(f"classes are WordNet's numbers: {NAMES} in {root} names them")
    notes += with_masks(parted, config)
    classes = in_order({one.name for items in parted.values() for each in items for one in each.objects})
    if classes and (meant := titles(root, classes)) != classes:
        for items in parted.values():
            name_objects(items, dict(zip(classes, meant, strict=True)))
        classes = meant
    if not classes:
        raise InputError(f"{root}: no object in any of its XML files; nothing to learn from")
    first, told = first_pixel(parted, config)
    return Labels(parted, classes, corners_from(first), no_area_from(first), _called, [*pictures.notes, *notes, told])


def corners_from(first: int) -> "_Corners":
    """(xmin, ymin, xmax, ymax), edges inside and pixels from `first`, as half-open corners."""
    return _Corners(first)


class _Corners:
    def __init__(self, first: int) -> None:
        self._shift = np.array([first, first, 0, 0], dtype=np.float64)

    def __call__(self, given: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        return given - self._shift


def no_area_from(first: int) -> Callable[[NDArray[np.float64]], NDArray[np.bool_]]:
    """Of boxes so written: corners that are one in x or y, as a stray click leaves them, or the wrong way round."""

    def has_no_area(given: NDArray[np.float64]) -> NDArray[np.bool_]:
        sides = given[:, 2:] - given[:, :2]
        return np.asarray(((sides == 0) | (sides + first <= 0)).any(1))

    return has_no_area


def first_pixel(parted: dict[Split, list[Labelled]], config: DataConfig) -> tuple[int, str]:
    """What the source calls its first pixel, and the line that says so."""
    every = (picture for items in parted.values() for picture in items)
    zero = next((each for each in every if any(min(one.given[:2]) < 1 for one in each.objects)), None)
    if config.first_pixel != "auto":
        first = int(config.first_pixel)
        why = f"data.first_pixel={first}"
    else:
        first = 1 if zero is None else 0
        why = f"{zero.labels.name} has a box that begins there" if zero else "as VOC does; data.first_pixel=0 otherwise"
    taken = "1 is taken from xmin and ymin" if first else "nothing is taken from xmin and ymin"
    return first, f"pixels are counted from {first} ({why}): {taken}"


def _called(picture: Labelled, found: Object) -> str:
    return f"{picture.labels.name}: object {found.number} of {picture.count} ({found.name})"


def _unlabelled(config: DataConfig) -> str:
    return "stop" if config.unlabelled == "auto" else config.unlabelled


def _split_of(folder: str) -> Split | None:
    return next((split for name in reversed(folder.split("/")) if (split := split_named(name))), None)


def _lists(root: Path, folder: str) -> dict[Split, Path]:
    """The lists beside `Annotations`; `trainval` where train or val is not there."""
    place = root / os.path.dirname(folder) / "ImageSets" / "Main"  # noqa: PTH120
    at = {name: place / f"{name}.txt" for name in ("train", "val", "trainval", "test")}
    there = {name: path for name, path in at.items() if path.is_file()}
    if "trainval" in there and not {"train", "val"} <= set(there):
        there = {"train": there["trainval"], **{name: path for name, path in there.items() if name == "test"}}
    return {split: there[split] for split in SPLITS if split in there}


def _listed(
    root: Path, folder: str, names: set[str], lists: dict[Split, Path], pictures: PicturesByFolder, config: DataConfig
) -> tuple[dict[Split, list[Labelled]], list[str]]:
    found: dict[Split, list[Labelled]] = {}
    notes: list[str] = []
    listed_in: dict[str, Path] = {}
    for split, path in lists.items():
        stems = list(_stems(path, names))
        if not stems:
            raise InputError(f"{path}: names no picture; wanted one a line, or no such list")
        for number, stem in stems:
            other = listed_in.get(stem)
            if other is not None:
                where = "twice" if other == path else f"in {other.name} too"
                raise InputError(f"{path}:{number}: {stem} stands {where}; keep it once")
            listed_in[stem] = path
        if stems and not any(f"{stem}.xml" in names for _, stem in stems):
            notes.append(f"{path.name}: none of its {len(stems):,} pictures has labels: it is not used")
            continue
        items = []
        for number, stem in stems:
            xml = root / folder / f"{stem}.xml"
            picture = pictures.beside(folder, stem)
            if picture is None:
                raise InputError(f"{path}:{number}: no picture {stem} for {folder or '.'}/; mend the list")
            if f"{stem}.xml" in names:
                items.append(_read(xml, pictures, picture))
            elif _unlabelled(config) == "stop":
                raise InputError(
                    f"{picture.name}: no label file {xml.name}; data.unlabelled=empty takes it as a picture without "
                    "objects"
                )
            else:
                items.append(Labelled(picture, xml, [], missing=True))
        found[split] = items
    left = len({name[:-4] for name in names} - set(listed_in))
    if left:
        notes.append(f"{counted(left, 'picture')} of {folder} in none of the lists: not used")
    pictures.settle(folder)
    return found, notes


def _stems(path: Path, names: set[str]) -> Iterator[tuple[int, str]]:
    """The line and the name of each picture; a 1 or -1 behind it, folders before it and a suffix are passed over."""
    for number, line in enumerate(read_text(path, "list of pictures").splitlines(), 1):
        text = line.strip()
        if text:
            tries = [name for each in (text, text.split()[0]) for name in (each, Path(each).name, Path(each).stem)]
            yield number, next((name for name in tries if f"{name}.xml" in names), tries[3])


def _read(xml: Path, pictures: PicturesByFolder, picture: Path | None = None) -> Labelled:
    tree = read_xml(xml, _WHAT)
    if tree.tag != "annotation":
        raise InputError(f"{xml}: <{tree.tag}> with boxes? wanted <annotation>, as VOC has it")
    if picture is None:
        folder = pictures.relative(xml.parent)
        picture = pictures.beside(folder, xml.name[:-4]) or pictures.beside(
            folder, tree.findtext("filename", "").strip()
        )
    if picture is None:
        raise InputError(
            f"{xml}: no picture of that name{pictures.looked(pictures.relative(xml.parent))}; add it, or remove the XML"
        )
    objects = [_object(xml, number, one) for number, one in enumerate(tree.findall("object"), 1)]
    return Labelled(picture, xml, objects, _size(xml, tree), count=len(objects))


def _object(xml: Path, number: int, tree: Element) -> Object:
    name = (tree.findtext("name") or "").strip()
    where = f"{xml}: object {number}"
    if not name:
        raise InputError(f"{where}: no name; wanted <name> with its class")
    box = tree.find("bndbox")
    if box is None:
        raise InputError(f"{where} ({name}): no <bndbox>; polygons and points are not boxes")
    x1, y1, x2, y2 = (_number(f"{where} ({name})", corner, box.findtext(corner)) for corner in _CORNERS)
    difficult = (tree.findtext("difficult") or "").strip().casefold()
    if difficult not in _NO + _YES:
        raise InputError(f"{where} ({name}): difficult '{difficult}'; wanted 0 or 1")
    return Object(number, name, (x1, y1, x2, y2), difficult in _YES)


def _number(where: str, what: str, text: str | None) -> float:
    value = coordinate_in(text and text.strip())
    if math.isnan(value):
        raise InputError(
            f"{where}: {what} {'is missing' if text is None else f'{text.strip()[:80]!r}'}; wanted a number of px"
        )
    return value


def _size(xml: Path, tree: Element) -> tuple[int, int] | None:
    """(W, H); tools that do not know it leave it out, or write 0."""
    size = tree.find("size")
    if size is None:
        return None
    sides = [_number(f"{xml}: size", side, size.findtext(side) or "0") for side in ("width", "height")]
    if any(side < 0 or side != int(side) for side in sides):
        raise InputError(f"{xml}: size {sides[0]:g} x {sides[1]:g}; wanted whole numbers of px")
    return (int(sides[0]), int(sides[1])) if all(sides) else None
