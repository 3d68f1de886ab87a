"""A table or list as text -> rows of cells: its encoding, what separates its cells, blank lines and comments.

UTF-8, UTF-16 and UTF-32 are told by their marks; what is no UTF-8 is read as Windows-1252, which holds Latin-1, and a
note says so. Comma, tab, semicolon or | separate cells, or blanks: then a path may hold blanks too.
"""

import codecs
import csv
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.files import open_regular
from deepres.base.reading import require_small
from deepres.data.formats import SUFFIXES

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SEPARATORS = (",", "\t", ";", "|")
BLANKS = " \t\r\n\v\f\u00a0\u200b\ufeff"  # at the ends of cells
_MOST = 2**30  # bytes of a table: ten million rows
_SAMPLE = 200  # rows by which the separator is told
_PATH_FIRST = re.compile(
    rf"(.+?(?:{'|'.join(re.escape(suffix) for suffix in sorted(SUFFIXES, key=len, reverse=True))}))\s+(\S.*)", re.I
)
_NO_TABLES = {
    b"<!doctype": "a web page (HTML) under the name of a table: the download went wrong; fetch it anew",
    b"<html": "a web page (HTML) under the name of a table: the download went wrong; fetch it anew",
    b"version https://git-lfs": "a git-lfs pointer, not the table itself; fetch it with: git lfs pull",
    b"par1": "a Parquet file; write it as CSV (pandas: read_parquet(…).to_csv(…, index=False))",
    b"pk\x03\x04": "a zip archive, as Excel's files are; save it as CSV, or unpack it",
    b"\x1f\x8b": "packed with gzip; unpack it",
    b"{": "JSON; write it as CSV",
    b"[{": "JSON; write it as CSV",
}
"""How files begin, in small letters, that are no tables, and what to do."""
_WORD = {",": "','", "\t": "a tab", ";": "';'", "|": "'|'", " ": "a blank"}

Cells = tuple[int, list[str]]
"""The number of the line, and its cells without blanks at their ends."""


def cell_in(cells: Sequence[str], at: int) -> str:
    """The cell of a column; "" where the line ends before it."""
    return cells[at] if at < len(cells) else ""


@dataclass(frozen=True)
class Rows:
    """All rows, the first one perhaps a header; `separator` as it would be said."""

    cells: list[Cells]
    separator: str
    notes: tuple[str, ...]


def read_rows(path: Path, is_header: Callable[[Sequence[str]], bool]) -> Rows:
    """The rows of `path` that are neither blank nor comments (#); `is_header` knows a header behind a # too.

    Raises:
        InputError: it cannot be read, is no text, has no rows, or a row that cannot be cut into cells.
    """
    text, notes = _text(path)
    separator = None
    if (said := re.match(r"sep=(.)\r?\n", text)) and said[1] in _SEPARATORS:  # Excel's
        separator, text = said[1], "\n" + text[said.end() :]
    separator = separator or _separator(path, text)
    cells, comments = _without_comments(path, list(_parsed(path, text, separator)), is_header)
    if not cells:
        raise InputError(f"{path}: no rows; wanted a first line with column names and one line an image")
    broken = next((number for number, row in cells if any("\n" in cell for cell in row)), None)
    if broken is not None:
        raise InputError(f"{path}: line {broken}: a cell goes over several lines; is a quote not closed?")
    if comments:
        notes += (f"{path.name}: {comments} lines that begin with # are passed over",)
    return Rows(cells, _WORD[separator], notes)


