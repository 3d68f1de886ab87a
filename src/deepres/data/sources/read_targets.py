"""The cells beside the pictures of a table -> targets of one of the forms of `data/targets.py`.

| the cells of the label column(s)                | targets                                    |
| ----------------------------------------------- | ------------------------------------------ |
| one column, some cell with `;` in it            | several classes; an empty cell is none     |
| one column else, or with `label_index` beside   | one class, its order by `label_index`      |
| columns of 0 and 1, one 1 in each row           | one class, called as the columns           |
| columns of 0 and 1 else                         | several classes, called as the columns     |

Where the form is said, that one; numbers are never guessed, since whole ones may be classes: they are asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.data.forms import FormName
from deepres.data.sources.columns import INDEX, Columns
from deepres.data.sources.labels import cleaned, in_order, joined, number_in, one_hot, value_in
from deepres.data.sources.rows import Cells, cell_in
from deepres.data.targets import BETWEEN


@dataclass(frozen=True)
class Read:
    """The targets of all rows, what their names are, and each as a text: rows of one picture have to agree."""

    targets: Tensor
    names: tuple[str, ...]
    texts: list[str]
    notes: tuple[str, ...] = ()


def read_targets(path: Path, rows: Sequence[Cells], of: Columns, form: FormName | None) -> Read:
    """The targets of the rows, of that `form`, or of the one that the cells show.

    Raises:
        InputError: a cell that is none of the form; its line is named.
    """
    if form == "numbers":
        return _numbers(path, rows, of)
    if of.label is None:
        return _columns(path, rows, of, form)
    at, free = of.label, form is None and of.index is None  # a number beside the name says: one class
    several = form == "classes" or (free and any(BETWEEN in cells[at] for _, cells in rows if at < len(cells)))
    if free and not several:
        _require_single(path, rows, at)
    return _names_between(path, rows, of, at) if several else _one_class(path, rows, of, at)


def cell_at(path: Path, line: int, cells: Sequence[str], columns: Columns, at: int) -> str:
    """The cell, which has to hold something.

    Raises:
        InputError: it is empty.
    """
    value = cell_in(cells, at)
    if not value:
        raise InputError(f"{path}: line {line}: '{columns.header[at]}' is empty; fill it in or remove the line")
    return value


def _one_class(path: Path, rows: Sequence[Cells], of: Columns, at: int) -> Read:
    lines = [line for line, _ in rows]
    given = [cell_at(path, line, cells, of, at) for line, cells in rows]
    labels, told = cleaned(given, lambda i: f"{path}: line {lines[i]}")
    return _as_classes(labels, ordered(path, set(labels), _order(path, rows, labels, of)), told)


def _require_single(path: Path, rows: Sequence[Cells], at: int) -> None:
    """Refuse cells that hold several names, separated as others do it: `cat|dog`, `cat,dog`, `['cat', 'dog']`."""
    cells = [cell_in(cells, at) for _, cells in rows]
    found = joined(cells)
    if found is not None:
        raise InputError(
            f"{path}: line {rows[cells.index(found)][0]}: '{found}' holds names that stand in other labels too; "
            f"several classes an image? write '{BETWEEN}' between them; data.targets=class takes it for one name"
        )


def _as_classes(labels: list[str], classes: tuple[str, ...], notes: tuple[str, ...] = ()) -> Read:
    index = {name: number for number, name in enumerate(classes)}
    return Read(torch.tensor([index[label] for label in labels]), classes, labels, notes)


def _names_between(path: Path, rows: Sequence[Cells], of: Columns, at: int) -> Read:
    """`cat; dog` -> both; an empty cell -> none."""
    lines, held = [line for line, _ in rows], list[list[str]]()
    for _, cells in rows:
        cell = cell_in(cells, at)
        held.append(list(dict.fromkeys(filter(None, (name.strip() for name in cell.split(BETWEEN))))))
    places = [place for place, names in enumerate(held) for _ in names]
    labels, told = cleaned([name for names in held for name in names], lambda i: f"{path}: line {lines[places[i]]}")
    if not labels:
        raise InputError(f"{path}: '{of.header[at]}' names no class in any line; wanted names between '{BETWEEN}'")
    classes = in_order(labels)
    index = {name: number for number, name in enumerate(classes)}
    targets = torch.zeros(len(rows), len(classes))
    targets[torch.tensor(places), torch.tensor([index[label] for label in labels])] = 1
    return Read(targets, classes, [BETWEEN.join(sorted(names)) for names in held], told)


def _columns(path: Path, rows: Sequence[Cells], of: Columns, form: FormName | None) -> Read:
    """A column for each class."""
    values = _values(path, rows, of, words=True)
    if not np.isin(values, (0, 1)).all():
        row, column = np.argwhere(~np.isin(values, (0, 1)))[0].tolist()
        where = f"{path}: line {rows[row][0]}: '{of.header[of.each[column]]}' is {values[row, column]:g}"
        raise InputError(f"{where}; wanted 0 or 1, a column for each class; numbers to be learnt: data.targets=numbers")
    names = tuple(of.header[at] for at in of.each)
    places = one_hot(values)
    if form == "class" and places is None:
        row = int((values.sum(1) != 1).argmax())
        raise InputError(
            f"{path}: line {rows[row][0]}: {values[row].sum():g} of its classes are 1; wanted one class an image; "
            "several: data.targets=classes"
        )
    if places is not None and form != "classes":
        return _as_classes([names[place] for place in places.tolist()], names)
    texts = [BETWEEN.join(name for name, on in zip(names, row, strict=True) if on) for row in values.tolist()]
    return Read(torch.from_numpy(values.astype(np.float32)), names, texts)


def _numbers(path: Path, rows: Sequence[Cells], of: Columns) -> Read:
    values = _values(path, rows, of)
    names = tuple(of.header[at] for at in of.each)
    return Read(torch.from_numpy(values), names, [str(row) for row in values.tolist()])


def _values(
    path: Path, rows: Sequence[Cells], of: Columns, *, words: bool = False
) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    values = np.empty((len(rows), len(of.each)))
    for row, (line, cells) in enumerate(rows):
        for column, at in enumerate(of.each):
            text = cell_at(path, line, cells, of, at)
            value = value_in(text) if words else number_in(text)
            values[row, column] = value
            if not isfinite(value):
                name = of.header[at]
                raise InputError(f"{path}: line {line}: '{name}' is '{text}'; wanted a number; correct the line")
    return values


def _order(path: Path, rows: Sequence[Cells], labels: Sequence[str], columns: Columns) -> dict[str, str]:
    numbers: dict[str, str] = {}
    for (line, cells), label in zip(rows, labels, strict=True):
        if columns.index is not None:
            given = cell_at(path, line, cells, columns, columns.index)
            if numbers.setdefault(label, given) != given:
                raise InputError(
                    f"{path}: line {line}: '{label}' has two numbers, {numbers[label]} and {given}; keep one"
                )
    return numbers


def ordered(path: Path, labels: set[str], numbers: Mapping[str, str]) -> tuple[str, ...]:
    """The classes in the order of `numbers`, by label; sorted where there are none.

    Raises:
        InputError: they are not 0, 1, 2, ….
    """
    if not numbers:
        return in_order(labels)
    if sorted(numbers.values()) != sorted(str(n) for n in range(len(labels))):
        raise InputError(f"{path}: column '{INDEX}': wanted every number from 0 to {len(labels) - 1} once a class")
    return tuple(sorted(labels, key=lambda label: int(numbers[label])))
