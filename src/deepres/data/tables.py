"""Tables of images: a CSV of paths and labels, with a column of splits or without; and a split written as one.

    path,label,split
    cats/1.jpg,cat,train

Paths are relative to the CSV. Comma, semicolon or tab separate, whichever the first line has most of. Classes are the
sorted labels (by value where all are whole numbers), or in the order of a column `label_index` where there is one.
"""

import csv
import io
import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import torch

from deepres.base.errors import InputError
from deepres.base.files import read_text, write_atomic
from deepres.data.folders import SPLITS
from deepres.data.sample import FileImages, Images
from deepres.data.splits import Found, Part

_INDEX = "label_index"


def read_table(path: Path, path_column: str, label_column: str, split_column: str | None, channels: int = 3) -> Found:
    """The images listed in the CSV `path`; `split_column` None: the column "split", where there is one.

    Raises:
        InputError: an unknown column, no rows, an empty cell, a split of another name, a missing or repeated file.
    """
    rows, columns = _rows(path)
    for column, field in ((path_column, "path_column"), (label_column, "label_column"), (split_column, "split_column")):
        if column is not None and column not in columns:
            near = get_close_matches(column, columns, n=len(columns), cutoff=0)
            raise InputError(f"{path}: no column '{column}', there are {', '.join(near)}; set data.{field}")
    split_column = split_column or ("split" if "split" in columns else None)
    seen: dict[Path, int] = {}
    listed: dict[Part, list[tuple[Path, str]]] = {}
    numbers: dict[str, str] = {}
    for line, row in rows:
        file = Path(os.path.normpath(path.parent / _cell(path, line, row, path_column)))
        if file in seen:
            raise InputError(
                f"{path}: line {line}: '{row[path_column]}' stands already in line {seen[file]}; remove one"
            )
        seen[file] = line
        label = _cell(path, line, row, label_column)
        if _INDEX in columns and numbers.setdefault(label, row[_INDEX]) != row[_INDEX]:
            raise InputError(f"{path}: line {line}: '{label}' has two numbers, {numbers[label]} and {row[_INDEX]}")
        part = _part(path, line, _cell(path, line, row, split_column)) if split_column else "train"
        listed.setdefault(part, []).append((file, label))
    _require_files(path, seen)
    classes = _classes(path, {label for images in listed.values() for _, label in images}, numbers)
    index = {name: label for label, name in enumerate(classes)}
    parts: dict[Part, Images] = {
        part: FileImages(
            tuple(file for file, _ in images), torch.tensor([index[label] for _, label in images]), classes, channels
        )
        for part, images in listed.items()
    }
    return Found(path.stem, "table", classes, parts, channels)


def write_table(path: Path, parts: Mapping[str, Images], source: str) -> None:
    """The parts as CSV (path, label, split), paths relative to it; `read_table` gives the same parts and classes.

    Raises:
        InputError: the images lie in memory, and have no paths.
    """
    classes = next(iter(parts.values())).classes
    numbered = classes != _in_order(set(classes))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split"] + [_INDEX] * numbered)
    for part, images in parts.items():
        if not isinstance(images, FileImages):
            raise InputError(
                f"{source}: its images are no files to be listed; split_seed and fractions repeat the split"
            )
        for file, label in zip(images.paths, images.labels.tolist(), strict=True):
            place = Path(os.path.relpath(file, path.parent)).as_posix()
            writer.writerow([place, classes[label], part] + [label] * numbered)
    write_atomic(path, text.getvalue())


def _rows(path: Path) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    text = read_text(path, "table of images").removeprefix("\ufeff")
    first = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), restval="")
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as cause:
        raise InputError(f"{path}: line {reader.line_num}: {cause}; wanted a table separated by commas") from cause
    if not rows:
        raise InputError(f"{path}: no rows; wanted a first line with column names and one line an image")
    return rows, list(reader.fieldnames or ())


def _cell(path: Path, line: int, row: dict[str, str], column: str) -> str:
    value = row[column].strip()
    if not value:
        raise InputError(f"{path}: line {line}: '{column}' is empty; fill it in or remove the line")
    return value


def _part(path: Path, line: int, name: str) -> Part:
    if name.lower() not in SPLITS:
        raise InputError(f"{path}: line {line}: split '{name}'; wanted one of {', '.join(SPLITS)}")
    return SPLITS[name.lower()]


def _require_files(path: Path, files: Mapping[Path, int]) -> None:
    missing = [(line, file) for file, line in files.items() if not file.is_file()]
    if missing:
        line, file = missing[0]
        count = f" ({len(missing)} of {len(files)} files are missing)" if len(missing) > 1 else ""
        raise InputError(f"{path}: line {line}: no file {file}{count}; paths are relative to the table")


def _in_order(labels: set[str]) -> tuple[str, ...]:
    whole = all(label.isascii() and label.isdigit() for label in labels)
    return tuple(sorted(labels, key=lambda label: (int(label) if whole else 0, label)))


def _classes(path: Path, labels: set[str], numbers: Mapping[str, str]) -> tuple[str, ...]:
    if not numbers:
        return _in_order(labels)
    if sorted(numbers.values()) != sorted(str(n) for n in range(len(labels))):
        raise InputError(f"{path}: column '{_INDEX}': wanted every number from 0 to {len(labels) - 1} once a class")
    return tuple(sorted(labels, key=lambda label: int(numbers[label])))