def is_picture(cell: str) -> bool:
    """Whether a cell ends as the name of an image file does."""
    return os.path.splitext(cell)[1].lower() in SUFFIXES  # noqa: PTH122 (a million cells)


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    require_small(path, "table of images", _MOST)
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError as cause:
        raise InputError(f"{path}: wanted a readable table of images; {cause.strerror}") from cause
    if (kind := _kind(content[:256])) is not None:
        raise InputError(f"{path}: {kind}; wanted a table of paths and labels as text (CSV)")
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _decoded(path, content[len(mark) :], encoding), ()
    if b"\0" in content[:4096]:
        halves = content[:4096:2].count(0), content[1:4096:2].count(0)
        if content[:4].count(0) == 2 and max(halves) > 10 * min(halves):  # UTF-16 without its mark
            return _decoded(path, content, "utf-16-be" if halves[0] > halves[1] else "utf-16-le"), ()
        raise InputError(f"{path}: holds bytes of zero, so it is no text; wanted a table of paths and labels (CSV)")
    try:
        return content.decode(), ()
    except UnicodeDecodeError:
        text = _decoded(path, content, "cp1252")
    return text, (f"{path.name} is not UTF-8: read as Windows-1252 (Latin-1); save it as UTF-8 if names look wrong",)


def _kind(start: bytes) -> str | None:
    """What a file of that beginning is, where it is known and no table."""
    text = start.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    known = (told for beginning, told in _NO_TABLES.items() if text.startswith(beginning))
    return next(known, None)


def _decoded(path: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as cause:
        raise InputError(f"{path}: neither UTF-8 nor {encoding} ({cause.reason}); save it as UTF-8") from cause


def _separator(path: Path, text: str) -> str:
    """What cuts the first rows into equally many cells, one of them a picture's name where there are such names."""
    sample = "\n".join(text.splitlines()[: _SAMPLE + 50])
    cut = {separator: _sampled(path, sample, separator) for separator in (*_SEPARATORS, " ")}
    even = [s for s, rows in cut.items() if rows and len(rows[0]) > 1 and len({len(row) for row in rows}) == 1]
    named = [
        s for s in even if any(all(map(is_picture, column)) for column in zip(*(cut[s][1:] or cut[s]), strict=True))
    ]
    for choice in (named, [s for s in even if s != " "]):
        if len(choice) > 1 and " " in choice:
            choice = [s for s in choice if s != " "]
        if len(choice) > 1:
            given = " or ".join(_WORD[s] for s in choice)
            raise InputError(f"{path}: cells separated by {given}? put quotes around cells that hold the other one")
        if choice:
            return choice[0]
    first = text.lstrip().partition("\n")[0]
    most = max(_SEPARATORS, key=first.count)
    return most if most in first else " "


def _sampled(path: Path, sample: str, separator: str) -> list[list[str]]:
    try:
        rows = [cells for _, cells in _parsed(path, sample, separator) if any(cells) and not cells[0].startswith("#")]
    except InputError:
        return []
    return rows[:_SAMPLE]


def _parsed(path: Path, text: str, separator: str) -> Iterator[Cells]:
    if separator == " ":
        for number, line in enumerate(text.splitlines(), start=1):
            yield number, _words(line.strip(BLANKS))
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        for cells in reader:
            yield reader.line_num, [cell.strip(BLANKS) for cell in cells]
    except csv.Error as cause:
        raise InputError(f"{path}: line {reader.line_num}: {cause}; wanted a table separated by commas") from cause


def _words(line: str) -> list[str]:
    """`my cat.jpg 3` -> its path and what follows; `3 my cat.jpg` likewise; without a suffix the last word apart."""
    if line.startswith('"') and (end := line.find('"', 1)) > 0:
        return [line[1:end], *line[end + 1 :].split()]
    if found := _PATH_FIRST.fullmatch(line):
        return [found[1], *found[2].split()]
    if is_picture(line) and len(line.split()) > 1:
        return line.split(None, 1)
    return line.rsplit(None, 1)


def _without_comments(
    path: Path, rows: list[Cells], is_header: Callable[[Sequence[str]], bool]
) -> tuple[list[Cells], int]:
    kept: list[Cells] = []
    comments = 0
    for number, cells in rows:
        if not any(cells):
            continue
        if cells[0].startswith("#") and not os.path.exists(path.parent / cells[0]):  # noqa: PTH110
            names = [cells[0].lstrip("# "), *cells[1:]]
            if not kept and is_header(names):
                kept.append((number, names))
            else:
                comments += 1
            continue
        kept.append((number, cells))
    return kept, comments
