"""Which runs a study needs, at which scale, and what they cost: a run is a value, trained once for all studies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Literal

from deepres.arch.architecture import Architecture
from deepres.arch.catalogue.entry import Config, ModelConfig
from deepres.arch.catalogue.lookup import entry
from deepres.arch.readings.cost import cost
from deepres.base import records
from deepres.base.files import digest
from deepres.base.manifest import RUN, STAGES
from deepres.data.facts import DatasetFacts, StartingWeights
from deepres.recipes.plan import Words, planned
from deepres.recipes.run import Run
from deepres.studies.readings import is_read, reading
from deepres.studies.study import HIGHER_IS_BETTER, OF_GUESSES, Column, Quantity, Row, Study, study_named
from deepres.train.config import TurnConfig

StudyScale = Literal["full", "short"]
"""full: the paper's recipe to the letter. short: a share of its steps, 5,000 of 50,000 training images held out."""

DATASETS = {
    "cifar10": DatasetFacts("cifar10", 10, 50_000, 3, 32),
    "cifar100": DatasetFacts("cifar100", 100, 50_000, 3, 32),
    "svhn": DatasetFacts("svhn", 10, 604_388, 3, 32),
    "imagenet": DatasetFacts("imagenet", 1000, 1_281_167, 3, 375),
    "voc": DatasetFacts("voc", 20, 16_551, 3, 375, form="boxes"),
    "coco": DatasetFacts("coco", 80, 82_783, 3, 480, form="boxes"),
    "det": DatasetFacts("det", 200, 456_567 + 20_121 // 2, 3, 375, form="boxes"),
    "loc": DatasetFacts("loc", 1000, 544_546, 3, 375, form="boxes"),
}
"""What recipes want to know of the sets that the papers train on, so that a plan can be made without them."""

SUMMARY = "summary.json"
DIVERGED = "diverged.json"

Status = Literal["finished", "begun", "absent"]

HELD_OUT = 0.1
TRAINED: frozenset[Quantity] = HIGHER_IS_BETTER | OF_GUESSES | {"error", "top5_error", "train_error", "response"}


@dataclass(frozen=True)
class Job:
    """One run of one seed, fitted to the set that it is of; `after` is the run whose weights it begins with."""

    run: Run
    dataset: str
    scale: StudyScale
    after: "Job | None" = None

    @cached_property
    def name(self) -> str:
        """`resnet20_cifar-cifar10-1f0c83d2-seed0`: the digits stand for all that decides the weights but the seed."""
        fields = self.run.replace(seed=0).model_dump(mode="json", exclude_defaults=True)
        for name in ("source", "root", "download", "workers", "prefetch_factor"):
            fields["data"].pop(name, None)
        for name in ("memory", "compile", "save_every_seconds"):
            fields["train"].pop(name, None)
        if self.run.weights is not None:
            fields["weights"] = _held_by(self.run.weights) if self.after is None else self.after.name
        for partner in {"classifier", "proposer"} & {*fields.get("task", {})}:
            if self.after is None or fields["task"][partner] != self.after.name:
                fields["task"][partner] = _held_by(fields["task"][partner])
        facts = records.json_text(fields)
        network = self.run.model.name
        return f"{network}-{self.dataset}-{sha256(facts.encode()).hexdigest()[:8]}-seed{self.run.seed}"

    def folder(self, home: Path) -> Path:
        """Where it lies below the folder of all studies."""
        return home / self.scale / self.name

    def evidence(self, home: Path) -> Path:
        """What is written down of it once it has ended (studies/evidence.py)."""
        return home / "evidence" / f"{self.name}.json"

    @property
    def turn(self) -> int:
        """How many runs go before it."""
        return 0 if self.after is None else self.after.turn + 1

    @property
    def datasets(self) -> set[str]:
        """The sets that it, and those before it, train on."""
        return {self.dataset} | (set() if self.after is None else self.after.datasets)

    def ready(self, home: Path) -> Run:
        """The run as it is carried out below `home`, where the one before it has ended."""
        if self.after is None:
            return self.run
        before = str(self.after.folder(home))
        follows = getattr(self.run.task, "following", None)
        task = self.run.task if follows is None else follows(before)
        return self.run.replace(weights=before, task=task)

    @property
    def num_train(self) -> int:
        """Images that it trains on."""
        return round(DATASETS[self.dataset].num_images * (1 - self.run.data.val_fraction))

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.run.train.steps(self.num_train)

    @cached_property
    def macs(self) -> float:
        """Multiply-adds of the whole training: three forward passes' worth for every image of every step."""
        return 3.0 * cost(_built(self.run.model)).macs * self.run.train.images(self.num_train)


@dataclass(frozen=True)
class Cell:
    """A figure of the table that this software can find: by runs, by reading the description, or not (`lacking`).

    The figure of an ensemble (`row.ensemble`) is that of all its runs together.
    """

    row: Row
    column: Column
    jobs: tuple[Job, ...] = ()
    lacking: str = ""
    protocol: str = "center"

    def together(self, home: Path) -> Path:
        """Where what an ensemble measured lies."""
        facts = " ".join((self.protocol, *(job.name for job in self.jobs)))
        name = f"{self.jobs[0].run.model.name}-{self.jobs[0].dataset}-{sha256(facts.encode()).hexdigest()[:8]}"
        return home / self.jobs[0].scale / "together" / f"{name}.json"


WantedSeeds = int | Sequence[int] | None
"""Of each network so many, from 0 on; or these; None: as many as the paper had."""


def cells(
    study: Study, scale: StudyScale, seeds: WantedSeeds = None, data: Mapping[str, str] | None = None
) -> list[Cell]:
    """All figures of the study but what others have trained; `data` says where sets lie.

    Of a table those that it prints, of a figure those of all its columns.
    """
    found = []
    for row in study.rows_at(scale):
        for column in study.columns:
            read = is_read(column)
            blank = (study.shows == "table" or row.quoted) and row.printed and column.name not in row.printed
            if row.network is None or blank or (row.quoted and not read):
                continue
            lacking = "" if read else row.lacking or study.lacking or column.lacking or _unmeasurable(column)
            trained = column.measure in TRAINED and not lacking
            jobs = tuple(_jobs(study, row, column, scale, seeds, data or {})) if trained else ()
            found.append(Cell(row, column, jobs, lacking, row.protocol or column.protocol or study.protocol))
    return found


def distinct(cells: Iterable[Cell]) -> list[Job]:
    """The runs of all these cells, and those that they begin with, each once.

    The first seed of every network first, small networks first, none before the one that it begins with.
    """
    jobs: dict[str, Job] = {}
    for cell in cells:
        for last in cell.jobs:
            job: Job | None = last
            while job is not None:
                jobs.setdefault(job.name, job)
                job = job.after
    return sorted(jobs.values(), key=lambda job: (job.run.seed, job.turn, job.macs))


def status(job: Job, home: Path) -> Status:
    """Whether the run has ended (also by divergence), has begun, or has not."""
    folder = job.folder(home)
    if (folder / SUMMARY).is_file() or (folder / DIVERGED).is_file():
        return "finished"
    return "begun" if (folder / RUN).is_file() or (folder / STAGES).is_file() else "absent"


def unfinished(jobs: Iterable[Job], home: Path) -> list[Job]:
    """Those that are still to be trained."""
    return [job for job in jobs if status(job, home) != "finished"]


def run_of(study: Study, row: Row, column: Column) -> Run:
    """The run of a cell at full scale, first seed."""
    return _run(study, row, column, "full", 0, {})


def network_of(study: Study, row: Row, column: Column) -> Architecture:
    """The description of a cell's network: that of its run, or where nothing is trained the catalogue's, edited."""
    return _built(_config_of(study, row, column))


def reading_of(study: Study, cell: Cell) -> float:
    """What the description of a cell's network gives for its column, counted as the printed figure is."""
    printed = cell.row.printed.get(cell.column.name)
    measure = (printed.measure if printed else None) or cell.column.measure
    return _reading(_config_of(study, cell.row, cell.column), cell.column, measure)


def _config_of(study: Study, row: Row, column: Column) -> ModelConfig:
    if row.trained and (row.recipe or study.recipe):
        return run_of(study, row, column).model
    assert row.network is not None
    return records.edit(entry(row.network).config, [edit.removeprefix("model.") for edit in row.edits])


@cache
def _built(config: Config) -> Architecture:
    return config.architecture()


@cache
def _reading(config: Config, column: Column, measure: Quantity) -> float:
    return reading(_built(config), column, measure)


def _jobs(
    study: Study, row: Row, column: Column, scale: StudyScale, seeds: WantedSeeds, data: Mapping[str, str]
) -> Iterable[Job]:
    wanted = row.ensemble or seeds or (row.seeds or study.seeds if scale == "full" else 1)
    for seed in range(wanted) if isinstance(wanted, int) else wanted:
        after = _before(study, row, scale, seed, data)
        run = _run(study, row, column, scale, seed, data, after)
        yield Job(run, column.dataset or study.dataset, scale, after)


def _before(study: Study, row: Row, scale: StudyScale, seed: int, data: Mapping[str, str]) -> Job | None:
    """The run whose weights a row begins with: made as short as the study's own."""
    if row.begins is None:
        return None
    name, label = row.begins
    other = study_named(name)
    other = other.replace(short=study.short, short_edits=study.short_edits, weights=study.weights)
    return next(iter(_jobs(other, other.row(label), other.columns[0], scale, (seed,), data)))


def _run(
    study: Study,
    row: Row,
    column: Column,
    scale: StudyScale,
    seed: int,
    data: Mapping[str, str],
    after: Job | None = None,
) -> Run:
    dataset = column.dataset or study.dataset
    facts = replace(DATASETS[dataset], beginning=_beginning(study, after))
    words = Words(
        recipe=row.recipe or study.recipe or None,
        model=row.network if after is None else None,  # then as that is
        edits=(*row.edits, *column.edits),
        source=data.get(dataset),
    )
    run = _planned(words, facts).replace(seed=seed)
    return run if scale == "full" else _shortened(run, study, facts)


def _beginning(study: Study, after: Job | None) -> StartingWeights | None:
    """What a run of the study begins with: another run, named weights, or nothing."""
    if after is not None:
        return StartingWeights(after.name, None, after.run.model, (), after.run.preparation)
    return None if study.weights is None else _starting(study.weights)


@cache
def _starting(weights: str) -> StartingWeights:
    from deepres.runs.starting_weights import beginning  # loads torch, which a plan from nothing needs not

    return beginning(weights)


@cache
def _held_by(weights: str) -> str:
    """What tells weights apart wherever they lie: the digest of a file, else their name."""
    from deepres.nn.weights.hub import weights_file

    file = weights_file(weights)
    return weights if file is None else digest(file)


@cache
def _planned(words: Words, facts: DatasetFacts) -> Run:
    """Seeds, columns and scales of a row share it."""
    return planned(words, facts)


def _shortened(run: Run, study: Study, facts: DatasetFacts) -> Run:
    """A share of the steps, some training images held out for the curves, and the study's own edits of short runs."""
    data = run.data.replace(val_fraction=run.data.val_fraction or HELD_OUT)
    steps = run.train.steps(round(facts.num_images * (1 - run.data.val_fraction)))
    iterations, turns = ceil(steps * study.short), run.train.turns
    if turns is not None:
        turns = turns.replace(**{name: _fewer(getattr(turns, name), study.short) for name in ("proposals", "regions")})
        iterations = ceil((run.train.iterations or 1) * study.short)
    train = run.train.replace(epochs=None, iterations=iterations, turns=turns)
    short = records.edit(run.replace(data=data, train=train), study.short_edits)
    return short.fitted(facts) if study.short_edits else short


def _fewer(turn: TurnConfig, share: float) -> TurnConfig:
    return turn.replace(iterations=ceil(turn.iterations * share))


def _unmeasurable(column: Column) -> str:
    return "this software does not measure it" if column.measure == "other" else ""
