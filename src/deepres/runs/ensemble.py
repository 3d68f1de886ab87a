"""Several weights measured as one ensemble, or one alone; what is held out chooses members and finds a temperature."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from deepres.base.errors import InputError
from deepres.base.events import UNSAID, OnProgress
from deepres.base.files import digest
from deepres.base.manifest import holds_run
from deepres.data.images import Images
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source, open_splits
from deepres.data.sources.splits import Split
from deepres.nn.weights.hub import weights_file
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.exported.names import is_exported
from deepres.recipes.run import load_run
from deepres.runs.detectors import evaluate_detectors
from deepres.runs.evaluate import EvaluationConfig, evaluate_weights
from deepres.runs.exported import evaluate_exported
from deepres.runs.seen import own_data
from deepres.tasks.classification.calibration import temperature_of, tempered
from deepres.tasks.classification.ensemble import Selection, select
from deepres.tasks.ensemble import Member, together
from deepres.tasks.result import Evaluation
from deepres.tasks.task import TOGETHER, require
from deepres.train.distributed import SINGLE_PROCESS, Distributed


@dataclass(frozen=True)
class EnsembleEvaluation:
    """An evaluation, its images, the members that made it (one, or an ensemble's), and how they were chosen."""

    evaluation: Evaluation
    images: Images
    members: tuple[Member, ...]
    selection: Selection | None


class EnsembleConfig(EvaluationConfig):
    """What is measured of several weights as one; besides what is held out for them.

    `choose_on` names the split on which members are chosen (`ensemble.select`); `calibrate` finds a temperature on the
    runs' own held-out images (those that chose their epochs), or on the val split of a source for weights of no run;
    without it one run alone is measured with the temperature that it knows (`evaluate_weights`).
    """

    choose_on: str | None = None
    calibrate: bool = False


AS_ONE = EnsembleConfig()


def evaluate_ensemble(
    weights: Sequence[WeightsSpec | str],
    data: DataConfig | None = None,
    config: EnsembleConfig = AS_ONE,
    *,
    device: torch.device,
    command: str = UNSAID,
    on_progress: OnProgress | None = None,
    processes: Distributed = SINGLE_PROCESS,
) -> EnsembleEvaluation:
    """The weights as one: probabilities or numbers averaged per image, each measured as by `evaluate_weights`.

    Detectors answer together (`detectors.py`).

    Raises:
        InputError: what is held out is also measured, or there is none; members that do not go together.
    """
    specs = {spec.name: spec for spec in map(WeightsSpec.of, weights)}
    names, split, choose_on, calibrate = (
        tuple(WeightsSpec.of(each).name for each in weights),
        config.split,
        config.choose_on,
        config.calibrate,
    )
    held_out = {"--select": choose_on, "--calibrate": "val" if calibrate else None}

    wanted = {"an ensemble": len(names) > 1, "--select": choose_on is not None, "--calibrate": calibrate}

    def on(split: str | None, named: Sequence[str], source: DataConfig | None) -> list[Member]:
        how = config.replace(split=split, keep_scores=config.keep_scores or calibrate or len(weights) > 1)
        same: dict[str, Any] = {
            "command": command,
            "on_progress": on_progress,
            "processes": processes,
        }
        members = [
            Member(
                each,
                *(
                    evaluate_exported(specs[each], source, how, **same)
                    if is_exported(each)
                    else evaluate_weights(specs[each], source, how, device=device, **same)
                ),
            )
            for each in named
        ]
        for member in members:
            for tool in (tool for tool, asked in wanted.items() if asked):
                if tool == "an ensemble" and TOGETHER in member.evaluation.task.tools:
                    continue
                require(member.evaluation.task, tool, member.name)
        return members

    def require_apart(measured: str | None) -> None:
        for flag, split in held_out.items():
            if split is not None and split == measured:
                raise InputError(f"{flag}: the images of {split} are what is measured; name another --split")

    processes.on_rank_zero(lambda: _require_different(names))
    require_apart(split)
    own = _held_out(names, data, processes) if calibrate else None
    tried, selection = list[Member](), None
    if choose_on is not None:
        tried = on(choose_on, names, data)
        selection = processes.on_all_ranks(lambda: select(tried))
        names = selection.chosen
    sure = None
    if calibrate:
        known = [member for name in names for member in tried if member.name == name]
        seen = known if choose_on == "val" and own is data else on("val", names, own)
        sure = processes.on_all_ranks(lambda: _as_one(seen, command, None))
    members = on(split, names, data)
    require_apart(members[0].evaluation.result.split)
    if len(members) > 1 and TOGETHER in members[0].evaluation.task.tools:
        told = processes.on_all_ranks(lambda: _told(members, command, selection))
        chosen = [specs[member.name] for member in members]
        how: dict[str, Any] = {"device": device, "on_progress": on_progress, "processes": processes}
        evaluation = evaluate_detectors(members, chosen, data, config, told, **how)
    else:
        evaluation = processes.on_all_ranks(lambda: _as_one(members, command, selection))
    if sure is not None:
        temperature = processes.on_all_ranks(lambda: temperature_of(sure.predictions, sure.result.split))
        found = tempered(evaluation.predictions, temperature)
        evaluation = replace(evaluation, result=evaluation.result.replace(tempered=found))
    return EnsembleEvaluation(evaluation, members[0].images, tuple(members), selection)


def _require_different(weights: Sequence[str]) -> None:
    """Each once, under whatever name: the same weights twice would be counted twice."""
    named: dict[str, str] = {}
    for each in weights:
        file = weights_file(each)
        key = each if file is None else digest(file)
        if key in named:
            what = f"{each}: " if named[key] == each else f"{named[key]} and {each}: the same weights, "
            raise InputError(f"{what}named twice; name each member of an ensemble once")
        named[key] = each


def _held_out(weights: Sequence[str], data: DataConfig | None, processes: Distributed) -> DataConfig | None:
    """Where the images of a temperature come from: `data`, or None for the runs' own."""
    runs = {each: load_run(Path(each)) for each in weights if holds_run(Path(each))}
    for each in weights:
        if each in runs:
            require(runs[each].task, "--calibrate", each)
            config, remedy = own_data(Path(each), runs[each]), "train it with --set data.val_fraction=0.1"
        elif data is not None:
            config, remedy = data, "name a SOURCE with train, val and test"
        else:
            continue  # measuring refuses weights without images
        splits = processes.on_all_ranks(partial(_splits, config, own=each in runs))
        if "val" not in splits:
            raise InputError(f"--calibrate: {each} has no held-out images to find a temperature on; {remedy}")
    return None if len(runs) == len(weights) else data


def _as_one(members: Sequence[Member], command: str, selection: Selection | None) -> Evaluation:
    return members[0].evaluation if len(members) == 1 else together(members, _told(members, command, selection))


def _told(members: Sequence[Member], command: str, selection: Selection | None) -> dict[str, JsonValue]:
    """The provenance of an ensemble."""
    results = [member.evaluation.result for member in members]
    models = Counter(str(result.provenance["model"]) for result in results)
    each: list[JsonValue] = [
        f"{member.name}: {result.headline.text}, sha256 {result.provenance['weights_sha256']}"
        for member, result in zip(members, results, strict=True)
    ]
    provenance: dict[str, JsonValue] = {
        **results[0].provenance,
        "command": command,
        "run": ", ".join(member.name for member in members),
        "model": "ensemble of " + ", ".join(f"{count} x {m}" if count > 1 else m for m, count in models.items()),
        "weights_sha256": None,
        "members": each,
    }
    told = dict.fromkeys(
        str(each.provenance["preprocessing"]) for each in results if "preprocessing" in each.provenance
    )
    if told:
        provenance["preprocessing"] = " | ".join(told)
    if selection is not None:
        provenance["selection"] = str(selection)
    return provenance


def _splits(config: DataConfig, *, own: bool) -> Mapping[Split, Images]:
    return open_source(config).splits() if own else open_splits(config).splits
