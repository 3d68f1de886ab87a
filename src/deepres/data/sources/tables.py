"""Tables of images: paths and labels, with a column of splits or without; and a split written as one.

    path,label,split
    cats/1.jpg,cat,train

A CSV, or a list `path label` as Caffe's, ImageNet's and MXNet's, read by rows.py; columns.py says which column is what,
places.py where the files lie, labels.py what labels mean. Classes are the sorted labels (by value where all are whole
numbers), or in the order of a column `label_index` where there is one.
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from deepres.base.errors import InputError
from deepres.base.files import write_atomic
from deepres.base.wording import counted
from deepres.data.images import FileImages, Images
from deepres.data.sources.columns import INDEX, Columns, Role, asked_for, columns_of, is_header
from deepres.data.sources.labels import cleaned, in_order
from deepres.data.sources.places import Folders, files_of
from deepres.data.sources.rows import BLANKS, Cells, is_picture, read_rows
from deepres.data.sources.split_names import others_beside, part_told
from deepres.data.sources.splits import PARTS, Found, Part

SUFFIXES = (".csv", ".tsv", ".txt", ".lst")


def read_table(path: Path, columns: str | None = None, channels: int = 3) -> Found:
    """The images listed in `path`; `columns` says which hold what, where their names do not (columns.py).

    A row may stand several times in the training part: its image is then drawn as often.

    Raises:
        InputError: an unknown column, no rows, an empty cell, a split of another name, a missing file; a file with two
            labels, in two parts, or twice in a part that is measured.
    """
    asked = asked_for(columns, str(path))
    table = read_rows(path, is_header)
    first = table.cells[0][1]
    header = tuple(first) if _has_header(path, first, asked) else None
    surely = header is None or is_header(first) or set(asked.values()) <= set(first)
    named: tuple[str, ...] = ()
    if not surely:
        named = (f"{path.name}: its first line ({', '.join(first[:5])}) is taken as names of columns",)
    rows = table.cells if header is None else table.cells[1:]
    if not rows:
        raise InputError(f"{path}: no rows; wanted a first line with column names and one line an image")
    of = columns_of(path, header, rows, asked)
    _require_width(path, rows, len(of.header), table.separator)
    files, where = files_of(path, [(line, _cell(path, line, cells, of, of.path)) for line, cells in rows])
    lines = [line for line, _ in rows]
    if of.label is None:
        hot = np.array([[float(cells[at]) for at in of.one_hot] for _, cells in rows]).argmax(axis=1)
        labels = [of.header[of.one_hot[place]] for place in hot.tolist()]
    else:
        given = [_cell(path, line, cells, of, of.label) for line, cells in rows]
        labels, told = cleaned(given, lambda i: f"{path}: line {lines[i]}")
        named += told
    parts = None
    if of.split is not None:
        parts = [_part(path, line, of.header[of.split], _cell(path, line, cells, of, of.split)) for line, cells in rows]
    listed, repeated = _listed(path, lines, files, labels, parts)
    numbers = _numbers(path, rows, labels, of)
    classes = tuple(of.header[at] for at in of.one_hot) if of.one_hot else _classes(path, set(labels), numbers)
    index = {name: label for label, name in enumerate(classes)}
    found: dict[Part, Images] = {
        part: FileImages(
            tuple(file for file, _ in images), torch.tensor([index[label] for _, label in images]), classes, channels
        )
        for part, images in listed.items()
    }
    notes = (*table.notes, *of.notes, *where, *named, *repeated, *(() if parts else others_beside(path)))
    return Found(path.stem, "table", classes, found, channels, notes=notes)


def write_table(path: Path, parts: Mapping[str, Images], source: str) -> None:
    """The parts as CSV (path, label, split), paths relative to it; `read_table` gives the same parts and classes.

    Raises:
        InputError: the images lie in memory, and have no paths.
    """
    classes = next(iter(parts.values())).classes
    numbered = classes != in_order(set(classes))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split"] + [INDEX] * numbered)
    for part, images in parts.items():
        if not images.paths:
            raise InputError(
                f"{source}: its images are no files to be listed; split_seed and fractions repeat the split"
            )
        for file, label in zip(images.paths, images.targets.tolist(), strict=True):
            place = Path(os.path.relpath(file, path.parent)).as_posix()
            place = f"./{place}" if place != place.strip(BLANKS) or place[0] == "#" else place
            writer.writerow([place, classes[label], part] + [label] * numbered)
    write_atomic(path, text.getvalue())


def _has_header(path: Path, first: Sequence[str], asked: Mapping[Role, str]) -> bool:
    """Whether the first row names columns: it names none of the table's files, nor is a picture among its cells."""
    if any(map(is_picture, first)):
        return False
    if is_header(first) or (asked and set(asked.values()) <= set(first)):
        return True
    return not any(Folders().find(str(path.parent), cell) for cell in first if cell)


