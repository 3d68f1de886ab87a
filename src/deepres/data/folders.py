"""Folders of class folders, with train/ val/ test/ or without: one's own, ImageNet's, Tiny ImageNet's.

    ROOT/CLASS/**/IMAGE                                 no split
    ROOT/train/CLASS/**/IMAGE  ROOT/val/…  ROOT/test/…  (val may be called validation or valid)

Classes are the sorted names of the class folders, as in torchvision (class10 before class2); images are found at any
depth below them. Hidden entries and __MACOSX are passed over; other files that are no images are counted.

ImageNet: where ROOT has `LOC_synset_mapping.txt`, `imagenet_class_index.json` or `words.txt`, folders named by WordNet
numbers keep their order and take those names (a name borne twice gets its number in brackets). A val/ without class
folders is labelled by ROOT/LOC_val_solution.csv or val/val_annotations.txt; a test/ without them has no labels: it is
left out, and the notes say so.
"""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from deepres.base.errors import InputError
from deepres.base.files import read_text
from deepres.data.decode import SUFFIXES
from deepres.data.sample import FileImages, Images
from deepres.data.splits import Found, Part

SPLITS: dict[str, Part] = {"train": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}
_FLAT = "images"  # Tiny ImageNet keeps the pictures of val and test in a folder of this name


@dataclass(frozen=True)
class _Listing:
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    ignored: int
    notes: tuple[str, ...] = ()


def read_folder(root: Path, channels: int = 3) -> Found:
    """The images below `root`, by the layouts above.

    Raises:
        InputError: no class folders, no images, an empty class, parts with different classes, a val without labels.
    """
    splits = _split_folders(root)
    listings: dict[Part, _Listing] = {}
    notes = _unused(root, splits)
    for part, folder in splits.items():
        if part == "train" or not _is_flat(folder):
            listings[part] = _read_classes(folder)
        elif part == "test":
            notes += (f"{folder.name}/ has no class folders, so no labels: it is not used",)
        else:
            listings[part] = _read_flat(root, folder, listings["train"].classes)
    for part, listing in listings.items():
        _require_same(root, listings["train"].classes, listing.classes, splits[part].name)
    classes = _titles(root, listings["train"].classes)
    parts: dict[Part, Images] = {
        part: FileImages(listing.paths, torch.tensor(listing.labels, dtype=torch.int64), classes, channels)
        for part, listing in listings.items()
    }
    ignored = sum(listing.ignored for listing in listings.values())
    notes += tuple(note for listing in listings.values() for note in listing.notes)
    return Found(root.resolve().name, "folder", classes, parts, channels, ignored, notes)


def images_under(folder: Path) -> list[Path]:
    """The image files in a folder and in those below it, in the order of their names."""
    return [path for path in _files(folder) if _is_image(path.name)]


def _split_folders(root: Path) -> dict[Part, Path]:
    """Train first; `root` alone where its folders are classes."""
    found: dict[Part, Path] = {}
    folders = _folders(root)
    for folder in folders:
        part = SPLITS.get(folder.name.lower())
        if part in found:
            raise InputError(f"{root}: both {found[part].name}/ and {folder.name}/ mean {part}; remove one")
        if part:
            found[part] = folder
    if "train" in found:
        return {"train": found["train"], **found}
    if found and len(found) == len(folders):
        names = " and ".join(f"{folder.name}/" for folder in found.values())
        raise InputError(f"{root}: {names} but no train/; wanted {root}/train/CLASS/IMAGE")
    return {"train": root}


def _unused(root: Path, splits: dict[Part, Path]) -> tuple[str, ...]:
    if splits == {"train": root}:
        return ()
    beside = [folder.name for folder in _folders(root) if folder not in splits.values()]
    return tuple(f"{name}/ stands beside {splits['train'].name}/: it is not used" for name in beside)


def _read_classes(root: Path) -> _Listing:
    folders = _folders(root)
    outside = [entry for entry in _visible(root) if not entry.is_dir()]
    loose = sum(_is_image(entry.name) for entry in outside)
    others = Counter(Path(entry.name).suffix.lower() for entry in outside if not _is_image(entry.name))
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        for file in _files(folder):
            if _is_image(file.name):
                paths.append(file)
                labels.append(label)
            else:
                others[file.suffix.lower()] += 1
    if not paths:
        given = f"{loose} images outside class folders" if loose else "no images"
        kinds = f" ({others.total()} other files: {', '.join(sorted(others)[:5])})" if others else ""
        raise InputError(f"{root}: {given}{kinds}; wanted one folder a class, such as {root}/cat/1.jpg")
    empty = sorted(set(range(len(folders))) - set(labels))
    if empty:
        raise InputError(f"{folders[empty[0]]}: a class without images; add some or remove the folder")
    notes = (f"outside the class folders of {root.name}/: {loose} not used",) if loose else ()
    return _Listing(tuple(folder.name for folder in folders), tuple(paths), tuple(labels), others.total(), notes)


