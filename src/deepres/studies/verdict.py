"""What came out beside what is printed: a figure of ours for each cell, a verdict on it, and one on each claim."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from deepres.base import records
from deepres.base.manifest import require_vouched
from deepres.base.reading import json_object
from deepres.base.records import Record
from deepres.recipes.printed import Verdict, quoted, reach_of, spread_of, verdict_of
from deepres.studies.plan import DIVERGED, Cell, Job, StudyScale, WantedSeeds, cells, reading_of, status
from deepres.studies.readings import is_read, rounds_to
from deepres.studies.study import HIGHER_IS_BETTER, OF_GUESSES, Claim, Column, Study

RunReading = Callable[[Job, Path], float | None]
"""Of a finished run in its folder, what its measure needs beside what the run has written down."""


class CellResult(Record):
    """Our figure for a cell, in the column's unit: of each seed, and as the paper quotes it.

    `diverged` counts seeds whose loss ended as no number; `reason` says why a figure is not there. `sampling` is the
    standard error of the first value over the draws of its test images, where the run has measured that. `reach`: a
    figure no further than this from the printed one is met, by tolerance or spread.
    """

    row: str
    column: str
    values: tuple[float, ...] = ()
    quoted: float | None = None
    std: float | None = None
    sampling: float | None = None
    reach: float | None = None
    diverged: int = 0
    wanted: int = 0
    verdict: Verdict
    reason: str = ""
    runs: tuple[str, ...] = ()


class CheckedClaim(Record):
    """A claim and whether it holds: the two figures in the column's unit, None where one is missing.

    `title` is what the column holds: test error.
    """

    claim: Claim
    title: str
    better: float | None
    worse: float | None
    higher_is_better: bool = False

    @property
    def holds(self) -> bool | None:
        """None: not known yet."""
        if self.better is None or self.worse is None:
            return None
        return self.better > self.worse if self.higher_is_better else self.better < self.worse

    def __str__(self) -> str:
        side = "above" if self.higher_is_better else "below"
        order = f"{self.title}, {self.claim.better} {side} {self.claim.worse}"
        if self.better is None or self.worse is None:
            return f"{order}: not known yet"
        return f"{order}: {'holds' if self.holds else 'DOES NOT HOLD'} ({self.better:.2f} and {self.worse:.2f})"


class Outcome(Record):
    """A study at one scale as it stands: every cell, every claim."""

    study: str
    scale: StudyScale
    found: tuple[CellResult, ...]
    claims: tuple[CheckedClaim, ...]

    def at(self, row: str, column: str) -> CellResult | None:
        """The cell's figure, None for one that is only quoted."""
        return next((found for found in self.found if (found.row, found.column) == (row, column)), None)

    @property
    def verdict(self) -> str:
        """`6 figures: 3 reproduced, 1 within the spread, 2 not run; 2 of 3 claims hold`."""
        counts = {kind: sum(found.verdict == kind for found in self.found) for kind in KINDS}
        told = [f"{count} {kind}" for kind, count in counts.items() if count]
        figures = f"{len(self.found)} figures: {', '.join(told)}" if told else ""
        known = [held for held in self.claims if held.holds is not None]
        claims = f"{sum(bool(held.holds) for held in known)} of {len(self.claims)} claims hold" if self.claims else ""
        if self.claims and not known:
            claims = f"none of {len(self.claims)} claims known yet"
        elif len(known) < len(self.claims):
            claims += f", {len(self.claims) - len(known)} not known yet"
        return "; ".join(part for part in (figures, claims) if part)


KINDS: tuple[Verdict, ...] = ("reproduced", "within the spread", "not reproduced", "shown", "not run")
"""All verdicts, in the order in which they are told."""


