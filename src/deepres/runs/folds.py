"""A run in K folds: trained one after the other, each measured on the images it has not seen, in the end one ensemble.

RUN/folds.json       the plan, and which folds are done
RUN/fold-1/ …        a run folder each, of the same recipe
RUN/test.json        all folds' answers pooled: each image by the network that has not seen it (data/sources/folding.py)
RUN/predictions.npz, worst.csv, summary.json, report.html   of these
RUN/ensemble.json    the K networks as one on the official test images, where there are some; measured once
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import torch
from pydantic import JsonValue

from deepres.base import records
from deepres.base.errors import shared
from deepres.base.events import UNSAID, Doing
from deepres.base.files import write_atomic
from deepres.base.manifest import holds_run, is_whole, require_own, writing
from deepres.base.npz import opened
from deepres.data.sources.folding import Folded
from deepres.nn.weights.folds import fold_folder, fold_name, require_own_fold
from deepres.recipes.run import Run
from deepres.report.evaluation import FoldRow, ReportFacts, write_report
from deepres.runs import train
from deepres.runs.ensemble import EnsembleConfig, EnsembleEvaluation
from deepres.runs.finish import PREDICTIONS, SUMMARY, training_of
from deepres.runs.fold_plan import Folds, begin_folds, plan_in, require_none, require_same_plan, save_plan
from deepres.runs.folds_measured import official, on_official, parts_of, pooled
from deepres.runs.lock import StoppedError, held
from deepres.runs.train import OnEvent
from deepres.tasks.classification.metrics import Predictions
from deepres.tasks.classification.result import ClassificationResult
from deepres.tasks.classification.task import Classification
from deepres.tasks.result import Evaluation
from deepres.tasks.saved import save_predictions
from deepres.tasks.worst import FILE as WORST
from deepres.tasks.worst import worst_list
from deepres.train.distributed import SINGLE_PROCESS, Distributed

Progress = Callable[[int, int], None]
POOLED = "test.json"
ENSEMBLE = "ensemble.json"


@dataclass(frozen=True)
class FinishedFolds:
    """What all folds came to, and the ensemble on the official test images, where there are some."""

    folder: Path
    result: ClassificationResult
    errors: tuple[float, ...]
    ensemble: ClassificationResult | None


def start(
    run: Run,
    folder: Path,
    *,
    device: torch.device,
    events_of: Callable[[str], OnEvent],
    processes: Distributed = SINGLE_PROCESS,
    command: str = UNSAID,
) -> FinishedFolds:
    """Train `run`, whose data are in folds, once for each fold; `events_of("fold 2 of 5")` makes what is told of one.

    Raises:
        InputError: the folder already holds a run; anything that images or training refuse.
        StoppedError: a signal asked for it.
    """
    assert run.data.folds is not None
    plan = Folds(folds=run.data.folds, run=run.replace(data=run.data.replace(fold=1)))
    processes.on_rank_zero(lambda: require_none(folder))
    processes.on_rank_zero(lambda: begin_folds(plan, folder))
    return _carry_out(plan, folder, (), device, events_of, processes, command)


def resume(
    folder: Path,
    edits: Sequence[str],
    *,
    device: torch.device,
    events_of: Callable[[str], OnEvent],
    processes: Distributed = SINGLE_PROCESS,
    command: str = UNSAID,
) -> FinishedFolds:
    """Go on with the fold that was cut, and those after it; what is done is not done again.

    Raises:
        InputError: an edit that would make another run, or anything that images or training refuse.
    """
    plan = processes.on_rank_zero(lambda: plan_in(folder))
    processes.on_rank_zero(lambda: require_same_plan(folder, edits))
    run = records.edit(plan.run, edits)
    return _carry_out(plan.replace(run=run), folder, edits, device, events_of, processes, command)


def _carry_out(
    plan: Folds,
    folder: Path,
    edits: Sequence[str],
    device: torch.device,
    events_of: Callable[[str], OnEvent],
    processes: Distributed,
    command: str,
) -> FinishedFolds:
    with held(folder, processes):
        processes.on_rank_zero(lambda: save_plan(plan, folder))
        for fold in range(1, plan.folds + 1):
            if fold in plan.done and processes.on_rank_zero(lambda: _has_ended(folder, fold)):  # noqa: B023
                continue
            _train(plan, folder, fold, edits, device, events_of(f"fold {fold} of {plan.folds}"), processes, command)
            plan = plan.replace(done=tuple(sorted({*plan.done, fold})))
            processes.on_rank_zero(lambda: save_plan(plan, folder))  # noqa: B023
        on_event = events_of(f"all {plan.folds} folds")
        if not processes.on_rank_zero(lambda: (folder / SUMMARY).is_file() and is_whole(folder)):
            _conclude(plan, folder, on_event, device, processes, command)
        return processes.on_rank_zero(lambda: _found(plan, folder))


def _has_ended(folder: Path, fold: int) -> bool:
    """Whether a fold that was trained lies there as it was; if not, resuming mends it, or says what is wrong."""
    require_own_fold(folder, fold)
    return is_whole(fold_folder(folder, fold))


def _train(
    plan: Folds,
    folder: Path,
    fold: int,
    edits: Sequence[str],
    device: torch.device,
    on_event: OnEvent,
    processes: Distributed,
    command: str,
) -> None:
    own = fold_folder(folder, fold)
    on_event(f"fold {fold} of {plan.folds}: {own}")
    try:
        processes.on_rank_zero(lambda: require_own_fold(folder, fold))
        if processes.on_rank_zero(lambda: holds_run(own)):
            train.resume(own, edits, device=device, on_event=on_event, processes=processes, command=command)
        else:
            processes.on_rank_zero(lambda: shutil.rmtree(own, ignore_errors=True))  # it was cut while it was set up
            run = plan.run.replace(data=plan.run.data.replace(fold=fold))
            name = processes.on_rank_zero(lambda: fold_name(folder, fold))
            train.start(run, own, device=device, on_event=on_event, processes=processes, name=name, command=command)
    except StoppedError as stopped:
        message = stopped.message.replace(f"--resume {own}", f"--resume {folder}")
        raise shared(StoppedError(f"fold {fold} of {plan.folds}: {message}", stopped.exit_code - 128)) from stopped


def _conclude(
    plan: Folds, folder: Path, on_event: OnEvent, device: torch.device, processes: Distributed, command: str
) -> None:
    parts = processes.on_rank_zero(lambda: parts_of(plan, folder))
    ensemble = None
    if parts.apart:
        on_event(Doing("test images, by all folds"))
        config = EnsembleConfig(split=official(parts), on_bad_image=plan.run.data.on_bad_image, force=True)
        ensemble = on_official(plan, folder, config, device, command, None, processes)
    processes.on_rank_zero(lambda: _write(plan, folder, parts, ensemble, command))


def _write(plan: Folds, folder: Path, parts: Folded, ensemble: EnsembleEvaluation | None, command: str) -> None:
    evaluations = [_of_fold(fold_folder(folder, fold)) for fold in range(1, plan.folds + 1)]
    evaluation = pooled(evaluations, parts, command, folder)
    result, run = evaluation.result, plan.run
    together = None if ensemble is None else ensemble.evaluation.result
    worst = worst_list(evaluation, parts.whole)
    rows = [
        FoldRow(f"fold-{fold}", each.result, training_of(fold_folder(folder, fold))["chosen_epoch"])
        for fold, each in enumerate(evaluations, 1)
    ]
    write_report(
        folder / "report.html",
        ReportFacts(
            result=result,
            images=parts.whole,
            worst=worst,
            folds=[*rows, *([FoldRow("all of them as one, on the test images", together, None)] if together else [])],
            run={"command": command, "folds": plan.folds, **run.model_dump(mode="json")},
            title=f"{run.model.name} on {Path(run.data.source).name or run.data.source}: {plan.folds} folds",
        ),
    )
    errors = [each.result.error for each in evaluations]
    facts: dict[str, JsonValue] = {
        "command": command,
        "folds": plan.folds,
        "fold_errors": list(errors),
        "mean_error": fmean(errors),
        "deviation": stdev(errors),
        "num_images": result.num_images,
        "num_wrong": result.num_wrong,
        "error": result.error,
        "balanced_error": result.balanced_error,
        "error_interval_95": [result.error_low, result.error_high],
        "ensemble_error": None if together is None else together.error,
    }
    with writing(folder) as new:
        if together is not None:
            together.save(new / ENSEMBLE)
        result.save(new / POOLED)
        save_predictions(new / PREDICTIONS, evaluation, parts.whole)
        write_atomic(new / WORST, worst)
        write_atomic(new / SUMMARY, records.json_text(facts))


def _found(plan: Folds, folder: Path) -> FinishedFolds:
    require_own(folder, POOLED)
    require_own(folder, ENSEMBLE)
    tests = [ClassificationResult.load(fold_folder(folder, fold) / POOLED) for fold in range(1, plan.folds + 1)]
    ensemble = ClassificationResult.load(folder / ENSEMBLE) if (folder / ENSEMBLE).is_file() else None
    return FinishedFolds(
        folder, ClassificationResult.load(folder / POOLED), tuple(each.error for each in tests), ensemble
    )


def _of_fold(folder: Path) -> Evaluation:
    """A fold's own test result and the answers behind it, as its run wrote them."""
    require_own(folder, POOLED, PREDICTIONS)
    path = folder / PREDICTIONS
    with opened(path, path, "a file of predictions", "train that fold anew") as columns:
        kept = ("truth", "predicted", "rank", "probability", "probability_of_truth", "loss")
        found = {name: torch.from_numpy(columns[name]) for name in kept}
        indices = torch.from_numpy(columns["index"])
    return Evaluation(
        ClassificationResult.load(folder / POOLED), Predictions(indices=indices, **found), Classification()
    )
