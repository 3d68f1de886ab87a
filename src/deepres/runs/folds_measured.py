"""A run in folds, measured: its own images each by the network that has not seen it, others by all as one."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

import torch
from pydantic import JsonValue

from deepres.base.errors import InputError
from deepres.base.events import UNSAID, OnProgress
from deepres.data.sources.config import DataConfig
from deepres.data.sources.folding import Folded, folded
from deepres.data.sources.open import find
from deepres.nn.weights.folds import fold_folder, fold_folders, holds_folds
from deepres.nn.weights.spec import WeightsSpec
from deepres.runs.ensemble import AS_ONE, EnsembleConfig, EnsembleEvaluation, evaluate_ensemble
from deepres.runs.evaluate import evaluate_weights
from deepres.runs.fold_plan import Folds, plan_in
from deepres.runs.seen import asks_for_own, own_data
from deepres.tasks.ensemble import Member
from deepres.tasks.result import Evaluation, Headline
from deepres.train.distributed import SINGLE_PROCESS, Distributed

SPLIT = "cross-validated"


def measure_any(
    weights: Sequence[WeightsSpec | str],
    data: DataConfig | None = None,
    config: EnsembleConfig = AS_ONE,
    *,
    device: torch.device,
    command: str = UNSAID,
    on_progress: OnProgress | None = None,
    processes: Distributed = SINGLE_PROCESS,
) -> EnsembleEvaluation:
    """`evaluate_ensemble`, a folder of folds standing for all its networks.

    On the run's own images: its ensemble on the official test images, where there are none each by the network that has
    not seen it.

    Raises:
        InputError: own images of folds with other weights, a `split` that each fold has for itself; as there.
    """

    specs = [WeightsSpec.of(each) for each in weights]

    def expanded() -> tuple[Path | None, tuple[WeightsSpec, ...]]:
        named = [spec.name for spec in specs]
        own = next((each for each in named if holds_folds(each) and _asks_for_own(Path(each), data)), None)
        if own is not None and (len(named) > 1 or config.choose_on is not None or config.calibrate):
            what = "with other weights" if len(named) > 1 else "with --select or --calibrate"
            raise InputError(f"{own} {what}: each fold has images of its own; name another SOURCE, or {own}/fold-1")
        every = ((spec, fold_folders(spec.name) if holds_folds(spec.name) else (spec.name,)) for spec in specs)
        return None if own is None else Path(own), tuple(spec.called(one) for spec, each in every for one in each)

    own, named = processes.on_rank_zero(expanded)
    if own is not None:
        return _measure_own(own, config, device, command, on_progress, processes)
    return evaluate_ensemble(
        named, data, config, device=device, command=command, on_progress=on_progress, processes=processes
    )


def _asks_for_own(folder: Path, data: DataConfig | None) -> bool:
    plan = plan_in(folder)
    return data is None or asks_for_own(data, own_data(fold_folder(folder, 1), plan.run))


def _measure_own(
    folder: Path,
    config: EnsembleConfig,
    device: torch.device,
    command: str,
    on_progress: OnProgress | None,
    processes: Distributed,
) -> EnsembleEvaluation:
    folders = fold_folders(folder)
    plan = plan_in(folder)
    folded = processes.on_rank_zero(lambda: folded_in(plan, folder))
    if config.split not in (None, "test"):
        raise InputError(f"{folder}: --split {config.split}: each fold has its own; name {fold_folder(folder, 1)}")
    if folded.apart:
        config = config.replace(split=official(folded))
        return on_official(plan, folder, config, device, command, on_progress, processes)
    config = config.replace(split="test")
    found, named = [], []
    for each in folders:
        evaluation, images = evaluate_weights(
            each, None, config, device=device, command=command, on_progress=on_progress, processes=processes
        )
        found.append(evaluation)
        named.append(Member(str(each), evaluation, images))
    return EnsembleEvaluation(pooled(found, folded, command, folder), folded.whole, tuple(named), None)


def pooled(evaluations: Sequence[Evaluation], folded: Folded, command: str, folder: Path) -> Evaluation:
    """The answers of all folds as those of one set.

    Its interval is Wilson's, as if the answers were independent. They are so given the K networks, but these share
    training images, and no estimate of K-fold cross-validation's variance is unbiased (Bengio & Grandvalet 2004): the
    deviation over folds is told beside it.
    """
    results = [each.result for each in evaluations]
    answers, task = evaluations[0].predictions, evaluations[0].task
    places = [torch.tensor(folded.members(fold)) for fold in range(1, len(results) + 1)]
    columns = {
        name: torch.cat([getattr(each.predictions, name) for each in evaluations])
        for name, column in vars(answers).items()
        if column is not None
    }
    pairs = zip(places, evaluations, strict=True)
    columns["indices"] = torch.cat([own[each.predictions.indices] for own, each in pairs])
    order = columns["indices"].argsort()
    together = type(answers)(**{name: column[order] for name, column in columns.items()})
    first = results[0]
    provenance: dict[str, JsonValue] = {
        **{name: first.provenance.get(name) for name in ("model", "source", "precision", "versions", "hardware")},
        "command": command,
        "run": str(folder),
        "weights_sha256": None,
        "members": [
            f"fold {fold}: {each.headline.text}, sha256 {each.provenance['weights_sha256']}"
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
        "notes": (spread([each.headline for each in results]), *notes),
    }
    whole = task.unsettled().fitted(folded.whole.targets, folded.whole.classes)  # each fold was fitted to its own
    found: Evaluation = whole.concluded(together, folded.whole, facts)
    return found


def spread(headlines: Sequence[Headline]) -> str:
    """`over 5 folds 3.20 ± 0.81 % …`: mean and deviation (n - 1), and what the interval holds for."""
    values, told = [head.value for head in headlines], headlines[0].told
    mean, least = (told(value).removesuffix(" %") for value in (fmean(values), min(values)))
    return (
        f"each image answered by the network that has not seen it; over {len(values)} folds "
        f"{mean} ± {told(stdev(values))} (mean ± deviation, {least} to {told(max(values))}); "
        "the interval counts images, not what other training images would change: at that the deviation hints"
    )


def official(folded: Folded) -> str:
    """The split of the official images that no fold was trained on."""
    return "test" if "test" in folded.apart else "val"


def on_official(
    plan: Folds,
    folder: Path,
    config: EnsembleConfig,
    device: torch.device,
    command: str,
    on_progress: OnProgress | None,
    processes: Distributed,
) -> EnsembleEvaluation:
    """All folds as one on the test images that no fold has seen."""
    data = own_data(fold_folder(folder, 1), plan.run)
    whole = DataConfig(**{**dict(data), "folds": None, "fold": None})
    named = [str(each) for each in fold_folders(folder)]
    return evaluate_ensemble(
        named, whole, config, device=device, command=command, on_progress=on_progress, processes=processes
    )


def folded_in(plan: Folds, folder: Path) -> Folded:
    """The images of a run in folds, by fold."""
    data = own_data(fold_folder(folder, 1), plan.run)
    return folded(find(data), plan.folds, data.split_seed, data.source)
