"""A study and its outcome side by side: one HTML page, Markdown and JSON, the figures in the paper's layout."""

import json
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from deepres.base import records
from deepres.base.files import make_folder, read_text, write_atomic
from deepres.base.manifest import require_vouched
from deepres.report import studies as plots
from deepres.report.analysis import png, svg
from deepres.report.html import render
from deepres.report.studies import ErrorCurve
from deepres.studies.evidence import facts_of
from deepres.studies.plan import Cell, Job, StudyScale
from deepres.studies.readings import is_read
from deepres.studies.responses import response_stds
from deepres.studies.study import HIGHER_IS_BETTER, OF_GUESSES, Study, study_named
from deepres.studies.texts import MARKS, ours_text, printed_text
from deepres.studies.verdict import Outcome
from deepres.tasks.classification.result import ClassificationResult
from deepres.train.history import read_history

UNITS: dict[str, str] = {
    **dict.fromkeys(("error", "top5_error", "train_error", *sorted(OF_GUESSES)), "%"),
    **dict.fromkeys(sorted(HIGHER_IS_BETTER), "%, the higher, the better"),
}
LONGEST = 150
"""Letters of a report's folder, whose name no file system may refuse."""
SHOWN_BY = {
    "deletion": "lesion_each",
    "random_deletion": "lesion_random",
    "permutation": "lesion_permutations",
    "paths": "paths_lengths",
    "reuse": "reuse_maps",
}
"""The plot of the analysis that shows a figure of the paper."""


def write_report(study: Study, found: Outcome, cells: Sequence[Cell], home: Path, command: str) -> Path:
    """`report.html`, `report.md`, `report.json` and the figures in PNG and SVG below `home`/reports; the page."""
    folder = home / "reports" / _folder(study, found)
    make_folder(folder)
    drawn = drawings(study, found, cells, home)
    for name, figure in drawn.items():
        write_atomic(folder / f"{name}.png", png(figure))
        write_atomic(folder / f"{name}.svg", svg(figure))
    existing = existing_plots(study, cells, home)
    runs = [facts_of(job, home) for job in _jobs(cells)]
    begun = [run for run in runs if run["done"] or run["error"] is not None]
    facts = {
        "study": json.loads(study.to_json()),
        "outcome": json.loads(found.to_json()),
        "verdict": found.verdict,
        "command": command,
        "runs": runs,
    }
    write_atomic(folder / "report.json", records.json_text(facts))
    write_atomic(folder / "report.md", markdown(study, found, list(drawn)))
    page = render(
        "study.html.jinja",
        {},
        title=f"{study.name}: {study.title}",
        study=study,
        scale=found.scale,
        edits=study.short_edits,
        share=share(study),
        verdict=found.verdict,
        columns=study.columns,
        trained=any(not is_read(column) for column in study.columns),
        read=[column.title for column in study.columns if is_read(column)],
        differing=differing(study, found),
        missing=list(dict.fromkeys(one.reason for one in found.found if one.verdict == "not run" and one.reason)),
        lines=table(study, found),
        printed=with_printed(study, found.scale),
        claims=[(str(held), held.claim.says, held.holds) for held in found.claims],
        svgs=[Markup(svg(figure)) for figure in drawn.values()] + [Markup(text) for text in existing],
        runs=begun,
        waiting=len(runs) - len(begun),
        command=command,
    )
    write_atomic(folder / "report.html", page)
    return folder / "report.html"


@dataclass(frozen=True)
class ReportCell:
    """A cell as it is shown: the printed figure and ours, the verdict on it and why it is that."""

    printed: str = ""
    ours: str = ""
    verdict: str = ""
    reason: str = ""

    @property
    def mark(self) -> str:
        """The verdict as a sign."""
        return MARKS.get(self.verdict, "")


