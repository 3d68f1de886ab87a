"""The file of a queue: which runs of which studies are to be trained at full scale, and in what order."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from deepres.base import records
from deepres.base.errors import InputError
from deepres.base.files import path_of
from deepres.base.records import Record
from deepres.studies.plan import Job, WantedSeeds, cells
from deepres.studies.study import Study, study_named
from deepres.train.config import PrecisionChoice


class QueueEntry(Record):
    """Runs of one study: `rows` by their labels (none: all that are trained), each with these `seeds`.

    Those of a smaller `turn` come first. A `precision` other than auto is a variant of the study, judged apart.
    """

    study: str
    rows: tuple[str, ...] = ()
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=9999)], ...], Field(min_length=1, max_length=100)] = (0,)
    precision: PrecisionChoice = "auto"
    turn: Annotated[int, Field(ge=0)] = 0


class Queue(Record):
    """`folder` is where runs and reports lie, as `--output` names it: from the folder in which the command is typed."""

    folder: Annotated[str, Field(min_length=1)]
    runs: Annotated[tuple[QueueEntry, ...], Field(min_length=1, max_length=1000)]


@dataclass(frozen=True)
class Queued:
    """A run of the queue, the first study that asks for it, and its row there, of a variant with the precision."""

    job: Job
    study: Study
    row: str
    turn: int


def load_queue(path: Path) -> Queue:
    """The queue in a JSON file.

    Raises:
        InputError: no such file, other fields, an unknown study or row, or nothing that is trained.
    """
    queue = records.load(Queue, path, "queue of runs")
    try:
        path_of(queue.folder)
        for entry in queue.runs:
            _require_trained(entry)
    except InputError as cause:
        raise InputError(f"{path}: {cause.message}") from cause
    return queue


def queued(queue: Queue, data: Mapping[str, str] | None = None) -> list[Queued]:
    """Its runs, each once, in the order in which they are trained: by turn, then by cost, equal ones as it has them.

    The cost of a run is that of its description: steps x images of a step x three passes of multiply-adds.
    """
    found: dict[str, Queued] = {}
    for entry in queue.runs:
        study = study_of(entry)
        for row, job in cells_of(entry, data):
            before = found.get(job.name)
            if before is None or entry.turn < before.turn:
                row += "" if entry.precision == "auto" else f", {entry.precision}"
                found[job.name] = Queued(job, study, row, entry.turn)
    return sorted(found.values(), key=lambda each: (each.turn, each.job.macs))


def studies_of(queue: Queue) -> list[tuple[Study, WantedSeeds]]:
    """What is reported on, of which seeds: the studies that it names, whole, and of each variant the rows named.

    The seeds are those that the paper had (None), and where the queue has others these too.
    """
    found: dict[str, tuple[Study, set[int]]] = {}
    for entry in queue.runs:
        variant = study_of(entry)
        study = study_named(entry.study) if entry.precision == "auto" else variant
        found.setdefault(study.to_json(), (study, set()))[1].update(entry.seeds)
    return [
        (study, None if seeds <= set(range(study.seeds)) else sorted({*range(study.seeds), *seeds}))
        for study, seeds in found.values()
    ]


def study_of(entry: QueueEntry) -> Study:
    """The study with the rows that the entry names; of another precision with edited rows.

    Raises:
        InputError: there is no such study, or row.
    """
    study = study_named(entry.study)
    study = study.only(entry.rows) if entry.rows else study
    if entry.precision == "auto":
        return study
    edit = f"train.precision={entry.precision}"
    rows = tuple(row.replace(edits=(*row.edits, edit)) for row in study.rows if row.trained)
    labels = {row.label for row in rows}
    claims = tuple(claim for claim in study.claims if {claim.better, claim.worse} <= labels)
    note = f"{study.note} Every run of this table was trained in {entry.precision}.".lstrip()
    return study.replace(rows=rows, claims=claims, short_rows=(), note=note)


def cells_of(entry: QueueEntry, data: Mapping[str, str] | None = None) -> list[tuple[str, Job]]:
    """The label of a row, and a run of it."""
    found: dict[str, tuple[str, Job]] = {}
    for cell in cells(study_of(entry), "full", entry.seeds, data):
        for job in cell.jobs:
            found.setdefault(job.name, (cell.row.label, job))
    return list(found.values())


def _require_trained(entry: QueueEntry) -> None:
    """Refuse a row, or where none is named a study, of which there is nothing to train."""
    study = study_of(entry)
    if study.begins:
        raise InputError(f"{entry.study}: its runs begin with {study.begins}, which no queue names; leave it out")
    trained = {cell.row.label for cell in cells(study, "full", entry.seeds) if cell.jobs}
    for label in entry.rows or (("",) if not trained else ()):
        if label not in trained:
            why = study.lacking or next((row.lacking for row in study.rows if row.label in ("", label)), "")
            why = why or "its figures are quoted from others, or read from descriptions"
            raise InputError(f"{entry.study}{f', {label}' if label else ''}: nothing to train: {why}; leave it out")
