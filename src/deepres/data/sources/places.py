"""Where the files that a table names lie: relative to it, or to a folder beside it; what is missing is named.

A cell without a suffix means the one picture of that name. Backslashes separate folders as on Windows.
"""

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.files import what_lies
from deepres.data.sources.rows import is_picture

_SHOWN = 10
_FIRST = 10_000  # rows by which the place of the files is told
_PICTURES = frozenset({"images", "image", "imgs", "img", "jpg", "jpeg", "png", "photos", "pictures"})
"""Folders beside that of a table in which its pictures may lie; any other might be another set's."""
_ADDRESS = re.compile(r"[a-z][a-z0-9+.\-]+://", re.IGNORECASE)
_DRIVE = re.compile(r"[a-zA-Z]:[\\/]|\\\\")


class Folders:
    """What files stand in which folders; each folder is listed once."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._plain: dict[str, dict[str, list[str]]] = {}
        self._closed: dict[str, str] = {}

    def find(self, base: str, name: str) -> list[str]:
        """The files that `name` below `base` means: one where all is well."""
        folder, last = os.path.split(os.path.normpath(os.path.join(base, name)))  # noqa: PTH118 (a million names)
        if last in self._listed(folder):
            return [f"{folder}{os.sep}{last}" if folder != os.sep else f"{os.sep}{last}"]
        return [os.path.join(folder, other) for other in self._alike(folder).get(_normal(last), ())]  # noqa: PTH118

    def otherwise(self, base: str, name: str) -> str | None:
        """A file of that name but for upper and lower case."""
        folder, last = os.path.split(os.path.normpath(os.path.join(base, name)))  # noqa: PTH118
        return next((other for other in self._listed(folder) if other.casefold() == last.casefold()), None)

    def instead(self, base: str, name: str) -> str | None:
        """What lies there that is no file, or why nothing can be seen there."""
        folder, last = os.path.split(os.path.normpath(os.path.join(base, name)))  # noqa: PTH118
        if folder in self._closed:
            return f"{folder} may not be listed ({self._closed[folder]}); mend its permissions"
        try:
            found = what_lies(Path(folder, last))
        except (OSError, ValueError):  # what can be no name
            return None
        return None if found is None else f"{found} lies there; wanted a picture"

    def _listed(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                with os.scandir(folder or ".") as entries:
                    self._names[folder] = frozenset(entry.name for entry in entries if entry.is_file())
            except (
                OSError,
                ValueError,
            ) as cause:  # no such folder, nor can there be: what it should hold is missing
                self._names[folder] = frozenset()
                if isinstance(cause, PermissionError):
                    self._closed[folder] = cause.strerror or "permission denied"
        return self._names[folder]

    def _alike(self, folder: str) -> dict[str, list[str]]:
        """By name as Unicode composes it, and by name without a picture's suffix."""
        if folder not in self._plain:
            by_name: dict[str, list[str]] = {}
            for name in sorted(self._listed(folder)):
                by_name.setdefault(_normal(name), []).append(name)
                if is_picture(name):
                    by_name.setdefault(_normal(os.path.splitext(name)[0]), []).append(name)  # noqa: PTH122
            self._plain[folder] = by_name
        return self._plain[folder]


def files_of(table: Path, cells: Sequence[tuple[int, str]]) -> tuple[list[Path], tuple[str, ...]]:
    """The file of each (line, path), and notes: where they lie, if not beside the table.

    Raises:
        InputError: an address, a name that several files have, files that are missing (counted, the first ten named).
    """
    names = [_spelled(table, line, cell) for line, cell in cells]
    folders = Folders()
    own = str(table.parent)
    base = own
    notes: tuple[str, ...] = ()
    if not any(folders.find(own, name) for name in names[:_FIRST]):
        base = next(_elsewhere(table, folders, names), own)
        if base != own:
            notes = (f"{table.name}: its paths are relative to {os.path.relpath(base, own)}{os.sep}",)
        elif len(names) > _FIRST:  # a table of another place is told as that, however long it is
            first = [(line, name) for (line, _), name in zip(cells, names[:_FIRST], strict=False)]
            raise _missing(table, folders, own, first, len(names))
    found = [folders.find(base, name) for name in names]
    lines = [line for line, _ in cells]
    for line, name, files in zip(lines, names, found, strict=True):
        if len(files) > 1:
            both = " and ".join(Path(file).name for file in files[:3])
            raise InputError(f"{table}: line {line}: '{name}' may be {both}; write it with its suffix")
    missing = [(line, name) for line, name, files in zip(lines, names, found, strict=True) if not files]
    if missing:
        raise _missing(table, folders, own, missing, len(names))
    return [Path(files[0]) for files in found], notes


def _elsewhere(table: Path, folders: Folders, names: Sequence[str]) -> Iterator[str]:
    """The one folder beside the table, below or above, that has all the files; nothing where there is none.

    Raises:
        InputError: several have them.
    """
    own = table.parent.absolute()
    above = [own.parent, *(folder for folder in _inside(own.parent) if folder.name.lower() in _PICTURES)]
    bases = [str(base) for base in dict.fromkeys([*_inside(own), *above]) if base != own]
    holding = [base for base in bases if folders.find(base, names[0]) and all(folders.find(base, n) for n in names)]
    if len(holding) > 1:
        given = " and ".join(os.path.relpath(base, own) for base in holding[:3])
        raise InputError(f"{table}: its files lie in {given}; write the paths relative to the table")
    yield from holding


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError:  # may not be listed: then nothing is looked for there
        return []


def _spelled(table: Path, line: int, cell: str) -> str:
    if _ADDRESS.match(cell):
        raise InputError(f"{table}: line {line}: '{cell}' is an address; download the images and write their paths")
    if _DRIVE.match(cell):
        raise InputError(
            f"{table}: line {line}: '{cell}' is a place on a Windows machine; write paths relative to the table"
        )
    if "\\" in cell and os.sep == "/" and not os.path.exists(table.parent / cell):  # noqa: PTH110 (False of what cannot be a name)
        cell = cell.replace("\\", "/")
    return str(Path(cell).expanduser()) if cell.startswith("~/") else cell


def _missing(table: Path, folders: Folders, own: str, missing: list[tuple[int, str]], total: int) -> InputError:
    line, name = missing[0]
    first = "the first " if len(missing) == _FIRST < total else ""
    whole = Path(os.path.normpath(Path(own) / name))
    near = folders.otherwise(own, name)
    hint = "paths are relative to the table"
    if instead := folders.instead(own, name):
        hint = instead
    elif near:
        hint = f"there is {near}, in other letters"
    elif Path(name).is_absolute():
        hint = "as on the machine where the table was written? write paths relative to the table"
    if len(missing) == 1:
        return InputError(f"{table}: line {line}: no file {whole}; {hint}")
    more = [f"… and {len(missing) - _SHOWN} more"] if len(missing) > _SHOWN else []
    return InputError(
        f"{table}: {first}{len(missing)} of {total} files are missing, the first in line {line}: "
        f"no file {whole}; {hint}",
        [f"line {line}: {name}" for line, name in missing[:_SHOWN]] + more,
    )


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