@dataclass(frozen=True)
class Line:
    """A row as it is shown; `quoted`: the work of others, which the paper quotes."""

    label: str
    quoted: bool
    note: str
    cells: tuple[ReportCell, ...]

    def texts(self, printed: Container[int]) -> list[str]:
        """Of each cell in turn what is printed, for the columns at the places `printed`, and ours with its sign."""
        found = []
        for place, cell in enumerate(self.cells):
            found += [cell.printed] * (place in printed) + [f"{cell.ours} {cell.mark}".strip()]
        return found


def share(study: Study) -> str:
    """`5 %`: the part of the steps that is trained at short scale."""
    return f"{100 * study.short:.3g} %"


def table(study: Study, found: Outcome) -> list[Line]:
    """A line for each row, in the paper's order."""
    lines = []
    for row in study.rows_at(found.scale):
        cells = []
        for column in study.columns:
            one = found.at(row.label, column.name)
            printed = row.printed.get(column.name)
            text = "" if printed is None else printed_text(printed, column)
            known = ReportCell(text)
            if one is not None:
                known = ReportCell(text, ours_text(one, column), one.verdict, one.reason)
            cells.append(known)
        lines.append(Line(row.label, not row.trained, row.note, tuple(cells)))
    return lines


def differing(study: Study, found: Outcome) -> list[str]:
    """What is known of figures that are others than the printed ones: rows, column and reason, each reason once."""
    wrong = [one for one in found.found if one.verdict == "not reproduced" and one.reason]
    rows: dict[tuple[str, str], list[str]] = {}
    for one in wrong:
        rows.setdefault((study.column(one.column).title, one.reason), []).append(one.row)
    return [f"{'; '.join(labels)}: {title}: {reason}" for (title, reason), labels in rows.items()]


