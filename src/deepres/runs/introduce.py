"""What a run finds out of its teachers before it learns from them: how good they are, what they cost, what they saw."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn

from deepres.base import records
from deepres.base.errors import InputError
from deepres.base.events import progress_of
from deepres.base.manifest import require_own, writing
from deepres.data.images import Batch, Images
from deepres.data.loading.workers import PREFETCH_FACTOR, WorkerPlan
from deepres.data.targets import tensor_of
from deepres.nn.build import ResidualNetwork
from deepres.nn.timing import timed
from deepres.predict.preprocessing import Prepared
from deepres.recipes.run import load_run
from deepres.runs.autotune import step_rate
from deepres.runs.context import RunContext
from deepres.runs.evaluate import EvaluationSetup, evaluate_network
from deepres.runs.seen import overlap, run_of
from deepres.runs.teaching import Known, Teachers
from deepres.tasks.classification.losses import wrong as wrongly

KNOWN = "teacher.json"
MOST_IMAGES = 32  # of a timed answer
SECONDS = 0.5
TRAINING_IMAGES = 500  # at least, that say how good a teacher is where nothing is held out

VIEWS = 128  # as many of the student's views are asked about
MUCH = 0.15
"""A teacher is doubted that errs on the student's views twice as often as on the images, and by so much more; ours. One
that had never seen such crops (wrong on 9 % of the images, on 38 % of the crops) made its student worse, see
`evidence/distillation.json`."""

REMEDY = "take one that was trained on such views, or augment less (augmentation.area, jitter, auto, erase)"

HARDLY = 0.9
"""A teacher that errs so many times as often as one that guesses is doubted; ours."""

DOUBTS = "does it know these classes, in this order, and images of this mean and std?"


def introduced(context: RunContext, network: nn.Module, on_event: Callable[[Any], None]) -> Teachers | None:
    """The teachers of `network` with what is known of them: found out once, and kept in the run's folder."""
    teachers, processes, path = context.teachers, context.processes, context.folder / KNOWN
    if teachers is None:
        return None
    processes.on_rank_zero(lambda: require_own(context.folder, KNOWN))
    if processes.on_rank_zero(path.is_file):
        return teachers.known_as(processes.on_rank_zero(lambda: records.load(Known, path, "record of the teacher")))
    split, images = _asked(context)
    error = _error(context, teachers, split, images, on_event)
    shown = {split: images for split, images in context.source.splits().items() if split != "train"}
    notes = processes.on_rank_zero(lambda: tuple(_seen(teachers.config.weights, shown)))
    chance = 1 - 1 / len(context.source.classes)
    mixes = context.run.augmentation.mixup or context.run.augmentation.cutmix
    taught, views = processes.on_rank_zero(lambda: _error_on_views(context, teachers))
    doubt = ""
    if error > HARDLY * chance:
        doubt = f"the teacher errs like one that guesses ({100 * chance:.1f} %): {DOUBTS}"
    elif taught > 2 * error + MUCH and not mixes:  # what is mixed is no one class
        doubt = f"the teacher hardly knows images that are augmented so: {REMEDY}"
    share = processes.on_rank_zero(lambda: _share(context, teachers, network))
    known = Known(
        error=error, images=len(images), split=split, taught=taught, views=views, share=share, notes=notes, doubt=doubt
    )

    def kept() -> None:
        with writing(context.folder) as new:
            known.save(new / KNOWN)

    processes.on_rank_zero(kept)
    return teachers.known_as(known)


def _asked(context: RunContext) -> tuple[Literal["held-out", "training"], Images]:
    """The images that say how good the teachers are: those that choose the epoch, else some that are trained on."""
    val, train = context.source.val, context.source.train
    if val is not None:
        return "held-out", val
    return "training", train.select(range(0, len(train), max(1, len(train) // TRAINING_IMAGES)))


def _error(
    context: RunContext, teachers: Teachers, split: str, images: Images, on_event: Callable[[Any], None]
) -> float:
    """Their error, in the views that the student is shown of these images."""
    evaluation = evaluate_network(
        teachers,
        images,
        Prepared(context.run.preparation.replace(normalise="none"), context.statistics),
        EvaluationSetup(context.run.data, context.precision),
        split=split,
        on_progress=progress_of(on_event, f"{split} images, by the teacher"),
        processes=context.processes,
    )
    return float(evaluation.result.error)


def _error_on_views(context: RunContext, teachers: Teachers) -> tuple[float, int]:
    """Their error on some of the views that they are to teach, augmented as the student gets them; and of how many."""
    if not teachers.config.weight:
        return 0.0, 0
    wrong = seen = 0
    loader = replace(context, workers=WorkerPlan(0, PREFETCH_FACTOR)).loader()
    total = context.run.train.steps(len(context.source.train))
    with closing(loader.batches(0, min(total, VIEWS))) as batches:
        for drawn in batches:
            batch = drawn.at(slice(VIEWS - seen))
            batch = replace(batch, images=context.precision.images(batch.images))
            wrong += int(wrongly(teachers.answers(batch, 1.0), tensor_of(batch.targets)))
            seen += len(batch)
            if seen >= VIEWS:
                break
    return wrong / seen, seen


def _share(context: RunContext, teachers: Teachers, network: nn.Module) -> float:
    """t / (t + s): seconds t of the teachers' answers to some images, s of the student's passes, forward and back."""
    config, precision = context.run.train, context.precision
    if not teachers.config.weight:
        return 0.0
    count = min(
        MOST_IMAGES, max(1, config.batch_size // config.pieces(context.processes.size) // context.processes.size)
    )
    assert isinstance(network, ResidualNetwork)  # teachers are no tool of other tasks
    images = torch.rand(count, *network.description.input, generator=torch.Generator().manual_seed(0))
    images = images.to(precision.device)
    batch = Batch(precision.images(images), torch.zeros(count), torch.arange(count), images)
    taken = timed(lambda: teachers.answers(batch, teachers.config.temperature), precision.device, SECONDS)
    answer = min(taken[1:])
    return answer / (answer + count / step_rate(network, precision, count, SECONDS))


def _seen(teachers: Sequence[str], splits: Mapping[Any, Images]) -> list[str]:
    """What those that are runs were trained on of the images that choose the epoch, or that are measured."""
    notes = []
    for weights in teachers:
        folder = run_of(weights)
        if folder is None:
            continue
        try:
            run = load_run(folder)
        except InputError as cause:  # it answers all the same
            notes.append(f"teacher {weights}: which images it was trained on is not known ({cause.message})")
            continue
        for split, images in splits.items():
            found = overlap(folder, run, images)
            found = found if split == "test" else replace(found, chosen=0)  # the same images may choose both epochs
            if found or found.unknown:
                which = "test" if split == "test" else "held-out"
                flatters = ", so the error may flatter" if found else ""
                notes.append(f"teacher {weights}, of the {which} images: {found}{flatters}")
    return notes
