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
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from deepres.base.errors import InputError
from deepres.base.files import write_atomic
from deepres.base.wording import counted
from deepres.data.forms import FormName
from deepres.data.images import FileImages, Images
from deepres.data.sources.columns import INDEX, Columns, Role, columns_of, is_header, roles_named
from deepres.data.sources.kept_columns import KeptColumns
from deepres.data.sources.labels import in_order, joined
from deepres.data.sources.places import Folders, files_of
from deepres.data.sources.read_targets import cell_at, read_targets
from deepres.data.sources.rows import BLANKS, Cells, is_picture, read_rows
from deepres.data.sources.split_names import others_beside, split_of_cell
from deepres.data.sources.splits import SPLITS, RawDataset, Split
from deepres.data.targets import BETWEEN, form_of, tensor_of

SUFFIXES = (".csv", ".tsv", ".txt", ".lst")


def read_table(
    path: Path, columns: str | None = None, channels: int = 3, targets: FormName | None = None
) -> RawDataset:
    """The images listed in `path`; `columns` says which hold what, where their names do not (columns.py).

    `targets` is what stands beside an image (None: as the cells show, read_targets.py).

    A row may stand several times in the training split: its image is then drawn as often.

    Raises:
        InputError: an unknown column, no rows, an empty cell, a split of another name, a missing file; a file with two
            labels, in two splits, or twice in a split that is measured.
    """
    asked = roles_named(columns, str(path))
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
    of = columns_of(path, header, rows, asked, targets)
    _require_width(path, rows, len(of.header), table.separator)
    files, where = files_of(path, [(line, cell_at(path, line, cells, of, of.path)) for line, cells in rows])
    lines = [line for line, _ in rows]
    read = read_targets(path, rows, of, targets)
    splits = None
    if of.split is not None:
        splits = [
            _split(path, line, of.header[of.split], cell_at(path, line, cells, of, of.split)) for line, cells in rows
        ]
    groups: dict[Path, str] = {}
    if of.group is not None:
        groups = _groups(path, of.header[of.group], files, lines, [cell_at(path, *row, of, of.group) for row in rows])
        named += _said_of(path, of.header[of.group], groups, files, splits)
    listed, repeated = _listed(path, lines, files, read.texts, splits)
    found: dict[Split, Images] = {
        split: FileImages(tuple(files[row] for row in at), read.targets[torch.tensor(at)], read.names, channels)
        for split, at in listed.items()
    }
    notes = (*table.notes, *of.notes, *where, *named, *read.notes, *repeated)
    notes += () if splits else others_beside(path)
    kept = _kept(of, rows, files, named=header is not None, asked=bool(asked))
    return RawDataset(
        path.stem,
        "table",
        read.names,
        found,
        channels,
        notes=notes,
        groups={str(file): group for file, group in groups.items()},
        kept=kept,
    )


def write_table(path: Path, splits: Mapping[str, Images], source: str, kept: KeptColumns | None = None) -> None:
    """The splits as CSV (path, label, split), paths relative to it; `read_table` gives the same splits and classes.

    With `kept` the other columns of the table that the images come from stand there too, all in the table's order.

    Raises:
        InputError: the images lie in memory, and have no paths.
    """
    one = next(iter(splits.values()))
    classes, form = one.classes, form_of(one.targets)
    told = classes != in_order(set(classes)) or any(BETWEEN in name for name in classes) or joined(classes) is not None
    told = told or (kept is not None and kept.index is not None)
    numbered = form.name == "class" and told  # a number beside the name says: one class
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = form.header(classes)
    standard: list[str | int] = ["path", *names, "split", *[INDEX] * numbered]
    columns = standard if kept is None else kept.arranged(names, [INDEX] * numbered)
    writer.writerow(columns if kept is None else map(kept.called, columns))
    given = defaultdict[Path, int](int)
    for split, images in splits.items():
        if not images.paths:
            raise InputError(
                f"{source}: its images are no files to be listed; split_seed and fractions repeat the split"
            )
        for index, file in enumerate(images.paths):
            target = images.targets[index]
            place = Path(os.path.relpath(file, path.parent)).as_posix()
            place = f"./{place}" if place != place.strip(BLANKS) or place[0] == "#" else place
            own: dict[str | int, object] = {"path": place, "split": split}
            own |= dict(zip(names, form.cells(target, classes), strict=True))
            own |= {INDEX: int(tensor_of(target))} if numbered else {}
            if kept is not None:
                rows = kept.rows[file]
                own |= dict(enumerate(rows[given[file] % len(rows)]))
                given[file] += 1
            writer.writerow([own[column] for column in columns])
    write_atomic(path, text.getvalue())


