"""The end of a run: the weights are chosen, the test images are measured once, and all of it is written down."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from deepres.arch.readings.cost import cost
from deepres.base import records
from deepres.base.errors import shared
from deepres.base.events import Detail, Doing, progress_of
from deepres.base.files import digest, write_atomic
from deepres.base.manifest import STAGES, require_own, writing
from deepres.base.reading import json_object
from deepres.base.wording import blamed, counted, duration
from deepres.data.decode import as_picture
from deepres.data.images import Batch, Images
from deepres.data.targets import form_of
from deepres.nn.environment import hardware, versions
from deepres.nn.model import told_by
from deepres.nn.precise_bn import precise_bn
from deepres.nn.weights.card import write_card
from deepres.nn.weights.files import WEIGHTS, save_network
from deepres.predict.preprocessing import preprocessing_of
from deepres.recipes.stages import SAYS, stage_name
from deepres.recipes.stages import STAGES as NUMBERS
from deepres.report.evaluation import ReportFacts, write_report
from deepres.runs.card import card_of
from deepres.runs.context import RunContext, norms_together
from deepres.runs.expected import met
from deepres.runs.length import told_length
from deepres.runs.logbook import sessions
from deepres.runs.seen import began_with, doubles_in, overlap
from deepres.tasks.doubled import told_of_doubles
from deepres.tasks.evaluator import ResultFacts
from deepres.tasks.plans import plan_of
from deepres.tasks.result import Evaluation, Result
from deepres.tasks.saved import save_predictions
from deepres.tasks.task import written_in
from deepres.tasks.worst import FILE as WORST
from deepres.tasks.worst import worst_list
from deepres.train.checkpoint import load_best
from deepres.train.distributed import Distributed, state_tensors
from deepres.train.health import DivergedError, fault
from deepres.train.history import HISTORY, read_history
from deepres.train.precision import choose
from deepres.train.selection import choice_text, chosen
from deepres.train.state import Best, Progress, State

SAMPLES = 6
SUMMARY = "summary.json"
PREDICTIONS = "predictions.npz"
RESULTS = ("test.json", "val.json", PREDICTIONS, WORST)
"""What was measured of the weights."""


@dataclass(frozen=True)
class FinishedRun:
    """A run's folder, what it measured (None where there was nothing to measure on), a few of the images measured."""

    folder: Path
    result: Result | None
    samples: tuple[Path, ...]


def conclude(context: RunContext, state: State, on_event: Callable[[Any], None]) -> FinishedRun:
    """Choose the weights, measure them on the test images (else on the held-out ones), and write it all down."""
    run, folder, source, processes = context.run, context.folder, context.source, context.processes
    network, progress = state.judged, state.progress
    if (epoch := chosen(run.select, progress.best, progress.kept)) is not None:
        processes.on_rank_zero(lambda: load_best(network, folder / "state", epoch.step, state.digests.get(epoch.step)))
        processes.replicate(state_tensors(network))
    if choice := processes.on_rank_zero(
        lambda: choice_text(run.select, progress.best, progress.kept, read_history(folder))
    ):
        on_event(choice)
    if longer := processes.on_rank_zero(lambda: told_length(run, progress.best, read_history(folder))):
        on_event(longer)
    if run.train.precise_bn_batches:
        on_event(Doing("averaging norm statistics"))
        batches = _together(context.loader().batches(0, run.train.precise_bn_batches), processes)
        with context.precision.autocast(), norms_together(context, network):
            shown = (context.precision.images(batch.images) for batch in batches)
            count = precise_bn(network, shown, run.train.frozen)
        processes.mean([buffer for buffer in network.buffers() if buffer.is_floating_point()])
        on_event(Detail(f"norm statistics averaged over {counted(count, 'training batch')}"))
    if (wrong := fault(network.state_dict())) is not None:
        raise shared(DivergedError(f"the run's weights: {wrong}; {folder / WEIGHTS} is not written"))
    description = told_by(network).description
    prepared = preprocessing_of(run.preparation, context.statistics, description)
    form = run.preparation.model_dump(mode="json")
    held_out, splits = None, source.splits()
    if context.spares_test:
        splits.pop("test", None)
    if source.val is not None and (run.task.settles or "test" not in splits):
        showing = progress_of(on_event, "held-out images")
        reported = choose("float32", context.precision.device)
        held_out = context.evaluate(
            network, source.val, "val", on_progress=showing, precision=reported, keep_scores=True
        )
    task, settled = processes.on_all_ranks(lambda: run.task.settled(held_out))

    def kept() -> None:
        context.hold.require_here()
        with writing(folder, outdates={WEIGHTS: (*RESULTS, SUMMARY)}) as new:
            told = written_in(task, folder).model_dump(mode="json")
            save_network(new, network, source.classes, form, prepared, told, run.license)

    processes.on_rank_zero(kept)
    facts = processes.on_rank_zero(lambda: _provenance(context, progress, epoch, choice))
    facts |= task.facts(settled)
    split, images = next(((own, found) for own, found in reversed(splits.items()) if own != "train"), ("", None))
    showing = progress_of(on_event, "test images" if split == "test" else "held-out images")
    evaluation = None
    if images is not None:
        notes = processes.on_rank_zero(lambda: _notes(context, images))
        reported = choose("float32", context.precision.device)
        of_test = {**facts, "precision": str(reported), "trained_in": str(context.precision)}
        if images is source.val and held_out is not None:  # these answers are known
            result = held_out.result.replace(provenance=of_test, notes=notes)
            evaluation = Evaluation(result, held_out.predictions.lean(), held_out.task)
        else:
            final = replace(context, run=run.replace(task=task))
            evaluation = final.evaluate(network, images, split, ResultFacts(of_test, notes), showing, reported)
    if evaluation is not None:
        measured: Result = evaluation.result
        notes = processes.on_rank_zero(lambda: met(run, source, measured, progress.step))
        evaluation = replace(evaluation, result=measured.replace(notes=(*measured.notes, *notes)))
    if evaluation is None or not evaluation.result.tells_settled:
        on_event(settled)
    on_event(Doing("writing the report"))
    finished = processes.on_rank_zero(lambda: _written(context, evaluation, images, facts))
    if left := processes.on_rank_zero(lambda: write_card(folder, card_of(context, finished.result, facts))):
        on_event(left)
    for name, reason in context.skipped.items():
        on_event(f"skipped: {blamed(name, reason)}")
    return finished


