"""A folder on disk -> the names in it: pictures by suffix or content, other files, folders; no circles."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.files import open_regular
from deepres.data.formats import SUFFIXES, begins_as_picture
from deepres.data.sources.tree import is_hidden

_PLAIN = frozenset({".txt", ".xml", ".json", ".csv", ".md", ".cls", ".npy", ".npz", ".mat", ".py", ".yaml", ".html"})
"""Suffixes of files that are not looked into."""


@dataclass
class Scan:
    """Names relative to the folder, with "/" between, in the order of their parts."""

    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scanned(root: Path) -> Scan:
    """What lies below `root`, links followed once, hidden entries passed over.

    A picture is what has a picture's suffix, or begins as one (`IMG_1` without suffix, `1.jpeg_large`). Photographs
    that iCloud has put away (`.IMG_1.jpg.icloud`) are counted among them: they are wanted, and cannot be read.

    Raises:
        InputError: a folder cannot be listed.
    """
    found = Scan()
    above = map(os.stat, Path(os.path.realpath(root)).parents)
    _scan(str(root), "", found, tuple((each.st_dev, each.st_ino) for each in above))
    return found


def _scan(folder: str, path: str, found: Scan, above: tuple[tuple[int, int], ...]) -> None:
    try:
        own = os.stat(folder)  # noqa: PTH116 (a million names)
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as cause:
        raise InputError(f"{folder}: cannot be listed ({cause.strerror}); wanted a readable folder") from cause
    here = (*above, (own.st_dev, own.st_ino))
    for entry in inside:
        name = path + entry.name
        if is_hidden(entry.name):
            if entry.name.startswith(".") and entry.name.endswith(".icloud"):
                found.pictures.append(name)
        elif _is_folder(entry):
            if _identity(entry) in here:
                found.notes.append(f"{name}: a link to a folder that it lies in; it is not followed")
                continue
            found.folders.append(name)
            _scan(entry.path, f"{name}/", found, here)
        elif _is_picture(entry):
            found.pictures.append(name)
        else:
            found.others.append(name)
            if entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
                found.notes.append(f"{name}: a link to nothing; it is passed over")
            elif not entry.is_file():
                found.notes.append(f"{name}: no regular file but a pipe or a device; it is passed over")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(entry: os.DirEntry[str]) -> tuple[int, int]:
    seen = entry.stat()
    return seen.st_dev, seen.st_ino


def _is_picture(entry: os.DirEntry[str]) -> bool:
    """A pipe or a device is none, also behind a link; a link to nothing is wanted, and cannot be read."""
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
    if suffix in SUFFIXES:
        try:
            return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110
        except OSError:  # a link to itself: wanted too
            return True
    try:
        if suffix in _PLAIN or not entry.is_file():
            return False
        with open_regular(entry.path) as file:
            return begins_as_picture(file.read(256))
    except OSError:
        return False
