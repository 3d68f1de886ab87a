"""Names of files as a tree of folders, from a disk or an archive: what hides is left out, names of one spelling."""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from deepres.base.errors import InputError
from deepres.base.wording import is_text, quoted
from deepres.data.sources.labels import BREAKS

_PROGRAMS = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "#recycle", "#snapshot"}
    | {"__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
)


_NEUTRAL = frozenset(
    {"image", "images", "img", "imgs", "pictures", "pics", "photos", "jpegimages", "jpg", "jpeg", "png"}
)

NO_TEXT = (
    "a name that is no UTF-8, as a zip of another system leaves it; rename it, or all below a folder: "
    "convmv -f cp1252 -t utf8 -r --notest FOLDER (cp1252: what the names were written in)"
)


@dataclass
class Folder:
    """A folder with what lies in it; `path` is relative to the top, whose own is "", with "/" between."""

    name: str
    path: str
    folders: dict[str, "Folder"] = field(default_factory=dict)
    pictures: list[str] = field(default_factory=list)  # paths
    others: list[str] = field(default_factory=list)

    @cached_property
    def full(self) -> list["Folder"]:
        """The folders in it that hold pictures, at any depth."""
        return [folder for folder in self.folders.values() if folder.holds]

    @cached_property
    def holds(self) -> bool:
        """Whether there are pictures in it, at any depth."""
        return bool(self.pictures or self.full)

    @cached_property
    def is_flat(self) -> bool:
        """Whether no folder in it tells its pictures apart: there is none, or one called `images`."""
        return all(is_neutral(folder.name) and folder.is_flat for folder in self.full)

    def at(self, where: str) -> str:
        """Its address, the top's being `where`."""
        return f"{where}/{self.path}" if self.path else where

    def every_picture(self) -> Iterator[str]:
        """Its pictures, at any depth."""
        for folder in self.every_folder():
            yield from folder.pictures

    def every_other(self) -> Iterator[str]:
        """Its other files, at any depth."""
        for folder in self.every_folder():
            yield from folder.others

    def every_folder(self) -> Iterator["Folder"]:
        """Itself and all below."""
        yield self
        for folder in self.folders.values():
            yield from folder.every_folder()


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to a program: `.git`, `__MACOSX`, `@eaDir`, `Thumbs.db`."""
    return name.startswith(".") or name.casefold() in _PROGRAMS


def is_neutral(name: str) -> bool:
    """Whether a folder so called says only that pictures lie in it."""
    return name.casefold() in _NEUTRAL


def in_order(paths: Iterable[str]) -> list[str]:
    """The paths by the names of their folders, then their own."""
    return sorted(paths, key=lambda path: path.split("/"))


def plain(name: str) -> str:
    """The name in one spelling: accents composed (NFC), no blanks at its ends, also none of no width."""
    return unicodedata.normalize("NFC", name).strip().strip("\u200b\ufeff").strip()


def grown(
    pictures: Iterable[str], others: Iterable[str], folders: Iterable[str], where: str
) -> tuple[Folder, tuple[str, ...]]:
    """The top folder of files given by relative names, and notes on names that are nearly alike.

    Raises:
        InputError: two folders whose names read alike; names that no table and no record can hold.
    """
    pictures, folders = list(pictures), list(folders)
    _require_text(chain(pictures, folders), where)
    top = Folder("", "")
    made: dict[str, Folder | None] = {"": top}

    def at(path: str) -> Folder | None:
        if path not in made:
            above, _, name = path.rpartition("/")
            parent = at(above)
            made[path] = None if parent is None or is_hidden(name) else Folder(name, path)
            if parent is not None and (inside := made[path]) is not None:
                parent.folders[name] = inside
        return made[path]

    for path in folders:
        at(path)
    for path in pictures:
        if (folder := at(path.rpartition("/")[0])) is not None:
            folder.pictures.append(path)
    for path in others:
        if (folder := at(path.rpartition("/")[0])) is not None and not is_hidden(path.rpartition("/")[2]):
            folder.others.append(path)
    notes = [note for folder in list(top.every_folder()) for note in _spelled(folder, where)]
    return top, tuple(notes)


def _require_text(names: Iterable[str], where: str) -> None:
    """Refuse names that are no UTF-8 (a zip of another system, unpacked) or go over several lines."""
    odd = [name for name in names if not name.isprintable()]
    for found, what in (
        ([name for name in odd if not is_text(name)], NO_TEXT),
        ([name for name in odd if BREAKS.search(name)], "a name with a line break; rename it"),
    ):
        if found:
            more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
            raise InputError(f"{where}: {quoted(found[0])}{more}: {what}")


def _spelled(folder: Folder, where: str) -> Iterator[str]:
    """Give the folders in it their plain names, in order; what there is to say."""
    named: dict[str, Folder] = {}
    for name in sorted(folder.folders, key=lambda name: (plain(name), name)):
        inside, spelled = folder.folders[name], plain(name)
        twin = named.get(spelled)
        if twin is not None and twin.holds and inside.holds:
            raise InputError(
                f"{folder.at(where)}: {twin.name!a} and {name!a} read alike "
                "(blanks at an end, or accents written in two ways); merge them, or rename one"
            )
        if name != name.strip() and inside.holds:
            yield f"'{name}' has a blank at its end: it is taken as '{spelled}'"
        if twin is None or inside.holds:
            named[spelled] = inside
    folded: dict[str, str] = {}
    for name in (name for name, inside in named.items() if inside.holds):
        seen = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
        other = folded.setdefault(seen.casefold(), name)
        if other != name:
            what = "case" if other.casefold() == name.casefold() else "what does not show"
            yield f"{quoted(other)} and {quoted(name)} differ in {what} only: they are two classes"
    folder.folders = named
