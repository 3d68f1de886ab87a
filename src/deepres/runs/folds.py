"""A run in K folds: trained one after the other, each measured on the images it has not seen, in the end one ensemble.

RUN/folds.json       the plan, and which folds are done
RUN/fold-1/ …        a run folder each, of the same recipe
RUN/test.json        all folds' answers pooled: each image by the network that has not seen it (data/sources/folding.py)
RUN/predictions.npz, worst.csv, summary.json, report.html   of these
RUN/ensemble.json    the K networks as one on the official test images, where there are some; measured once
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import torch
from pydantic import JsonValue

from deepres.base import records
from deepres.base.errors import shared
from deepres.base.events import Doing
from deepres.base.files import write_atomic
from deepres.base.manifest import holds_run, is_whole, require_own, writing
from deepres.base.npz import opened
from deepres.base.reading import json_object
from deepres.data.sources.folding import Folded
from deepres.nn.weights.folds import fold_folder, fold_name, require_own_fold
from deepres.recipes.run import Run, load_run
from deepres.report.evaluation import FoldRow, ReportFacts, write_report
from deepres.runs import train
from deepres.runs.budget import Deadline
from deepres.runs.ensemble import EnsembleConfig, EnsembleEvaluation
from deepres.runs.finish import PREDICTIONS, SUMMARY, training_of
from deepres.runs.fold_plan import Folds, begin_folds, plan_in, require_none, require_same_plan, save_plan
from deepres.runs.fold_time import FoldTime, planned_in_time
from deepres.runs.folds_measured import folded_in, official, on_official, pooled
from deepres.runs.lock import StoppedError, held
from deepres.runs.session import Session
from deepres.runs.train import OnEvent
from deepres.tasks.ensemble import averaging
from deepres.tasks.result import Evaluation, Result
from deepres.tasks.saved import save_predictions
from deepres.tasks.worst import FILE as WORST
from deepres.tasks.worst import worst_list

POOLED = "test.json"
ENSEMBLE = "ensemble.json"


@dataclass(frozen=True)
class FinishedFolds:
    """What all folds came to, each and pooled, and the ensemble on the official test images, where there are some."""

    folder: Path
    result: Result
    tests: tuple[Result, ...]
    ensemble: Result | None
    cut: tuple[int, ...] = ()
    """The folds that were trained for less than planned, so that all ended in time."""


EventsOf = Callable[[str], OnEvent]
"""What is told of one fold, by what it is called: "fold 2 of 5"; of the session itself nothing is."""


def start(run: Run, session: Session, events_of: EventsOf, *, deadline: Deadline | None = None) -> FinishedFolds:
    """Train `run`, whose data are in folds, once for each fold.

    With `deadline` all of it is made to fit (`fold_time.py`): each fold as long as the others.

    Raises:
        InputError: the folder already holds a run; anything that images or training refuse.
        StoppedError: a signal asked for it.
    """
    assert run.data.folds is not None
    plan = Folds(folds=run.data.folds, run=run.replace(data=run.data.replace(fold=1)))
    folder, once = session.folder, session.processes.on_rank_zero
    once(lambda: require_none(folder))
    time = None
    if deadline is not None:
        plan, time = planned_in_time(plan, deadline, replace(session, on_event=events_of(f"all {plan.folds} folds")))
    once(lambda: begin_folds(plan, folder))
    return _carry_out(plan, (), session, events_of, time)


def resume(
    session: Session, edits: Sequence[str], events_of: EventsOf, *, deadline: Deadline | None = None
) -> FinishedFolds:
    """Go on with the fold that was cut, and those after it; what is done is not done again.

    With `deadline` what is left is cut where it would not end in time, each fold to an equal share.

    Raises:
        InputError: an edit that would make another run, or anything that images or training refuse.
    """
    folder, once = session.folder, session.processes.on_rank_zero
    plan = once(lambda: plan_in(folder))
    once(lambda: require_same_plan(folder, edits))
    run = records.edit(plan.run, edits)
    time = None if deadline is None else FoldTime(deadline)
    return _carry_out(plan.replace(run=run), edits, session, events_of, time)


def _carry_out(
    plan: Folds, edits: Sequence[str], session: Session, events_of: EventsOf, time: FoldTime | None
) -> FinishedFolds:
    folder, processes = session.folder, session.processes
    with held(folder, processes):
        processes.on_rank_zero(lambda: save_plan(plan, folder))
        missing = [fold for fold in range(1, plan.folds + 1) if not _is_done(plan, fold, session)]
        for left, fold in zip(range(len(missing), 0, -1), missing, strict=True):
            own = replace(session, on_event=events_of(f"fold {fold} of {plan.folds}"))
            _train(plan, fold, edits, own, None if time is None else time.share(left))
            plan = plan.replace(done=tuple(sorted({*plan.done, fold})))
            processes.on_rank_zero(lambda: save_plan(plan, folder))  # noqa: B023
        if not processes.on_rank_zero(lambda: (folder / SUMMARY).is_file() and is_whole(folder)):
            _conclude(plan, replace(session, on_event=events_of(f"all {plan.folds} folds")))
        return processes.on_rank_zero(lambda: _found(plan, folder))


def _is_done(plan: Folds, fold: int, session: Session) -> bool:
    """Whether a fold was trained and lies there as it was; if not, resuming mends it, or says what is wrong."""

    def as_it_was() -> bool:
        require_own_fold(session.folder, fold)
        return is_whole(fold_folder(session.folder, fold))

    return fold in plan.done and session.processes.on_rank_zero(as_it_was)


def _train(plan: Folds, fold: int, edits: Sequence[str], session: Session, deadline: Deadline | None) -> None:
    folder, processes, own = session.folder, session.processes, fold_folder(session.folder, fold)
    session.on_event(f"fold {fold} of {plan.folds}: {own}")
    own_session = replace(session, folder=own)
    try:
        processes.on_rank_zero(lambda: require_own_fold(folder, fold))
        if processes.on_rank_zero(lambda: holds_run(own)):
            train.resume(own_session, edits, deadline=deadline)
        else:
            processes.on_rank_zero(lambda: shutil.rmtree(own, ignore_errors=True))  # it was cut while it was set up
            run = plan.run.replace(data=plan.run.data.replace(fold=fold))
            name = processes.on_rank_zero(lambda: fold_name(folder, fold))
            train.start(run, own_session, deadline=deadline, name=name)
    except StoppedError as stopped:
        message = stopped.message.replace(f"--resume {own}", f"--resume {folder}")
        raise shared(StoppedError(f"fold {fold} of {plan.folds}: {message}", stopped.exit_code - 128)) from stopped


def _conclude(plan: Folds, session: Session) -> None:
    folder, processes, command = session.folder, session.processes, session.command
    folded = processes.on_rank_zero(lambda: folded_in(plan, folder))
    ensemble = None
    if folded.apart:
        session.on_event(Doing("test images, by all folds"))
        config = EnsembleConfig(split=official(folded), on_bad_image=plan.run.data.on_bad_image, force=True)
        ensemble = on_official(plan, folder, config, session.device, command, None, processes)
    processes.on_rank_zero(lambda: _write(plan, folder, folded, ensemble, command))


def _write(plan: Folds, folder: Path, folded: Folded, ensemble: EnsembleEvaluation | None, command: str) -> None:
    evaluations = [_of_fold(fold_folder(folder, fold)) for fold in range(1, plan.folds + 1)]
    evaluation = pooled(evaluations, folded, command, folder)
    result, run = evaluation.result, plan.run
    together = None if ensemble is None else ensemble.evaluation.result
    worst = worst_list(evaluation, folded.whole)
    rows = [
        FoldRow(f"fold-{fold}", each.result, training_of(fold_folder(folder, fold))["chosen_epoch"])
        for fold, each in enumerate(evaluations, 1)
    ]
    write_report(
        folder / "report.html",
        ReportFacts(
            result=result,
            images=folded.whole,
            worst=worst,
            folds=[*rows, *([FoldRow("all of them as one, on the test images", together, None)] if together else [])],
            run={"command": command, "folds": plan.folds, **run.model_dump(mode="json")},
            title=f"{run.model.name} on {Path(run.data.source).name or run.data.source}: {plan.folds} folds",
        ),
    )
    values, name = [each.result.headline.value for each in evaluations], result.headline.name.replace(" ", "_")
    facts: dict[str, JsonValue] = {
        "command": command,
        "folds": plan.folds,
        f"fold_{name}s": list(values),
        f"mean_{name}": fmean(values),
        "deviation": stdev(values),
        **result.facts(),
        f"ensemble_{name}": None if together is None else together.headline.value,
    }
    with writing(folder) as new:
        if together is not None:
            together.save(new / ENSEMBLE)
        result.save(new / POOLED)
        save_predictions(new / PREDICTIONS, evaluation, folded.whole)
        write_atomic(new / WORST, worst)
        write_atomic(new / SUMMARY, records.json_text(facts))


def _found(plan: Folds, folder: Path) -> FinishedFolds:
    require_own(folder, POOLED)
    require_own(folder, ENSEMBLE)
    own, load = range(1, plan.folds + 1), averaging(plan.run.task).result_in
    tests = tuple(load(fold_folder(folder, fold) / POOLED) for fold in own)
    ensemble = load(folder / ENSEMBLE) if (folder / ENSEMBLE).is_file() else None
    cut = tuple(fold for fold in own if _was_cut(fold_folder(folder, fold)))
    return FinishedFolds(folder, load(folder / POOLED), tests, ensemble, cut)


def _was_cut(folder: Path) -> bool:
    summary = json_object(folder / SUMMARY, "summary of a run", "resume it")
    return str(summary.get("ended_by")).startswith("--minutes")


def _of_fold(folder: Path) -> Evaluation:
    """A fold's own test result and the answers behind it, as its run wrote them."""
    require_own(folder, POOLED, PREDICTIONS)
    task, path = load_run(folder).task, folder / PREDICTIONS
    with opened(path, path, "a file of predictions", "train that fold anew") as columns:
        kept = {name: torch.from_numpy(columns[name]) for name in columns.names if name not in ("name", "about")}
        kept["indices"] = kept.pop("index")
        answers = averaging(task).restored(kept)
    return Evaluation(averaging(task).result_in(folder / POOLED), answers, task)