def _require_width(path: Path, rows: Sequence[Cells], width: int, separator: str) -> None:
    for line, cells in rows:
        if len(cells) > width and any(cells[width:]):
            raise InputError(
                f"{path}: line {line}: {len(cells)} cells, wanted {width}; put quotes around a cell that "
                f"holds {separator}"
            )


def _cell(path: Path, line: int, cells: Sequence[str], columns: Columns, at: int) -> str:
    value = cells[at] if at < len(cells) else ""
    if not value:
        raise InputError(f"{path}: line {line}: '{columns.header[at]}' is empty; fill it in or remove the line")
    return value


def _part(path: Path, line: int, column: str, name: str) -> Part:
    part = part_told(column, name)
    if part is None:
        raise InputError(f"{path}: line {line}: split '{name}'; wanted one of {', '.join(PARTS)}")
    return part


def _listed(
    path: Path, lines: Sequence[int], files: Sequence[Path], labels: Sequence[str], parts: Sequence[Part] | None
) -> tuple[dict[Part, list[tuple[Path, str]]], tuple[str, ...]]:
    """The images of each part, and a note where some stand there several times."""
    seen: dict[Path, int] = {}
    listed: dict[Part, list[tuple[Path, str]]] = {}
    again = 0
    for row, (line, file, label) in enumerate(zip(lines, files, labels, strict=True)):
        part = parts[row] if parts else "train"
        before = seen.setdefault(file, row)
        if before != row:
            where = f"{path}: line {line}: '{file.name}'"
            there = f"line {lines[before]}"
            if labels[before] != label:
                raise InputError(f"{where} is '{label}' here and '{labels[before]}' in {there}; keep one label")
            if parts and parts[before] != part:
                raise InputError(f"{where} is in {part} here and in {parts[before]} in {there}; keep it in one part")
            if part != "train":
                raise InputError(f"{where} stands already in {there}, and {part} measures each once; remove one")
            again += 1
        listed.setdefault(part, []).append((file, label))
    notes = (
        (f"{path.name}: {counted(again, 'row repeats', 'rows repeat')} an image: training draws it as often",)
        if again
        else ()
    )
    return listed, notes


def _numbers(path: Path, rows: Sequence[Cells], labels: Sequence[str], columns: Columns) -> dict[str, str]:
    numbers: dict[str, str] = {}
    for (line, cells), label in zip(rows, labels, strict=True):
        if columns.index is not None:
            given = _cell(path, line, cells, columns, columns.index)
            if numbers.setdefault(label, given) != given:
                raise InputError(
                    f"{path}: line {line}: '{label}' has two numbers, {numbers[label]} and {given}; keep one"
                )
    return numbers


def _classes(path: Path, labels: set[str], numbers: Mapping[str, str]) -> tuple[str, ...]:
    if not numbers:
        return in_order(labels)
    if sorted(numbers.values()) != sorted(str(n) for n in range(len(labels))):
        raise InputError(f"{path}: column '{INDEX}': wanted every number from 0 to {len(labels) - 1} once a class")
    return tuple(sorted(labels, key=lambda label: int(numbers[label])))
