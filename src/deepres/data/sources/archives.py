"""A .zip or .tar of class folders: taken as the same folders on disk would be (layout.py), read where they lie.

Nothing is unpacked; each picture is read by its offset, so any order is as good, also from several processes. A .tar
that holds label files beside its pictures is a shard instead (shards.py). Cuts and digests are those of the folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from deepres.base.errors import InputError
from deepres.base.wording import counted
from deepres.data.formats import SUFFIXES
from deepres.data.images import Images
from deepres.data.sources.config import Depth, Splits
from deepres.data.sources.layout import arranged
from deepres.data.sources.pairs import holds_labels
from deepres.data.sources.shards import Shards
from deepres.data.sources.split_names import others_beside
from deepres.data.sources.splits import RawDataset, Split
from deepres.data.sources.tars import ArchivedFile, files_in
from deepres.data.sources.tree import is_hidden
from deepres.data.sources.zips import files_in_zip
from deepres.data.stored_images import StoredImages


@dataclass(frozen=True)
class Archive:
    """The files in it by name, its folders, and what there is to say of it."""

    files: dict[str, ArchivedFile]
    folders: tuple[str, ...]
    notes: tuple[str, ...]


def is_archive(path: Path) -> bool:
    """Whether `path` is a .zip, or a .tar without labels beside its pictures.

    Raises:
        InputError: a .tar that cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix != ".tar" or not path.is_file():
        return suffix == ".zip" and path.is_file()
    files = files_in(path).files
    return any(is_picture(name) and "/" in name for name in files) and not holds_labels(path, files)


def read_archive(path: Path, channels: int = 3, depth: Depth | None = None, splits: Splits = "auto") -> RawDataset:
    """The images of the class folders in `path`; `depth` and `splits` as in layout.py.

    Raises:
        InputError: what the archive or `arranged` refuse; a val/ without class folders.
    """
    archive = opened(path)
    pictures = [name for name in archive.files if is_picture(name)]
    others = [name for name in archive.files if not is_picture(name)]
    tables = [name for name in others if name.lower().endswith((".csv", ".tsv"))]
    try:
        layout = arranged(pictures, str(path), others=others, folders=archive.folders, depth=depth, splits=splits)
    except InputError as refusal:
        hint = f"; it holds {tables[0]} too: to use that, unpack the archive" if tables else ""
        raise InputError(f"{refusal.message}{hint}", refusal.table) from refusal
    notes = [*layout.notes, *archive.notes, *others_beside(path)]
    chosen: list[tuple[int, ArchivedFile]] = []
    labels: dict[Split, list[int]] = {}
    for split, listing in layout.splits.items():
        if listing.labels is None and split != "test":
            raise InputError(
                f"{path}/{listing.place}: no class folders; wanted {listing.place}/CLASS/IMAGE as in train/"
            )
        if listing.labels is None:
            notes.append(f"{listing.place}/ has no class folders, so no labels: it is not used")
            continue
        chosen += [(0, archive.files[name]) for name in listing.pictures]
        labels[split] = list(listing.labels)
    below = common_folder([placed.name for _, placed in chosen])
    store = Shards("/".join([str(path), below]).rstrip("/"), (path,), tuple(chosen), below)
    by_split: dict[Split, Images] = {}
    first = 0
    for split, theirs in labels.items():
        numbers = torch.arange(first, first + len(theirs))
        by_split[split] = StoredImages(store, numbers, torch.tensor(theirs), layout.classes, channels)
        first += len(theirs)
    return RawDataset(path.stem, "archive", layout.classes, by_split, channels, layout.ignored, tuple(notes))


def opened(path: Path) -> Archive:
    """What the archive holds; errors as in zips.py and tars.py."""
    if path.suffix.lower() == ".zip":
        return Archive(*files_in_zip(path))
    tar = files_in(path)
    notes = (
        (f"{path.name}: {counted(tar.replaced, 'member')} replaced by later ones of their name",)
        if tar.replaced
        else ()
    )
    return Archive(tar.files, tar.folders, notes)


def is_picture(name: str) -> bool:
    """Whether a file of that name is a picture that is shown."""
    last = name.rpartition("/")[2]
    return os.path.splitext(last)[1].lower() in SUFFIXES and not is_hidden(last)  # noqa: PTH122


def common_folder(names: list[str]) -> str:
    """`a/cat/1.jpg`, `a/dog/1.jpg` -> `a/`: what is called below it is called as below the folder on disk."""
    folders = {name.rpartition("/")[0] for name in names}
    common = os.path.commonpath(folders) if folders else ""
    return f"{common}/" if common else ""