def _kept(of: Columns, rows: Sequence[Cells], files: Sequence[Path], *, named: bool, asked: bool) -> KeptColumns:
    header = of.header if named else tuple(f"column {name}" for name in of.header)
    by_file = defaultdict[Path, list[list[str]]](list)
    for file, (_, cells) in zip(files, rows, strict=True):
        by_file[file].append([*cells, *[""] * (len(header) - len(cells))])
    targets = of.each if of.label is None else (of.label,)
    return KeptColumns(header, of.path, targets, of.split, of.index, dict(by_file), of.group, asked or not named)


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


def _split(path: Path, line: int, column: str, name: str) -> Split:
    split = split_of_cell(column, name)
    if split is None:
        raise InputError(f"{path}: line {line}: split '{name}'; wanted one of {', '.join(SPLITS)}")
    return split


def _groups(
    path: Path, column: str, files: Sequence[Path], lines: Sequence[int], given: Sequence[str]
) -> dict[Path, str]:
    groups: dict[Path, str] = {}
    for file, line, group in zip(files, lines, given, strict=True):
        if groups.setdefault(file, group) != group:
            before = groups[file]
            raise InputError(
                f"{path}: line {line}: '{file.name}' is of {column} '{group}' here and of '{before}' before; keep one"
            )
    return groups


def _said_of(
    path: Path, column: str, groups: Mapping[Path, str], files: Sequence[Path], splits: Sequence[Split] | None
) -> tuple[str, ...]:
    """How many groups there are, and which the table itself has in several splits."""
    of = f"{path.name}: {counted(len(set(groups.values())), 'group')} by column '{column}'"
    notes = [f"{of}: images of one stay in one split or fold"]
    places: dict[str, set[Split]] = {}
    for file, split in zip(files, splits or (), strict=bool(splits)):
        places.setdefault(groups[file], set()).add(split)
    torn = [group for group, found in places.items() if len(found) > 1]
    if torn:
        more = f" (and {len(torn) - 1} more)" if len(torn) > 1 else ""
        there = " and ".join(split for split in SPLITS if split in places[torn[0]])
        notes.append(f"{path.name}: {column} '{torn[0]}'{more} stands in {there}: the table itself parts it")
    return tuple(notes)


def _listed(
    path: Path, lines: Sequence[int], files: Sequence[Path], labels: Sequence[str], splits: Sequence[Split] | None
) -> tuple[dict[Split, list[int]], tuple[str, ...]]:
    """The rows of each split, and a note where some stand there several times."""
    seen: dict[Path, int] = {}
    listed: dict[Split, list[int]] = {}
    again = 0
    for row, (line, file, label) in enumerate(zip(lines, files, labels, strict=True)):
        split = splits[row] if splits else "train"
        before = seen.setdefault(file, row)
        if before != row:
            where = f"{path}: line {line}: '{file.name}'"
            there = f"line {lines[before]}"
            if labels[before] != label:
                raise InputError(f"{where} is '{label}' here and '{labels[before]}' in {there}; keep one label")
            if splits and splits[before] != split:
                raise InputError(f"{where} is in {split} here and in {splits[before]} in {there}; keep it in one split")
            if split != "train":
                raise InputError(f"{where} stands already in {there}, and {split} measures each once; remove one")
            again += 1
        listed.setdefault(split, []).append(row)
    notes = (
        (f"{path.name}: {counted(again, 'row repeats', 'rows repeat')} an image: training draws it as often",)
        if again
        else ()
    )
    return listed, notes
