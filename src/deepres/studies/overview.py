"""All studies as they stand: how many runs, how many steps, what they cost, how much of each is done."""

from pathlib import Path

from deepres.base.records import Record
from deepres.studies.carry_out import status
from deepres.studies.plan import Cell, Scale, cells, distinct
from deepres.studies.study import Study, studies


class Overview(Record):
    """A study in a line: `macs` are multiply-adds of all its training, `stands` says what is there already."""

    study: str
    title: str
    runs_full: int
    steps_full: int
    macs_full: float
    macs_short: float
    stands: str


def overview(home: Path) -> list[Overview]:
    """Every study, paper by paper; `home` is where runs lie."""
    return [_line(study, home) for study in studies().values()]


def _line(study: Study, home: Path) -> Overview:
    full, short = cells(study, "full"), cells(study, "short")
    runs = distinct(full)
    return Overview(
        study=study.name,
        title=study.title,
        runs_full=len(runs),
        steps_full=sum(job.steps for job in runs),
        macs_full=sum(job.macs for job in runs),
        macs_short=sum(job.macs for job in distinct(short)),
        stands=_stands(study, {"full": full, "short": short}, home),
    )


def _stands(study: Study, by_scale: dict[Scale, list[Cell]], home: Path) -> str:
    if study.lacking:
        return f"not run: {study.lacking}"
    told = []
    for scale, found in by_scale.items():
        runs = distinct(found)
        done = sum(status(job, home) == "finished" for job in runs)
        if done:
            told.append(f"{scale}: {done} of {len(runs)} done")
    if told:
        return ", ".join(told)
    return "needs no run" if not distinct(by_scale["full"]) else "not run yet"