def outcome(
    study: Study,
    scale: StudyScale,
    home: Path,
    *,
    seeds: WantedSeeds = None,
    responses: RunReading | None = None,
    absent: Mapping[str, str] | None = None,
) -> Outcome:
    """The study as its runs below `home` stand; nothing is trained. `absent` maps sets that are missing to reasons."""
    found = []
    for cell in cells(study, scale, seeds):
        if is_read(cell.column):
            found.append(_read(study, cell))
        else:
            one = _measured(cell, home, responses, absent or {})
            found.append(_judged(one, study, cell, scale, cell.column.dataset or study.dataset))
    columns = {column.name: column for column in study.columns}
    figures = {(one.row, one.column): _comparable(one, columns[one.column]) for one in found}
    held = [
        CheckedClaim(
            claim=claim,
            title=columns[claim.column].title,
            better=figures.get((claim.better, claim.column)),
            worse=figures.get((claim.worse, claim.column)),
            higher_is_better=columns[claim.column].higher_is_better,
        )
        for claim in study.claims_at(scale)
    ]
    return Outcome(study=study.name, scale=scale, found=tuple(found), claims=tuple(held))


def described(study: Study) -> list[CellResult]:
    """The study's figures that its descriptions give, each with its verdict: no images, no training."""
    return [_read(study, cell) for cell in cells(study, "full", seeds=1) if is_read(cell.column)]


def _read(study: Study, cell: Cell) -> CellResult:
    """Of a figure that a description gives; where it is another than the printed one, `reason` is the study's note."""
    printed = cell.row.printed.get(cell.column.name)
    value = reading_of(study, cell)
    found = _empty(cell, values=(value,), quoted=value, wanted=1)
    if printed is None:
        return found.replace(verdict="shown")
    if printed.bound is not None or cell.column.tolerance is not None:
        verdict = verdict_of((value,), printed, cell.column.tolerance or 0.0, 0.0)
    else:
        verdict = "reproduced" if rounds_to(value, printed.value) else "not reproduced"
    return found.replace(verdict=verdict, reason=printed.note if verdict == "not reproduced" else "")


def _measured(cell: Cell, home: Path, responses: RunReading | None, absent: Mapping[str, str]) -> CellResult:
    if cell.lacking:
        return _empty(cell, reason=cell.lacking)
    ended = [job for job in cell.jobs if status(job, home) == "finished"]
    diverged = sum((job.folder(home) / DIVERGED).is_file() for job in ended)
    if cell.row.ensemble is not None:
        measured = [_figure(cell, cell.together(home))] if not diverged else []
    else:
        measured = [_value(cell, job, home, responses) for job in ended]
    values = [one for one in measured if one is not None]
    reason = ""
    if not ended:
        reason = why_absent(cell.jobs[0], absent) if cell.jobs else "no run"
    elif cell.row.ensemble is not None and len(ended) < len(cell.jobs):
        reason = f"{len(ended)} of its {len(cell.jobs)} networks trained"
    return _empty(
        cell,
        values=tuple(value for value, _ in values),
        sampling=values[0][1] if values else None,
        diverged=diverged,
        wanted=len(cell.jobs),
        reason=reason,
        runs=tuple(job.name for job in ended),
    )


def _empty(cell: Cell, **fields: object) -> CellResult:
    return CellResult.model_validate(
        {"row": cell.row.label, "column": cell.column.name, "verdict": "not run", **fields}
    )


Figure = tuple[float, float | None]
"""A figure in its column's unit, and its standard error over the draws of test images, where that is known."""


def why_absent(job: Job, absent: Mapping[str, str]) -> str:
    """Why the run cannot be trained, of the reasons for sets that are missing; "" where none it needs is."""
    return "; ".join(absent[name] for name in sorted(job.datasets) if name in absent)


def _value(cell: Cell, job: Job, home: Path, responses: RunReading | None) -> Figure | None:
    """The run's figure in per cent (responses: as they are); None for one that diverged or has no such figure."""
    from deepres.train.history import read_history  # loads torch, which what is read needs not

    folder = job.folder(home)
    if (folder / DIVERGED).is_file():
        return None
    if cell.column.measure == "train_error":
        error = train_error(read_history(folder, "train_error"))
        return None if error is None else (error, None)
    if cell.column.measure == "response":
        strength = None if responses is None else responses(job, home)
        return None if strength is None else (strength, None)
    return _figure(cell, folder / result_name(cell.protocol))


