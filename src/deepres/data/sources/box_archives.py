"""A .zip or .tar of pictures and their labels of boxes: read as the same folder would be (boxed.py), where they lie.

The labels, and of each picture what its header takes, stand in a temporary folder while they are read; pictures are
read from the archive by their offset, as those of class folders are (archives.py).
"""

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from deepres.base.errors import InputError
from deepres.data.decode import BadImageError, header_of
from deepres.data.images import Images
from deepres.data.sources.archives import Archive, common_folder, is_picture, opened
from deepres.data.sources.boxed import LABELS, boxes_in_folder, holds_boxes
from deepres.data.sources.config import DataConfig
from deepres.data.sources.masks_voc import FOLDER
from deepres.data.sources.scan import Scan
from deepres.data.sources.shards import Shards
from deepres.data.sources.splits import RawDataset, Split
from deepres.data.sources.tars import ArchivedFile, read_at
from deepres.data.sources.tree import is_hidden
from deepres.data.stored_images import StoredImages

_HEAD = 2**16  # bytes in which a header lies, as a rule


def boxes_in_archive(path: Path, config: DataConfig, channels: int) -> RawDataset | None:
    """The images of an archive with their boxes; None where it holds no labels of boxes, or class folders.

    Raises:
        InputError: what the archive or the reader of its labels refuse.
    """
    if config.targets not in ("auto", "boxes"):
        return None
    archive = opened(path)
    labels = [name for name in archive.files if name.lower().endswith(LABELS) and not _is_hidden(name)]
    if not labels and config.boxes == "auto" and config.targets != "boxes":
        return None
    with TemporaryDirectory(prefix="deepres-") as place:
        root = Path(place).resolve()
        try:
            return _read(path, archive, labels, root, config, channels)
        except InputError as refusal:
            told = [line.replace(str(root), str(path)) for line in (refusal.message, *refusal.table)]
            raise InputError(told[0], tuple(told[1:])) from refusal


def _read(
    path: Path, archive: Archive, labels: list[str], root: Path, config: DataConfig, channels: int
) -> RawDataset | None:
    shown = sorted((name for name in archive.files if not _is_hidden(name)), key=lambda name: name.split("/"))
    top = common_folder(shown)
    pictures = [name for name in shown if is_picture(name)]
    scan = Scan(
        pictures=[name[len(top) :] for name in pictures],
        others=[name[len(top) :] for name in shown if not is_picture(name)],
        folders=[name[len(top) :] for name in archive.folders if name.startswith(top)],
    )
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for name in labels:
            _write(root / name, read_at(descriptor, archive.files[name], f"{path}/{name}"))
        if not holds_boxes(root / top, scan, config):
            return None
        for name in pictures:
            whole = FOLDER in name.split("/")
            read = read_at if whole else _head
            _write(root / name, read(descriptor, archive.files[name], f"{path}/{name}"))
    finally:
        os.close(descriptor)
    found = boxes_in_folder(root / top, scan, config, channels)
    return None if found is None else _in_place(found, path, archive, root)


def _in_place(found: RawDataset, path: Path, archive: Archive, root: Path) -> RawDataset:
    """The same with the archive's pictures in place of files."""
    names = {
        split: [file.resolve().relative_to(root).as_posix() for file in images.paths]
        for split, images in found.splits.items()
    }
    chosen = [(0, archive.files[name]) for each in names.values() for name in each]
    below = common_folder([placed.name for _, placed in chosen])
    store = Shards("/".join([str(path), below]).rstrip("/"), (path,), tuple(chosen), below)
    splits: dict[Split, Images] = {}
    first = 0
    for split, images in found.splits.items():
        numbers = torch.arange(first, first + len(images))
        splits[split] = StoredImages(store, numbers, images.targets, images.classes, found.channels)
        first += len(images)
    notes = tuple(note.replace(str(root), str(path)) for note in (*found.notes, *archive.notes))
    return replace(found, name=path.stem, splits=splits, notes=notes)


def _head(descriptor: int, placed: ArchivedFile, where: str) -> bytes:
    """The beginning of a picture where that tells its header, else all of it; nothing of one that is damaged."""
    try:
        content = read_at(descriptor, placed, where)
    except BadImageError:
        return b""
    try:
        header_of(content[:_HEAD], where)
    except BadImageError:
        return content
    return content[:_HEAD]


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _is_hidden(name: str) -> bool:
    return any(is_hidden(part) for part in name.split("/"))
