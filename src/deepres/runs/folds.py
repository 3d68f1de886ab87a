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
from typing import Any

import torch
from pydantic import JsonValue

from deepres.base import records
from deepres.base.errors import InputError, shared
from deepres.base.files import write_atomic
from deepres.base.manifest import RUN, require_own, writing
from deepres.base.npz import opened
from deepres.base.telling import Doing
from deepres.data.sources.config import DataConfig
from deepres.data.sources.folding import Folded, folded
from deepres.data.sources.open import find
from deepres.nn.weights.folds import fold_folder, fold_folders, fold_name, holds_folds, require_own_fold
from deepres.recipes.run import Run
from deepres.report.evaluation import FoldRow, write_report
from deepres.runs import train
from deepres.runs.ensemble import Measured, measure_together
from deepres.runs.evaluate import measure
from deepres.runs.finish import PREDICTIONS, SUMMARY, training_of
from deepres.runs.fold_plan import Folds, begin_folds, plan_in, require_none, require_same_plan, save_plan
from deepres.runs.lock import StoppedError, held
from deepres.runs.logbook import command
from deepres.runs.seen import asks_for_own, own_data
from deepres.runs.train import Tell
from deepres.tasks.classification.ensemble import Member
from deepres.tasks.classification.evaluator import Evaluation, Result, concluded, percent, save_predictions
from deepres.tasks.classification.metrics import Predictions
from deepres.tasks.classification.worst import FILE as WORST
from deepres.tasks.classification.worst import worst_list
from deepres.train.distributed import ALONE, World

POOLED = "test.json"
ENSEMBLE = "ensemble.json"
SPLIT = "cross-validated"


@dataclass(frozen=True)
class Finished:
    """What all folds came to, and the ensemble on the official test images, where there are some."""

    folder: Path
    result: Result
    errors: tuple[float, ...]
    ensemble: Result | None


def start(
    run: Run, folder: Path, *, device: torch.device, told: Callable[[str], Tell], world: World = ALONE
) -> Finished:
    """Train `run`, whose data are in folds, once for each fold; `told("fold 2 of 5")` makes what is told of one.

    Raises:
        InputError: the folder already holds a run; anything that images or training refuse.
        StoppedError: a signal asked for it.
    """
    assert run.data.folds is not None
    plan = Folds(folds=run.data.folds, run=run.replace(data=run.data.replace(fold=1)))
    world.by_first(lambda: require_none(folder))
    world.by_first(lambda: begin_folds(plan, folder))
    return _carry_out(plan, folder, (), device, told, world)


def resume(
    folder: Path, edits: Sequence[str], *, device: torch.device, told: Callable[[str], Tell], world: World = ALONE
) -> Finished:
    """Go on with the fold that was cut, and those after it; what is done is not done again.

    Raises:
        InputError: an edit that would make another run, or anything that images or training refuse.
    """
    plan = world.by_first(lambda: plan_in(folder))
    world.by_first(lambda: require_same_plan(folder, edits))
    run = records.edit(plan.run, edits)
    return _carry_out(plan.replace(run=run), folder, edits, device, told, world)


def measure_any(
    weights: Sequence[str],
    data: DataConfig | None = None,
    *,
    choose_on: str | None = None,
    calibrate: bool = False,
    world: World = ALONE,
    **options: Any,
) -> Measured:
    """`measure_together`, a folder of folds standing for all its networks.

    On the run's own images: its ensemble on the official test images, where there are none each by the network that has
    not seen it.

    Raises:
        InputError: own images of folds with other weights, a `split` that each fold has for itself; as there.
    """

    def expanded() -> tuple[Path | None, tuple[str, ...]]:
        own = next((each for each in weights if holds_folds(each) and _asks_for_own(Path(each), data)), None)
        if own is not None and (len(weights) > 1 or choose_on is not None or calibrate):
            what = "with other weights" if len(weights) > 1 else "with --select or --calibrate"
            raise InputError(f"{own} {what}: each fold has images of its own; name another SOURCE, or {own}/fold-1")
        every = (fold_folders(each) if holds_folds(each) else (each,) for each in weights)
        return None if own is None else Path(own), tuple(str(one) for each in every for one in each)

    own, named = world.by_first(expanded)
    if own is not None:
        return _measure_own(own, world=world, **options)
    return measure_together(named, data, choose_on=choose_on, calibrate=calibrate, world=world, **options)


