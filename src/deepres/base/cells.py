"""Rows of text -> a CSV that csv modules read back and spreadsheets take for text, whatever the names hold."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from deepres.base.wording import shown

_FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")


def csv_of(rows: Iterable[Sequence[object]]) -> str:
    r"""The rows, each ended by a line feed; bytes of names that are no UTF-8 are written as `\udce9`.

    What a spreadsheet would compute (`=cmd`, `@x`, also after blanks) has an apostrophe before it, numbers have none.
    """
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(each) for each in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> str:
    text = shown(str(value), "\t\r\n")
    computed = isinstance(value, str) and (text[:1] in ("\t", "\r", "\n") or text.lstrip()[:1] in _FORMULA)
    return f"'{text}" if computed and text else text