def _figure(cell: Cell, path: Path) -> Figure | None:
    """The cell's figure of what a file says was measured, in per cent."""
    from deepres.tasks.classification.result import ClassificationResult

    column = cell.column
    if not path.is_file():
        return None
    require_vouched(path)
    if column.measure in HIGHER_IS_BETTER:
        return _precision(column, json_object(path, "evaluation result", "evaluate the run again"))
    if column.measure in OF_GUESSES:
        measured = json_object(path, "evaluation result", "evaluate the run again")
        name = "error" if column.measure == "localisation_error" else "given_error"
        return 100 * float(measured[name]), None
    result = records.load(ClassificationResult, path, "evaluation result")
    value = result.error if column.measure == "error" else result.top5_error
    return None if value is None else (100 * value, None)


def _precision(column: Column, measured: Mapping[str, Any]) -> Figure | None:
    """An average precision among what a detector measured; the interval that it has is that of the mean."""
    if (column.measure == "voc_ap") == (measured.get("measure") == "coco"):
        return None
    name = "ap50" if column.measure == "ap50" else "ap"
    if column.of_class:
        named = [one for one in measured.get("per_class", ()) if one.get("name") == column.of_class]
        share = named[0].get(name) if named else None
        return None if share is None else (100 * float(share), None)
    low, high = float(measured["ap_low"]), float(measured["ap_high"])
    return 100 * float(measured[name]), 100 * (high - low) / (2 * 1.96)


def train_error(history: Sequence[Mapping[str, float]]) -> float | None:
    """Per cent wrong of the training images as they were augmented, over the last pass through them.

    A run rarely ends with a whole pass; what its last row lacks is taken from the rows before.
    """
    steps = [row["step"] - before for row, before in zip(history, [0, *(row["step"] for row in history)], strict=False)]
    wanted = left = max(steps, default=0)
    total = 0.0
    for row, taken in zip(reversed(history), reversed(steps), strict=True):
        used = min(taken, left)
        total, left = total + used * row["train_error"], left - used
    return 100 * total / wanted if wanted else None


def result_name(protocol: str) -> str:
    """The file of a run that holds what it measured by a protocol: test-multi-scale.json, test-center-320.json."""
    return "test.json" if protocol == "center" else f"test-{re.sub(r'[^0-9a-z-]+', '-', protocol)}.json"


def _judged(found: CellResult, study: Study, cell: Cell, scale: StudyScale, dataset: str) -> CellResult:
    printed = cell.row.printed.get(cell.column.name)
    if not found.values:
        if found.diverged and printed is not None and printed.bound == "above" and scale == "full":
            return found.replace(verdict="reproduced", reason="diverged")
        return found.replace(reason=found.reason or ("diverged" if found.diverged else "not trained yet"))
    values = found.values
    std = stdev(values) if len(values) > 1 else None
    higher = cell.column.higher_is_better
    told = found.replace(quoted=quoted(values, printed, higher_is_better=higher), std=std)
    if printed is None or scale == "short":
        return told.replace(verdict="shown")
    tolerance = study.tolerance if cell.column.tolerance is None else cell.column.tolerance
    spread = spread_of(values, printed, dataset, found.sampling)
    verdict = verdict_of(values, printed, tolerance, spread, higher_is_better=higher)
    return told.replace(verdict=verdict, reach=reach_of(tolerance, spread) if printed.bound is None else None)


def _comparable(found: CellResult, column: Column) -> float | None:
    """What claims compare: the mean of the seeds; a row whose every run diverged is worse than anything."""
    if found.values:
        return mean(found.values)
    worst = 0.0 if column.higher_is_better else 100.0
    return worst if found.diverged else None
