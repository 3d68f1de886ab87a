"""Every printed figure of every study beside ours: verdict, seeds, hours, or why it is not there; and their page."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deepres.base.files import make_folder, write_atomic
from deepres.base.records import Record
from deepres.base.wording import counted, duration
from deepres.recipes.printed import Verdict
from deepres.report.html import render
from deepres.studies.evidence import facts_of
from deepres.studies.plan import Job, cells
from deepres.studies.readings import is_read
from deepres.studies.report import share
from deepres.studies.speed import MachineSpeed
from deepres.studies.study import Study, papers, studies
from deepres.studies.texts import MARKS, ours_text, printed_text
from deepres.studies.verdict import KINDS, CheckedClaim, Outcome, outcome

QUOTED = "quoted from others"


class ComparedFigure(Record):
    """A figure of a study: `hours` of its runs that have ended, `left` multiply-adds of those that have not.

    `seeds` of `wanted` have ended. `verdict` is "" for the work of others. `reason` says why ours is not there, or
    another than the printed one.
    """

    row: str
    column: str
    printed: str
    ours: str = ""
    verdict: Verdict | str = ""
    seeds: int = 0
    wanted: int = 0
    hours: float = 0.0
    left: float = 0.0
    reason: str = ""


class StudyResults(Record):
    """A study as it stands at full scale: its figures, row by row; what it claims, in words, and whether that holds.

    `short` are its claims at `share` of the steps, where that has been trained.
    """

    study: str
    title: str
    source: str
    figures: tuple[ComparedFigure, ...]
    claims: tuple[tuple[str, bool | None], ...]
    short: tuple[tuple[str, bool | None], ...] = ()
    share: str = ""
    hours: float
    left: float
    lacking: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """How many of the printed figures have which verdict; those quoted from others have none."""
        found = Counter(one.verdict for one in self.figures if one.printed and one.verdict)
        return {kind: found[kind] for kind in KINDS if found[kind]}


def all_results(home: Path) -> list[StudyResults]:
    """Every study as its runs below `home` stand, paper by paper; nothing is trained or measured."""
    told = []
    for study in studies().values():
        found, short = outcome(study, "full", home), outcome(study, "short", home)
        ended = {name for one in found.found for name in one.runs}
        jobs = {job.name: job for cell in cells(study, "full") for job in cell.jobs if job.name in ended}
        hours = {name: facts_of(job, home)["minutes"] / 60 for name, job in jobs.items()}
        trained = [held for held in short.claims if not is_read(study.column(held.claim.column))]
        told.append(results(study, found, hours, [held for held in trained if held.holds is not None]))
    return told


def results(
    study: Study, found: Outcome, hours: Mapping[str, float], short: Sequence[CheckedClaim] = ()
) -> StudyResults:
    """The study's figures as its outcome at full scale has them, and its claims at short scale.

    `hours` are those of the runs that have ended.
    """
    of = {(cell.row.label, cell.column.name): cell for cell in cells(study, "full")}
    figures, ended, left = [], dict[str, float](), dict[str, Job]()
    for row in study.rows:
        for column in study.columns:
            printed = row.printed.get(column.name)
            text = "" if printed is None else printed_text(printed, column)
            one, cell = found.at(row.label, column.name), of.get((row.label, column.name))
            if one is None or cell is None:
                if text:
                    figures.append(ComparedFigure(row=row.label, column=column.title, printed=text, reason=QUOTED))
                continue
            went = {name: hours.get(name, 0.0) for name in one.runs}
            to_go = {job.name: job for job in cell.jobs if job.name not in one.runs}
            ended |= went
            left |= to_go
            figures.append(
                ComparedFigure(
                    row=row.label,
                    column=column.title,
                    printed=text,
                    ours=ours_text(one, column),
                    verdict=one.verdict,
                    seeds=len(one.runs),
                    wanted=len(cell.jobs),
                    hours=sum(went.values()),
                    left=sum(job.macs for job in to_go.values()),
                    reason=one.reason,
                )
            )
    return StudyResults(
        study=study.name,
        title=study.title,
        source=study.source,
        figures=tuple(figures),
        claims=_told(found.claims),
        short=_told(short),
        share=share(study),
        hours=sum(ended.values()),
        left=sum(job.macs for job in left.values()),
        lacking=study.lacking,
    )


def _told(claims: Sequence[CheckedClaim]) -> tuple[tuple[str, bool | None], ...]:
    return tuple((str(held) + (f" ({held.claim.says})" if held.claim.says else ""), held.holds) for held in claims)


def write_page(found: Iterable[StudyResults], home: Path, rate: MachineSpeed, command: str) -> Path:
    """The page of all studies, as `home`/reports/all.html."""
    path = home / "reports" / "all.html"
    make_folder(path.parent)
    write_atomic(path, page(found, rate, command))
    return path


def summary(found: Iterable[StudyResults]) -> str:
    """`60 studies, 900 printed figures: 224 reproduced, 16 not reproduced, 660 not run; 3 of 96 claims hold, …`."""
    studies = list(found)
    total = Counter[str]()
    for one in studies:
        total.update(one.counts)
    told = "".join(f", {total[kind]:,} {kind}" for kind in KINDS if total[kind]).replace(", ", ": ", 1)
    claims = [holds for one in studies for _, holds in one.claims]
    held = [f"{claims.count(True)} hold", f"{claims.count(False)} do not", f"{claims.count(None)} are not known yet"]
    held = [said for said in held if not said.startswith("0 ")]
    of = f"; of {counted(len(claims), 'claim')} {', '.join(held)}" if held else ""
    many = "1 study" if len(studies) == 1 else f"{len(studies)} studies"
    return f"{many}, {counted(total.total(), 'printed figure')}{told}{of}"


def page(found: Iterable[StudyResults], rate: MachineSpeed, command: str) -> str:
    """All studies in one HTML page, paper by paper: counts in a line each, behind it every figure."""
    by_name = {one.study: one for one in found}
    parts = [
        (paper.citation, [by_name[study.name] for study in paper.studies if study.name in by_name])
        for paper in papers()
    ]
    return render(
        "results.html.jinja",
        {"long": duration},
        title="The papers' figures, and ours",
        summary=summary(by_name.values()),
        parts=[part for part in parts if part[1]],
        kinds=KINDS,
        marks=MARKS,
        rate=rate,
        command=command,
    )