def _asks_for_own(folder: Path, data: DataConfig | None) -> bool:
    plan = plan_in(folder)
    return data is None or asks_for_own(data, own_data(fold_folder(folder, 1), plan.run))


def _measure_own(
    folder: Path, *, split: str | None, world: World, command: str, keep_scores: bool = False, **options: Any
) -> Measured:
    folders = fold_folders(folder)
    plan = plan_in(folder)
    parts = world.by_first(lambda: _parts(plan, folder))
    if split not in (None, "test"):
        raise InputError(f"{folder}: --split {split}: each fold has its own; name {fold_folder(folder, 1)}")
    if parts.apart:
        return _on_official(plan, folder, parts, command, world, keep_scores=keep_scores, **options)
    found, named = [], []
    for each in folders:
        evaluation, images = measure(
            each, None, split="test", command=command, world=world, keep_scores=keep_scores, **options
        )
        found.append(evaluation)
        named.append(Member(str(each), evaluation, images))
    return Measured(pooled(found, parts, command, folder), parts.whole, tuple(named), None)


def pooled(evaluations: Sequence[Evaluation], parts: Folded, command: str, folder: Path) -> Evaluation:
    """The answers of all folds as those of one set.

    Its interval is Wilson's, as if the answers were independent. They are so given the K networks, but these share
    training images, and no estimate of K-fold cross-validation's variance is unbiased (Bengio & Grandvalet 2004): the
    deviation over folds is told beside it.
    """
    results = [each.result for each in evaluations]
    places = [torch.tensor(parts.members(fold)) for fold in range(1, len(results) + 1)]
    columns = {
        name: torch.cat([getattr(each.predictions, name) for each in evaluations])
        for name, column in vars(evaluations[0].predictions).items()
        if column is not None
    }
    pairs = zip(places, evaluations, strict=True)
    columns["indices"] = torch.cat([own[each.predictions.indices] for own, each in pairs])
    order = columns["indices"].argsort()
    predictions = Predictions(**{name: column[order] for name, column in columns.items()})
    first = results[0]
    provenance: dict[str, JsonValue] = {
        **{name: first.provenance.get(name) for name in ("model", "source", "precision", "versions", "hardware")},
        "command": command,
        "run": str(folder),
        "weights_sha256": None,
        "members": [
            f"fold {fold}: {percent(each.error)}, sha256 {each.provenance['weights_sha256']}"
            for fold, each in enumerate(results, 1)
        ],
    }
    notes = dict.fromkeys(f"fold {fold}: {note}" for fold, each in enumerate(results, 1) for note in each.notes)
    facts = {
        "split": SPLIT,
        "protocol": first.protocol,
        "shown": first.shown,
        "skipped": tuple(image for each in results for image in each.skipped),
        "seconds": sum(each.seconds for each in results),
        "provenance": provenance,
        "precision": first.precision,
        "notes": (spread([each.error for each in results]), *notes),
    }
    return concluded(predictions, parts.whole, facts)


def spread(errors: Sequence[float]) -> str:
    """`over 5 folds 3.20 ± 0.81 % …`: mean and deviation (n - 1), and what the interval holds for."""
    mean, deviation = fmean(errors), stdev(errors)
    return (
        f"each image answered by the network that has not seen it; over {len(errors)} folds "
        f"{100 * mean:.2f} ± {percent(deviation)} (mean ± deviation, {100 * min(errors):.2f} to {percent(max(errors))})"
        "; "
        "the interval counts images, not what other training images would change: at that the deviation hints"
    )


def _carry_out(
    plan: Folds, folder: Path, edits: Sequence[str], device: torch.device, told: Callable[[str], Tell], world: World
) -> Finished:
    with held(folder, world):
        world.by_first(lambda: save_plan(plan, folder))
        for fold in range(1, plan.folds + 1):
            if fold in plan.done:
                continue
            _train(plan, folder, fold, edits, device, told(f"fold {fold} of {plan.folds}"), world)
            plan = plan.replace(done=(*plan.done, fold))
            world.by_first(lambda: save_plan(plan, folder))  # noqa: B023
        tell = told(f"all {plan.folds} folds")
        if not world.by_first(lambda: (folder / SUMMARY).is_file()):
            _conclude(plan, folder, tell, device, world)
        return world.by_first(lambda: _found(plan, folder))


