"""All studies as they stand: what descriptions alone give, how many runs, what they cost, how much of each is done."""

from collections.abc import Iterable
from pathlib import Path

from deepres.base.records import Record
from deepres.recipes.printed import Verdict
from deepres.studies.plan import Cell, StudyScale, cells, distinct, status
from deepres.studies.readings import is_read
from deepres.studies.study import Study, studies
from deepres.studies.texts import ours_text, printed_text
from deepres.studies.verdict import described


class Overview(Record):
    """A study in a line: `macs` are multiply-adds of all its training, `stands` says what is there already.

    `read` of its printed figures come from descriptions alone, and `reproduced` of these are as printed.
    """

    study: str
    title: str
    read: int
    reproduced: int
    runs_full: int
    steps_full: int
    macs_full: float
    macs_short: float
    stands: str


def overview(home: Path) -> list[Overview]:
    """Every study, paper by paper; `home` is where runs lie."""
    return [_line(study, home) for study in studies().values()]


class DescribedFigure(Record):
    """A printed figure that a description gives, and ours; `value` is exact, the texts are as a table shows them."""

    study: str
    source: str
    row: str
    column: str
    printed: str
    ours: str
    value: float
    verdict: Verdict
    reason: str


def descriptions(chosen: Iterable[Study] | None = None) -> list[DescribedFigure]:
    """Every printed figure of these studies, by default of all, that needs no images and no training."""
    found = []
    for study in studies().values() if chosen is None else chosen:
        for one in described(study):
            row, column = study.row(one.row), study.column(one.column)
            if (printed := row.printed.get(one.column)) is None:
                continue
            texts = {"printed": printed_text(printed, column), "ours": ours_text(one, column)}
            facts = {"study": study.name, "source": study.source, "row": row.label, "column": column.title, **texts}
            found.append(DescribedFigure(**facts, value=one.values[0], verdict=one.verdict, reason=one.reason))
    return found


def _line(study: Study, home: Path) -> Overview:
    read = descriptions([study])
    full, short = cells(study, "full"), cells(study, "short")
    runs = distinct(full)
    return Overview(
        study=study.name,
        title=study.title,
        read=len(read),
        reproduced=sum(one.verdict == "reproduced" for one in read),
        runs_full=len(runs),
        steps_full=sum(job.steps for job in runs),
        macs_full=sum(job.macs for job in runs),
        macs_short=sum(job.macs for job in distinct(short)),
        stands=_stands(study, {"full": full, "short": short}, home),
    )


def _stands(study: Study, by_scale: dict[StudyScale, list[Cell]], home: Path) -> str:
    """Of what is to be trained: where some figures are read, it is the others that are not trained."""
    missing = "not trained" if any(is_read(column) for column in study.columns) else "not run"
    if study.lacking:
        return f"{missing}: {study.lacking}"
    told = []
    for scale, found in by_scale.items():
        runs = distinct(found)
        done = sum(status(job, home) == "finished" for job in runs)
        if done:
            told.append(f"{scale}: {done} of {len(runs)} done")
    if told:
        return ", ".join(told)
    return "needs no run" if not distinct(by_scale["full"]) else f"{missing} yet"
