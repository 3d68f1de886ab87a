"""The epochs as a table for spreadsheets, `RUN/history.csv`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepres.base.cells import csv_of
from deepres.base.files import explained, open_to_append, write_atomic
from deepres.train.loggers.logger import About, Ended, EpochRow

TABLE = "history.csv"


class CsvTable:
    """The rows of `history.jsonl` under the same names; an empty cell where there is no figure."""

    def __init__(self) -> None:
        self._path = Path()
        self._rows: list[EpochRow] = []
        self._columns: tuple[str, ...] = ()

    def begin(self, about: About) -> str:
        self._path, self._rows = about.folder / TABLE, list(about.rows)
        self._whole()
        return ""

    def row(self, row: EpochRow) -> None:
        self._rows.append(row)
        if not set(row) <= set(self._columns):
            self._whole()
            return
        with explained(self._path), open_to_append(self._path) as file:
            file.write(csv_of([self._cells(row)]).encode())

    def result(self, figures: Mapping[str, float]) -> None:
        """It has curves alone."""

    def close(self, ended: Ended) -> None:
        """Every row is on the disk already."""

    def _whole(self) -> None:
        self._columns = tuple(dict.fromkeys(name for row in self._rows for name in row))
        table = [self._columns, *map(self._cells, self._rows)]
        write_atomic(self._path, csv_of(table if self._columns else []))

    def _cells(self, row: EpochRow) -> list[Any]:
        return ["" if row.get(name) is None else row[name] for name in self._columns]