def markdown(study: Study, found: Outcome, plots: Sequence[str]) -> str:
    """The table with two columns for each of the paper's: printed and ours."""
    printed = with_printed(study, found.scale)
    heads = [
        f"{column.title}: {what}"
        for place, column in enumerate(study.columns)
        for what in ("printed", "ours")
        if what == "ours" or place in printed
    ]
    out = [f"# {study.name}: {study.title}", "", study.source, ""]
    if found.scale == "short":
        out += [f"**Short scale**: {share(study)} of the steps; only order and sign compare with the paper.", ""]
    out += [found.verdict, "", "| | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
    for line in table(study, found):
        out.append(f"| {line.label} | " + " | ".join(line.texts(printed)) + " |")
    out += ["", *(f"- ✗ {said}" for said in differing(study, found))]
    out += ["", *(f"- {held}" for held in found.claims)]
    out += ["", *(f"![{name}]({name}.png)" for name in plots), "", study.note]
    return "\n".join(out).rstrip() + "\n"


def drawings(study: Study, found: Outcome, cells: Sequence[Cell], home: Path) -> dict[str, Figure]:
    """The study's figure, and the printed figures beside ours where both are there."""
    drawn: dict[str, Figure] = {}
    if study.shows == "curves" and (lines := _curves(cells, home)):
        drawn["curves"] = plots.curves(lines, _title(study, found))
    if study.shows == "responses" and (stds := _responses(cells, home)):
        drawn["responses"] = plots.responses(stds, _title(study, found))
    if study.shows == "scatter":
        ours, printed = _sizes(study, found)
        if ours or printed:
            size = next((c.title for c in study.columns if c.measure in ("parameters", "multiply_adds")), "parameters")
            drawn["sizes"] = plots.scatter(ours, printed, size)
    if study.shows == "table":
        for column in study.columns:
            rows = [
                plots.Dots(row.label, row.printed[column.name].value, one.values, one.reach)
                for row in study.rows
                if column.name in row.printed and (one := found.at(row.label, column.name)) is not None and one.values
            ]
            if rows and not is_read(column):
                drawn[f"figures_{len(drawn) + 1}"] = plots.dots(rows, column.title, UNITS.get(column.measure, ""))
    return drawn


def existing_plots(study: Study, cells: Sequence[Cell], home: Path) -> list[str]:
    """What the analyses of the runs have drawn: SVG, the first seed of each."""
    if study.shows not in SHOWN_BY:
        return []
    paths = [
        job.folder(home) / "analysis" / f"{SHOWN_BY[study.shows]}.svg" for job in _jobs(cells) if job.run.seed == 0
    ]
    return [read_text(path, "plot of an analysis") for path in paths if path.is_file()]


def with_printed(study: Study, scale: StudyScale) -> set[int]:
    """The places of the columns in which the paper prints anything, among the rows of this scale."""
    rows = study.rows_at(scale)
    return {place for place, column in enumerate(study.columns) if any(column.name in row.printed for row in rows)}


def _folder(study: Study, found: Outcome) -> str:
    """`resnet-fig6-short`; of another share, edited runs or some rows only with these in its name, cut if long."""
    whole, name = study_named(study.name), f"{study.name.replace('/', '-')}-{found.scale}"
    if found.scale == "short" and study.short != whole.short:
        name += f"-{100 * study.short:g}"
    name += "".join(f"-{edit}" for edit in study.short_edits[len(whole.short_edits) :])
    if len(study.rows) < len(whole.rows):
        name += "".join(f"-{row.label}" for row in study.rows)
    name += "" if study.weights is None else f"-{study.weights}"
    own = (edit for row in study.rows for edit in row.edits[len(whole.row(row.label).edits) :])
    name += "".join(f"-{edit}" for edit in dict.fromkeys(own))
    named = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
    return named if len(named) <= LONGEST else f"{named[:LONGEST]}-{sha256(name.encode()).hexdigest()[:8]}"


def _title(study: Study, found: Outcome) -> str:
    return f"{study.name} (short: {share(study)} of the steps)" if found.scale == "short" else study.name


def _jobs(cells: Sequence[Cell]) -> list[Job]:
    return list({job.name: job for cell in cells for job in cell.jobs}.values())


def _first_jobs(cells: Sequence[Cell]) -> dict[str, tuple[Cell, Job]]:
    """Label -> the first seed's run, of each row."""
    found: dict[str, tuple[Cell, Job]] = {}
    for cell in cells:
        if cell.jobs:
            found.setdefault(cell.row.label, (cell, cell.jobs[0]))
    return found


def _curves(cells: Sequence[Cell], home: Path) -> list[ErrorCurve]:
    found = []
    for label, (cell, job) in _first_jobs(cells).items():
        history = read_history(job.folder(home), "train_error", "val_error")
        if not history:
            continue
        train = [(row["step"] / 1e3, 100 * row["train_error"]) for row in history]
        held = [(row["step"] / 1e3, 100 * row["val_error"]) for row in history if row["val_error"] is not None]
        path = job.folder(home) / "test.json"
        require_vouched(path)
        test = 100 * records.load(ClassificationResult, path, "evaluation result").error if path.is_file() else None
        found.append(ErrorCurve(label, cell.row.panel, train, held, test))
    return found


def _responses(cells: Sequence[Cell], home: Path) -> dict[str, list[float]]:
    return {label: stds for label, (_, job) in _first_jobs(cells).items() if (stds := response_stds(job, home))}


def _sizes(study: Study, found: Outcome) -> tuple[dict[str, tuple[float, float]], dict[str, tuple[float, float]]]:
    """Label -> (size, error) of ours and of the printed; the size is read from the description."""
    size = next((column for column in study.columns if column.measure in ("parameters", "multiply_adds")), None)
    error = next(column for column in study.columns if column.measure in ("error", "top5_error", "train_error"))
    ours, printed = {}, {}
    for row in study.rows:
        one = None if size is None else found.at(row.label, size.name)
        stated = None if size is None else row.printed.get(size.name)
        width = one.quoted if one is not None else None if stated is None else stated.value
        measured = found.at(row.label, error.name)
        if width is None:
            continue
        if measured is not None and measured.quoted is not None:
            ours[row.label] = (width, measured.quoted)
        if error.name in row.printed:
            printed[row.label] = (width, row.printed[error.name].value)
    return ours, printed
