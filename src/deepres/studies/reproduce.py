"""Reproducing a study from beginning to report: find the images, train what is missing, take apart, compare, draw."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from deepres.base.errors import InputError
from deepres.base.events import UNSAID
from deepres.base.files import make_folder
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.nn.weights.spec import WeightsSpec
from deepres.runs.analysis.run import AnalysisTarget, examine
from deepres.runs.analysis.units import AnalysisConfig
from deepres.runs.ensemble import EnsembleConfig, evaluate_ensemble
from deepres.runs.evaluate import EvaluationConfig, evaluate_weights
from deepres.studies.evidence import write_evidence
from deepres.studies.executor import OnJobEvent, at_once, in_turn, on_ray, slots
from deepres.studies.plan import DIVERGED, Cell, Job, StudyScale, WantedSeeds, cells, distinct, status, unfinished
from deepres.studies.readings import is_read
from deepres.studies.report import write_report
from deepres.studies.responses import mean_response
from deepres.studies.study import HIGHER_IS_BETTER, OF_GUESSES, Shows, Study, studies
from deepres.studies.verdict import Outcome, outcome, result_name

On = Literal["here", "ray"]

TAKEN_APART: dict[Shows, str] = {
    "responses": "responses",
    "deletion": "lesion",
    "random_deletion": "lesion",
    "permutation": "lesion",
    "paths": "paths",
    "reuse": "reuse",
}
"""The analysis that a figure is drawn from."""

WHERE = {
    "cifar10": "unpack cifar-10-python.tar.gz in ./data, or name NAME_train.npz beside NAME_test.npz by --data PATH",
    "cifar100": "unpack cifar-100-python.tar.gz in ./data, or name a pair of .npz files by --data cifar100=PATH",
    "imagenet": "name its folder, with train/ and val/, one folder a class, by --data PATH",
    "svhn": "name a folder or an .npz pair of it by --data svhn=PATH",
    "voc": "name the folder that holds VOC2007 and VOC2012, with their lists, by --data voc=PATH",
    "coco": "name the folder with train2014, val2014 and annotations by --data coco=PATH",
    "det": "name ILSVRC DET's folder, train with val1 and val2 as lists train.txt and test.txt, by --data det=PATH",
    "loc": "name ImageNet's folder with LOC_train_solution.csv and LOC_val_solution.csv by --data loc=PATH",
}
"""How a set that is not there is brought."""

IMAGES: dict[StudyScale, int] = {"full": 10_000, "short": 1_000}
"""Test images that an analysis looks at."""


@dataclass(frozen=True)
class StudyPlan:
    """A study as asked for: its runs, and the sets that are not there (name -> reason)."""

    study: Study
    scale: StudyScale
    seeds: WantedSeeds
    home: Path
    cells: tuple[Cell, ...]
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def jobs(self) -> list[Job]:
        """The runs whose images are there."""
        return [job for job in distinct(self.cells) if not job.datasets & self.absent.keys()]


def planned(
    study: Study,
    scale: StudyScale,
    home: Path,
    *,
    seeds: WantedSeeds = None,
    data: Mapping[str, str] | None = None,
    dry: bool = False,
) -> StudyPlan:
    """The study's runs; `data` says where sets lie that are not found by their names.

    Raises:
        InputError: nothing of it can be run or read here; `data` names a set that it does not use, or where none is;
            and but for a `dry` plan: none of its sets is there, no weights are named that its runs begin with.
    """
    if study.weights is not None and not study.begins:
        raise InputError(f"--weights {study.weights}: the runs of {study.name} begin from nothing; leave it out")
    found = tuple(cells(study, scale, seeds, data))
    read = any(is_read(cell.column) and cell.column.name in cell.row.printed for cell in found)
    if study.lacking and not read:
        raise InputError(f"{study.name}: cannot be run: {study.lacking}; deepres reproduce --list shows those that can")
    every = distinct(found)
    needed = {job.dataset for job in every}
    for name in data or {}:
        if name not in needed:
            raise InputError(
                f"--data {name}: {study.name} does not use it; it uses {', '.join(sorted(needed)) or 'none'}"
            )
    absent = absences({job.dataset: job for job in every}, data or {})
    named = [reason for name, reason in absent.items() if name in (data or {})]
    nothing = bool(every) and all(job.datasets & absent.keys() for job in every)
    if named or (nothing and not read and not dry):
        others = f"studies without images: {', '.join(without_images())}"
        raise InputError(f"{study.name}: {'; '.join(named or absent.values())} ({others})")
    if every and scale == "full" and study.begins and study.weights is None and not dry:
        raise InputError(
            f"{study.name}: its runs begin with {study.begins}; name it by --weights FILE (--scale short begins from "
            "nothing where none is named)"
        )
    return StudyPlan(study, scale, seeds, home, found, absent)


def without_images() -> list[str]:
    """The studies that are read from descriptions alone."""
    return [
        name
        for name, study in studies().items()
        if all(is_read(column) for column in study.columns) and any(row.network for row in study.rows)
    ]


def absences(jobs: Mapping[str, Job], data: Mapping[str, str]) -> dict[str, str]:
    """Data set -> why its images cannot be opened, for those that cannot; of those that `data` names, its reader's."""
    found = {}
    for name, job in jobs.items():
        try:
            open_source(job.run.data)
        except InputError as cause:
            found[name] = cause.message if name in data else f"{name} is not here; {WHERE[name]}"
    return found