def _written(
    context: RunContext, evaluation: Evaluation | None, images: Images | None, facts: dict[str, JsonValue]
) -> FinishedRun:
    run, folder, result, worst = context.run, context.folder, None, ""
    context.keep_skipped()
    if evaluation is not None and images is not None:
        evaluation = told_of_doubles(evaluation, images, doubles_in(folder))
        result = evaluation.result
        worst = worst_list(evaluation, images)
    context.hold.require_here()
    with writing(folder) as new:
        if evaluation is not None and images is not None and result is not None:
            result.save(new / f"{result.split}.json")
            save_predictions(new / PREDICTIONS, evaluation, images, plan_of(folder))
            write_atomic(new / WORST, worst)
        told = {} if result is None else result.facts()
        write_atomic(new / SUMMARY, records.json_text({**facts, **told, "skipped": context.skipped}))
        if (folder / HISTORY).is_file():  # it grows no more
            shutil.copy(folder / HISTORY, new / HISTORY)
    write_report(
        folder / "report.html",
        ReportFacts(
            result=result,
            images=images,
            worst=worst,
            doubles=doubles_in(folder),
            splits=context.source.splits(),
            run=_shown(context, facts),
            **training_of(folder),
            title=f"{run.model.name} on {context.source.name}",
        ),
    )
    return FinishedRun(folder, result, () if images is None else _samples(images, folder, context.skipped))


def training_of(folder: Path) -> dict[str, Any]:
    """What `write_report` shows of how the run in `folder` was trained: epochs, the chosen one, where it resumed."""
    path = folder / SUMMARY
    require_own(folder, SUMMARY)
    chosen = json_object(path, "summary of a run", "remove it").get("chosen_epoch") if path.is_file() else None
    continued = [each["step"] for each in sessions(folder)[1:] if each["step"]]
    return {"history": read_history(folder), "chosen_epoch": chosen, "continued": continued}


def report_so_far(context: RunContext, step: int) -> None:
    """The report of a run that was stopped after `step`: its curves, and what is trained."""
    title = f"{context.run.model.name} on {context.source.name}"
    training = {**training_of(context.folder), "chosen_epoch": None}
    total = context.run.train.steps(len(context.source.train))
    shown = {"stopped": f"after step {step:,} of {total:,}", **_shown(context, {})}
    write_report(context.folder / "report.html", ReportFacts(result=None, run=shown, title=title, **training))


def _notes(context: RunContext, images: Images) -> tuple[str, ...]:
    """What the weights that the run began with, and its teachers, had seen of the images to be measured."""
    notes = () if context.teachers is None else context.teachers.known.notes
    if not began_with(context.folder):
        return notes
    found = replace(overlap(context.folder, context.run, images), taught=0)  # that is among `notes`
    return (f"{context.source.name}: {found}", *notes) if found.before else notes


def _together(batches: Iterator[Batch], processes: Distributed) -> Iterator[Batch]:
    """The batches, as long as every process can read its share."""
    while (batch := processes.on_all_ranks(lambda: next(batches, None))) is not None:
        yield batch