def _train(
    plan: Folds, folder: Path, fold: int, edits: Sequence[str], device: torch.device, tell: Tell, world: World
) -> None:
    own = fold_folder(folder, fold)
    tell(f"fold {fold} of {plan.folds}: {own}")
    try:
        world.by_first(lambda: require_own_fold(folder, fold))
        if world.by_first(lambda: (own / RUN).is_file()):
            train.resume(own, edits, device=device, tell=tell, world=world)
        else:
            world.by_first(lambda: shutil.rmtree(own, ignore_errors=True))  # it was cut while it was set up
            run = plan.run.replace(data=plan.run.data.replace(fold=fold))
            name = world.by_first(lambda: fold_name(folder, fold))
            train.start(run, own, device=device, tell=tell, world=world, name=name)
    except StoppedError as stopped:
        message = stopped.message.replace(f"--resume {own}", f"--resume {folder}")
        raise shared(StoppedError(f"fold {fold} of {plan.folds}: {message}", stopped.exit_code - 128)) from stopped


def _conclude(plan: Folds, folder: Path, tell: Tell, device: torch.device, world: World) -> None:
    parts = world.by_first(lambda: _parts(plan, folder))
    ensemble = None
    if parts.apart:
        tell(Doing("test images, by all folds"))
        ensemble = _on_official(
            plan, folder, parts, command(), world, device=device, on_bad_image=plan.run.data.on_bad_image
        )
    world.by_first(lambda: _write(plan, folder, parts, ensemble))


def _write(plan: Folds, folder: Path, parts: Folded, ensemble: Measured | None) -> None:
    evaluations = [_of_fold(fold_folder(folder, fold)) for fold in range(1, plan.folds + 1)]
    evaluation = pooled(evaluations, parts, command(), folder)
    result, run = evaluation.result, plan.run
    together = None if ensemble is None else ensemble.evaluation.result
    worst = worst_list(evaluation, parts.whole)
    rows = [
        FoldRow(f"fold-{fold}", each.result, training_of(fold_folder(folder, fold))["chosen_epoch"])
        for fold, each in enumerate(evaluations, 1)
    ]
    write_report(
        folder / "report.html",
        result=result,
        images=parts.whole,
        worst=worst,
        folds=[*rows, *([FoldRow("all of them as one, on the test images", together, None)] if together else [])],
        run={"command": command(), "folds": plan.folds, **run.model_dump(mode="json")},
        title=f"{run.model.name} on {Path(run.data.source).name or run.data.source}: {plan.folds} folds",
    )
    errors = [each.result.error for each in evaluations]
    facts: dict[str, JsonValue] = {
        "command": command(),
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


def _found(plan: Folds, folder: Path) -> Finished:
    require_own(folder, POOLED)
    require_own(folder, ENSEMBLE)
    tests = [Result.load(fold_folder(folder, fold) / POOLED) for fold in range(1, plan.folds + 1)]
    ensemble = Result.load(folder / ENSEMBLE) if (folder / ENSEMBLE).is_file() else None
    return Finished(folder, Result.load(folder / POOLED), tuple(each.error for each in tests), ensemble)


def _of_fold(folder: Path) -> Evaluation:
    """A fold's own test result and the answers behind it, as its run wrote them."""
    require_own(folder, POOLED, PREDICTIONS)
    path = folder / PREDICTIONS
    with opened(path, path, "a file of predictions", "train that fold anew") as columns:
        kept = ("truth", "predicted", "rank", "probability", "probability_of_truth", "loss")
        found = {name: torch.from_numpy(columns[name]) for name in kept}
        indices = torch.from_numpy(columns["index"])
    return Evaluation(Result.load(folder / POOLED), Predictions(indices=indices, **found))


def _parts(plan: Folds, folder: Path) -> Folded:
    data = own_data(fold_folder(folder, 1), plan.run)
    return folded(find(data), plan.folds, data.split_seed, data.source)


def _on_official(plan: Folds, folder: Path, parts: Folded, command: str, world: World, **options: Any) -> Measured:
    data = own_data(fold_folder(folder, 1), plan.run)
    whole = DataConfig(**{**dict(data), "folds": None, "fold": None})
    split = "test" if "test" in parts.apart else "val"
    named = [str(each) for each in fold_folders(folder)]
    return measure_together(named, whole, split=split, command=command, world=world, **{"force": True, **options})