def _read_flat(root: Path, folder: Path, classes: tuple[str, ...]) -> _Listing:
    """The images of a val/ without class folders, labelled by a file beside it or in it."""
    files = list(_files(folder))
    images = [file for file in files if _is_image(file.name)]
    class_of = _flat_labels(root, folder)
    if class_of is None:
        raise InputError(
            f"{folder}: no class folders and no labels; wanted {folder}/CLASS/IMAGE as in train/, "
            f"{root / 'LOC_val_solution.csv'} or {folder / 'val_annotations.txt'}"
        )
    index = {name: label for label, name in enumerate(classes)}
    strange = [file for file in images if class_of.get(file.stem) not in index]
    if strange:
        given = class_of.get(strange[0].stem)
        raise InputError(f"{strange[0]}: " + (f"class '{given}' is not in train/" if given else "has no label; add it"))
    labels = tuple(index[class_of[file.stem]] for file in images)
    return _Listing(classes, tuple(images), labels, len(files) - len(images))


def _flat_labels(root: Path, folder: Path) -> dict[str, str] | None:
    """File name without suffix -> class; `image_1,n01440764 1 2 3 4` (Kaggle) or `image_1.JPEG⇥n01440764⇥…` (Tiny)."""
    solution, annotations = root / "LOC_val_solution.csv", folder / "val_annotations.txt"
    if solution.is_file():
        rows = csv.reader(read_text(solution, "table of labels").splitlines()[1:])
        return {row[0]: row[1].split()[0] for row in rows if len(row) > 1 and row[1].strip()}
    if annotations.is_file():
        fields = [line.split("\t") for line in read_text(annotations, "table of labels").splitlines()]
        return {Path(row[0]).stem: row[1] for row in fields if len(row) > 1}
    return None


def _require_same(root: Path, classes: tuple[str, ...], others: tuple[str, ...], name: str) -> None:
    added, lacking = sorted(set(others) - set(classes)), sorted(set(classes) - set(others))
    if added or lacking:
        facts = [f"only in {where}/: {_some(names)}" for where, names in (("train", lacking), (name, added)) if names]
        raise InputError(f"{root}: train/ and {name}/ have different classes ({'; '.join(facts)}); make them the same")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _titles(root: Path, folders: tuple[str, ...]) -> tuple[str, ...]:
    """The folders' names, or what they mean where a list of WordNet numbers in `root` knows them all."""
    meaning = _meanings(root)
    if not all(folder in meaning for folder in folders):
        return folders
    times = Counter(meaning[folder] for folder in folders)
    return tuple(meaning[f] if times[meaning[f]] == 1 else f"{meaning[f]} ({f})" for f in folders)


def _meanings(root: Path) -> dict[str, str]:
    index = root / "imagenet_class_index.json"
    for name, gap in (("LOC_synset_mapping.txt", " "), ("words.txt", "\t")):
        if (root / name).is_file():
            lines = read_text(root / name, "list of class names").splitlines()
            return {number: title.strip() for number, _, title in (line.partition(gap) for line in lines) if title}
    if not index.is_file():
        return {}
    try:
        return {
            str(number): str(title) for number, title in json.loads(read_text(index, "list of class names")).values()
        }
    except (ValueError, AttributeError, TypeError) as cause:
        raise InputError(f'{index}: wanted {{"0": ["n01440764", "tench"], …}}; mend or remove it') from cause


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 (a million names)


def _is_flat(folder: Path) -> bool:
    return [inside.name for inside in _folders(folder)] in ([], [_FLAT])


def _folders(root: Path) -> list[Path]:
    return [root / entry.name for entry in _visible(root) if entry.is_dir()]


def _files(folder: Path) -> Iterator[Path]:
    for entry in _visible(folder):
        if entry.is_dir():
            yield from _files(folder / entry.name)
        else:
            yield folder / entry.name


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            seen = [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    except OSError as cause:
        raise InputError(f"{folder}: cannot be listed ({cause.strerror}); wanted a readable folder") from cause
    return sorted(seen, key=lambda entry: entry.name)