def _shown(context: RunContext, facts: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What the report says was trained, the most telling facts first, the whole run folded below."""
    run, given = context.run, context.source.splits()
    length = counted(run.train.epochs, "epoch") if run.train.epochs else counted(run.train.steps(1), "step")
    return {
        "network": run.model.name,
        "parameters": f"{cost(run.model.architecture()).parameters:,}",
        "images": f"{context.source.name}: " + ", ".join(f"{len(images):,} {split}" for split, images in given.items()),
        "input": " x ".join(map(str, run.model.input)),
        "length": f"{length}, {counted(run.train.batch_size, 'image')} a step"
        if run.train.joint
        else f"{length} in all",
        "optimiser": run.train.optimizer.in_words(),
        "learning rate": f"{run.train.schedule.kind}, {run.train.schedule.lr:g}",
        "epoch": facts.get("choice"),
        "probabilities": facts.get("probabilities"),
        **({} if context.teachers is None else context.teachers.shown()),
        **_told_of_parts(context),
        **_carried_out(context),
        **run.model_dump(mode="json"),
    }


def _stages(folder: Path) -> list[dict[str, Any]]:
    """Of a run in stages what each came to: what it learnt, its steps and seconds, the digest of its weights."""
    found: list[dict[str, Any]] = []
    for stage in NUMBERS if (folder / STAGES).is_file() else ():
        require_own(folder / stage_name(stage), SUMMARY)
        facts = json_object(folder / stage_name(stage) / SUMMARY, "summary of a stage", "resume that stage")
        kept = {name: facts.get(name) for name in ("steps", "training_seconds", "weights_sha256")}
        found.append({"stage": stage, "what": SAYS[stage], **kept})
    return found


def _told_of_parts(context: RunContext) -> dict[str, JsonValue]:
    """Of a detector whether its parts have learnt at once or in turn."""
    run = context.run
    if "train.joint=false" not in run.task.tools or run.train.learns != "all":
        return {}
    if run.train.joint:
        return {"proposals and regions": "learnt at once, from the sum of their losses"}
    each = [
        f"{one['steps']:,} steps, {duration(one['training_seconds'])}: {one['what']}" for one in _stages(context.folder)
    ]
    return {"proposals and regions": "learnt in turn", **{f"stage {at}": said for at, said in enumerate(each, 1)}}


def _carried_out(context: RunContext) -> dict[str, JsonValue]:
    """The commands from the first start on, the time of all steps, on what and with what the last part was done."""
    went = sessions(context.folder)
    seconds = sum(row["seconds"] for row in read_history(context.folder))
    facts: dict[str, JsonValue] = {
        "training time": f"{duration(seconds)} in steps" + (f", over {len(went)} sessions" if len(went) > 1 else ""),
        "hardware": hardware(context.precision.device),
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }
    if went:
        facts["command"] = went[0]["command"]
    for command, same in groupby(went[1:], lambda start: start["command"]):
        steps = [f"{start['step']:,}" for start in same]
        facts[f"continued after step{'s' * (len(steps) > 1)} {'; '.join(steps)}"] = command
    return facts


def _provenance(context: RunContext, progress: Progress, epoch: Best | None, choice: str) -> dict[str, JsonValue]:
    run = context.run
    return {
        "command": context.command,
        "recipe": run.recipe,
        **({} if context.teachers is None else {"teacher": context.teachers.facts()}),
        "model": run.model.name,
        "source": context.source.name,
        "seed": run.seed,
        "commands": [each["command"] for each in sessions(context.folder)],
        "training_seconds": sum(row["seconds"] for row in read_history(context.folder)),
        "steps": progress.step,
        "epochs": progress.epoch,
        "chosen_epoch": None if epoch is None else epoch.epoch,
        "ended_by": _ended_by(progress, run.train.steps(len(context.source.train))),
        "selected_by": "the last step" if epoch is None else "held-out images",
        **({"choice": choice} if choice else {}),
        **({"stages": stages} if (stages := _stages(context.folder)) else {}),
        "weights_sha256": digest(context.folder / WEIGHTS),
        "precision": str(context.precision),
        "processes": context.processes.size,
        "versions": dict(versions()),
        "hardware": hardware(context.precision.device),
    }


def _ended_by(progress: Progress, planned: int) -> str:
    if progress.step < progress.length(planned):
        return "train.patience"
    return "length" if progress.bend is None else progress.bend.why


def _samples(images: Images, folder: Path, skipped: Mapping[str, str]) -> tuple[Path, ...]:
    """One image of each of the first classes, or some of all, as files; of a set in memory written to `samples/`."""
    form = form_of(images.targets)
    groups, _ = form.strata(images.targets, images.classes)
    if len(set(groups)) == 1:  # all are of one kind: some, evenly
        groups = [index * SAMPLES // len(images) for index in range(len(images))]
    first: dict[int, int] = {}
    for index, group in enumerate(groups):
        if group not in first and images.name(index) not in skipped:
            first[group] = index
    firsts = [first[group] for group in sorted(first)[:SAMPLES]]
    if images.paths:
        return tuple(images.paths[index] for index in firsts)
    place = folder / "samples"
    place.mkdir(exist_ok=True)
    paths = []
    for index in firsts:
        title = "".join(
            letter if letter.isalnum() else "_" for letter in form.words(images.targets[index], images.classes)
        )
        paths.append(place / f"{title}.png")
        content = BytesIO()
        as_picture(images.image(index)).save(content, "PNG")
        write_atomic(paths[-1], content.getvalue())
    return tuple(paths)