def train_all(
    plan: StudyPlan,
    device: torch.device,
    on_event: OnJobEvent,
    *,
    on: On = "here",
    count: int | None = None,
    command: str = UNSAID,
) -> Iterator[Job]:
    """Train what is not finished; yields each run that ends, of those that were not."""
    jobs = unfinished(plan.jobs, plan.home)
    if not jobs:
        return
    make_folder(plan.home)
    if on == "ray":
        for wave in _waves(jobs):
            yield from on_ray(wave, plan.home, on_event, command)
        return
    where = slots(count, device)
    if len(where) == 1:
        yield from in_turn(jobs, plan.home, device, on_event, command)
        return
    for wave in _waves(jobs):
        yield from at_once(wave, plan.home, where, on_event, command)


def _waves(jobs: Sequence[Job]) -> list[list[Job]]:
    """Runs that may go on at the same time: none in the wave of one that it begins with."""
    return [[job for job in jobs if job.turn == turn] for turn in sorted({job.turn for job in jobs})]


def conclude(
    plan: StudyPlan, device: torch.device, *, command: str, on_progress: Callable[[str, int, int], None]
) -> tuple[Outcome, Path]:
    """Measure and take apart what is finished, judge, write the report and the evidence; the outcome and the page."""
    study = plan.study
    _measure(plan, device, command, on_progress)
    kind = TAKEN_APART.get(study.shows)
    wanted = kind is not None or any(column.measure == "response" for column in study.columns)
    if wanted:
        for job in _ended(plan.jobs, plan.home):
            if job.run.seed == 0:
                _take_apart(job, plan, kind or "responses", device, command, on_progress)
    found = outcome(study, plan.scale, plan.home, seeds=plan.seeds, responses=mean_response, absent=plan.absent)
    page = write_report(study, found, plan.cells, plan.home, command)
    for job in plan.jobs:
        if status(job, plan.home) == "finished":
            write_evidence(job, plan.home, study)
    return found, page


def _ended(jobs: Iterable[Job], home: Path) -> list[Job]:
    return [job for job in jobs if status(job, home) == "finished" and not (job.folder(home) / DIVERGED).is_file()]


def _measure(plan: StudyPlan, device: torch.device, command: str, on_progress: Callable[[str, int, int], None]) -> None:
    """Under the study's other protocols, and ensembles, each once; one look was measured when the run ended."""
    for cell in plan.cells:
        if cell.row.ensemble is not None and cell.jobs and len(_ended(cell.jobs, plan.home)) == len(cell.jobs):
            _measure_together(cell, plan, device, command, on_progress)
    for protocol, jobs in _by_protocol(plan).items():
        for job in _ended(jobs, plan.home):
            path = job.folder(plan.home) / result_name(protocol)
            if not path.is_file():
                evaluation, _ = evaluate_weights(
                    job.folder(plan.home),
                    job.run.data,
                    EvaluationConfig(protocol=protocol),
                    device=device,
                    command=command,
                    on_progress=lambda done, total: on_progress(f"{job.name}, {protocol}", done, total),  # noqa: B023
                )
                evaluation.result.save(path)


def _by_protocol(plan: StudyPlan) -> dict[str, Sequence[Job]]:
    found: dict[str, list[Job]] = {}
    for cell in plan.cells:
        by_views = (
            cell.column.measure in ("error", "top5_error", *HIGHER_IS_BETTER, *OF_GUESSES) and cell.row.ensemble is None
        )
        if by_views and cell.protocol != "center":
            found.setdefault(cell.protocol, []).extend(job for job in cell.jobs if job.dataset not in plan.absent)
    return {name: list({job.name: job for job in jobs}.values()) for name, jobs in found.items()}


def _measure_together(
    cell: Cell, plan: StudyPlan, device: torch.device, command: str, on_progress: Callable[[str, int, int], None]
) -> None:
    """The runs of a cell as one, on the test images of the first."""
    path, first = cell.together(plan.home), cell.jobs[0]
    if path.is_file() or first.dataset in plan.absent:
        return
    found = evaluate_ensemble(
        [str(job.folder(plan.home)) for job in cell.jobs],
        first.run.data,
        EnsembleConfig(protocol=cell.protocol),
        device=device,
        command=command,
        on_progress=lambda done, total: on_progress(f"{cell.row.label}, {cell.protocol}", done, total),
    )
    make_folder(path.parent)
    found.evaluation.result.save(path)


def _take_apart(
    job: Job,
    plan: StudyPlan,
    kind: str,
    device: torch.device,
    command: str,
    on_progress: Callable[[str, int, int], None],
) -> None:
    folder = job.folder(plan.home)
    data = DataConfig.model_validate(dict(job.run.data))
    settings = AnalysisConfig(images=IMAGES[plan.scale])
    examine(
        AnalysisTarget(WeightsSpec(str(folder)), data),
        (kind,),
        folder / "analysis",
        settings,
        device=device,
        command=command,
        on_progress=lambda what, done, total: on_progress(f"{job.name}, {what}", done, total),
    )
