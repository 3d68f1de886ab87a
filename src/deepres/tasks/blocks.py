"""What a section of a report is made of: cards, tables, charts and pictures as data, which `report` draws."""

from typing import Literal

from deepres.base.records import Record


class Card(Record):
    """One figure with its name."""

    value: str
    name: str


class Table(Record):
    """Rows below a title; the first column is a name.

    `bars` are lengths in [0, 1], one a row, behind the second column (or none); the last `wide` columns are left out
    where the page is narrow.
    """

    kind: Literal["table"] = "table"
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bars: tuple[float, ...] = ()
    wide: int = 0
    note: str = ""


class Points(Record):
    """Points (x, y) with the diagonal on which both are equal."""

    kind: Literal["points"] = "points"
    title: str
    x: str
    y: str
    points: tuple[tuple[float, float], ...]
    note: str = ""


class Panel(Record):
    """One small plot: lines (x, y) by name, the first one solid."""

    title: str
    lines: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]


class Panels(Record):
    """Small plots side by side, of the same axes from 0 to 1."""

    kind: Literal["panels"] = "panels"
    title: str
    x: str
    y: str
    panels: tuple[Panel, ...]
    note: str = ""


class OutlineMask(Record):
    """A mask as COCO's run lengths: `size` (H, W) of its picture, `counts` compressed (data/run_lengths.py)."""

    size: tuple[int, int]
    counts: str


class Outline(Record):
    """A box to be drawn on a picture, (x1, y1, x2, y2) in px of it: answered (right or false), or wanted and missed.

    `mask` is the object's, where there is one.
    """

    kind: Literal["right", "false", "missed"]
    corners: tuple[float, float, float, float]
    label: str
    mask: OutlineMask | None = None


class AnsweredPicture(Record):
    """An image of the measured set, by its place there, with what was wanted and what was answered."""

    index: int
    name: str
    wanted: str
    answered: str
    outlines: tuple[Outline, ...] = ()


class Pictures(Record):
    """Images under a title."""

    kind: Literal["pictures"] = "pictures"
    title: str
    pictures: tuple[AnsweredPicture, ...]
    note: str = ""


class Matrix(Record):
    """How often what is one thing was taken for another: a row for each true name, a column for each answer.

    `pairs` are the most frequent mistakes: what it was, what it was taken for, how often.
    """

    kind: Literal["matrix"] = "matrix"
    title: str
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[str, str, int], ...] = ()
    note: str = ""


class Series(Record):
    """Points (x, y), in percent: as a line, or with `weights`, shares of all images in [0, 1], as dots of that area."""

    name: str
    points: tuple[tuple[float, float], ...]
    weights: tuple[float, ...] = ()


class Chart(Record):
    """One or two series over 0 to 100 %, what is best of them on the `diagonal`, or none; `text` explains it."""

    title: str
    x: str
    series: tuple[Series, ...]
    diagonal: bool = False
    text: str = ""


class Charts(Record):
    """Charts below one another, each with its words beside it."""

    kind: Literal["charts"] = "charts"
    title: str
    charts: tuple[Chart, ...]
    note: str = ""


Block = Table | Points | Panels | Pictures | Matrix | Charts
