"""Folders of class folders on disk, with train/ val/ test/ or without: one's own, ImageNet's, Tiny ImageNet's.

What is a class and what a split: layout.py. Hidden entries are passed over; other files that are no images are counted.

ImageNet: where ROOT has `LOC_synset_mapping.txt`, `imagenet_class_index.json` or `words.txt`, folders named by WordNet
numbers keep their order and take those names (a name borne twice gets its number in brackets). A val/ without class
folders is labelled by ROOT/LOC_val_solution.csv or val/val_annotations.txt; a test/ without them has no labels: it is
left out, and the notes say so.
"""

import csv
from collections import Counter
from pathlib import Path

import torch

from deepres.base.errors import InputError
from deepres.base.files import read_text
from deepres.base.reading import json_object, reading
from deepres.data.images import FileImages, Images
from deepres.data.sources.config import Depth, Splits
from deepres.data.sources.layout import Layout, arranged
from deepres.data.sources.scan import Scan, scanned
from deepres.data.sources.splits import RawDataset, Split


def read_folder(
    root: Path, channels: int = 3, depth: Depth | None = None, splits: Splits = "auto", scan: Scan | None = None
) -> RawDataset:
    """The images below `root`; `depth` and `splits` as in layout.py, `scan` what it holds where that is known.

    Raises:
        InputError: what `arranged` refuses, a val/ without labels, labels of classes that train/ has not.
    """
    scan = scan or scanned(root)
    try:
        layout = arranged(
            scan.pictures, str(root), others=scan.others, folders=scan.folders, depth=depth, splits=splits
        )
    except InputError as refusal:
        raise InputError(f"{refusal.message}{_instead(root, scan)}", refusal.table) from refusal
    notes = [*layout.notes, *scan.notes]
    classes = titles(root, layout.classes)
    by_split: dict[Split, Images] = {}
    for split, listing in layout.splits.items():
        paths, labels = tuple(root / path for path in listing.pictures), listing.labels
        if labels is None and split == "test":
            notes.append(f"{listing.place}/ has no class folders, so no labels: it is not used")
            continue
        if labels is None:
            labels = _labels(root, root / listing.place, paths, layout)
        by_split[split] = FileImages(paths, torch.tensor(labels, dtype=torch.int64), classes, channels)
    return RawDataset(root.resolve().name, "folder", classes, by_split, channels, layout.ignored, tuple(notes))


def images_under(folder: Path) -> list[Path]:
    """The image files in a folder and in those below it, in the order of their names."""
    return [folder / path for path in scanned(folder).pictures]


def _instead(root: Path, scan: Scan) -> str:
    """What to give in place of a folder that is refused: a table in it; of one without pictures, an archive in it."""
    kinds = (".csv", ".tsv") if scan.pictures else (".csv", ".tsv", ".zip", ".tar", ".npz")
    near = [name for name in scan.others if name.lower().endswith(kinds) and name.count("/") < 2]
    near.sort(key=lambda name: ("train" not in name.lower(), "label" not in name.lower(), name.count("/"), name))
    return f"; or, to use what {near[0]} in it holds, give {root / near[0]}" if near else ""


def _labels(root: Path, folder: Path, images: tuple[Path, ...], layout: Layout) -> tuple[int, ...]:
    """Of the images of a val/ without class folders, as a file beside it or in it says."""
    class_of = _flat_labels(root, folder)
    if class_of is None:
        raise InputError(
            f"{folder}: no class folders and no labels; wanted {folder}/CLASS/IMAGE as in train/, "
            f"{root / 'LOC_val_solution.csv'} or {folder / 'val_annotations.txt'}"
        )
    index = {name: label for label, name in enumerate(layout.classes)}
    strange = [file for file in images if class_of.get(file.stem) not in index]
    if strange:
        given = class_of.get(strange[0].stem)
        raise InputError(f"{strange[0]}: " + (f"class '{given}' is not in train/" if given else "has no label; add it"))
    return tuple(index[class_of[file.stem]] for file in images)


def _flat_labels(root: Path, folder: Path) -> dict[str, str] | None:
    """File name without suffix -> class; `image_1,n01440764 1 2 3 4` (Kaggle) or `image_1.JPEG⇥n01440764⇥…` (Tiny)."""
    solution, annotations = root / "LOC_val_solution.csv", folder / "val_annotations.txt"
    if solution.is_file():
        rows = csv.reader(read_text(solution, "table of labels").splitlines()[1:])
        with reading(solution, "a table of labels", "fetch it again"):
            return {row[0]: row[1].split()[0] for row in rows if len(row) > 1 and row[1].strip()}
    if annotations.is_file():
        fields = [line.split("\t") for line in read_text(annotations, "table of labels").splitlines()]
        return {Path(row[0]).stem: row[1] for row in fields if len(row) > 1}
    return None


def titles(root: Path, folders: tuple[str, ...]) -> tuple[str, ...]:
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
    remedy = 'wanted {"0": ["n01440764", "tench"], …}; mend or remove it'
    facts = json_object(index, "list of class names", remedy)
    with reading(index, "a list of class names", remedy):
        return {str(number): str(title) for number, title in facts.values()}
