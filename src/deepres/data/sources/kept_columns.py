"""The columns of a table that say nothing of targets or splits: kept as they are where its split is written as a table.

id,file,label,patient            id,file,label,patient,split
7,a.jpg,cat,P1           ->      7,../photos/a.jpg,cat,P1,train

Of boxes they stand behind those that `boxes_csv.py` writes, a row a box.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class KeptColumns:
    """The header of a table, which of its columns hold the path, targets, split, `label_index`, and the rows by file.

    A file may stand in several rows, which are given out in their order.
    """

    header: tuple[str, ...]
    path: int
    targets: tuple[int, ...]
    split: int | None
    index: int | None
    rows: dict[Path, list[list[str]]] = field(repr=False)
    group: int | None = None
    asked: bool = False  # `data.columns` said which are which: their own names do not

    def arranged(self, targets: Sequence[str], index: Sequence[str]) -> list[str | int]:
        """The columns that are written: new ones by name (path, `targets`, split, `index`), kept ones by number."""
        new = {self.path: ["path"], self.split: ["split"], self.index: index}
        new |= {at: targets if at == min(self.targets) else () for at in self.targets}
        found = [column for at in range(len(self.header)) for column in new.get(at, [at])]
        return [*found, *(name for name in (*targets, "split", *index) if name not in found)]

    def called(self, column: str | int) -> str:
        """The name of a column that is written: as in the table, where that says what it holds."""
        if isinstance(column, int):
            return self.header[column]
        own = {self.path, self.split, self.index, *self.targets}
        others = {name for at, name in enumerate(self.header) if at not in own}
        single = self.targets[0] if len(self.targets) == 1 else None
        at = {"path": self.path, "label": single}.get(column)
        return column if at is None or (self.asked and column not in others) else self.header[at]

    def said(self, targets: Sequence[str]) -> str | None:
        """What `data.columns` has to say of the table that is written; None where its own names say it."""
        columns = self.arranged(targets, ())
        if not any(isinstance(column, int) for column in columns) or not (self.asked or len(targets) > 1):
            return None
        group = "" if self.group is None else f",group:{self.header[self.group]}"
        return f"path:{self.called('path')},label:{','.join(map(self.called, targets))},split:split{group}"


@dataclass(frozen=True)
class KeptBoxes:
    """What a source of boxes says besides: sizes (W, H) of its pictures upright, and the other columns of a table.

    `rows` has the cells of these for each box of a picture, in their order; one row for a picture without boxes.
    """

    names: tuple[str, ...] = ()
    rows: dict[Path, list[list[str]]] = field(default_factory=dict, repr=False)
    sizes: dict[Path, tuple[int, int]] = field(default_factory=dict, repr=False)
