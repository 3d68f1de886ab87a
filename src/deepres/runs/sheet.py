"""What training feeds the network, drawn by the loader of the run itself: first batches, several draws of an image.

The batch of step t is that of the run's step t, to the bit where both are computed on a CPU; beside each image stands
what evaluation sees of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.wording import counted
from deepres.data.box_drawing import as_tensor
from deepres.data.box_drawing import drawn as drawn_boxes
from deepres.data.boxes import Boxes
from deepres.data.decode import BadImageError
from deepres.data.facts import facts_of
from deepres.data.images import Batch, Images
from deepres.data.loading.loader import TrainLoader
from deepres.data.loading.workers import PREFETCH_FACTOR, WorkerPlan
from deepres.data.sources.open import Source, open_source
from deepres.data.targets import form_of
from deepres.data.transforms.config import Preparation, in_words
from deepres.data.transforms.geometry import evaluated
from deepres.data.transforms.per_batch import as_seen
from deepres.data.transforms.per_image import fit, with_channels
from deepres.data.transforms.statistics import Statistics
from deepres.predict.preprocessing import run_statistics
from deepres.recipes.run import Run, load_run
from deepres.report.sheet import DRAWS, AugmentedImage, AugmentedView, Page, Tile
from deepres.runs.context import RunContext, statistics_of
from deepres.runs.plan import Planned
from deepres.runs.resuming import require_same_images
from deepres.runs.seen import own_now
from deepres.tasks.protocols import protocol_named
from deepres.train.distributed import Distributed
from deepres.train.precision import choose

ROWS = 6
"""Images that are shown drawn several times: the first of each class that the run draws."""
LEAST_SHARE = 0.005  # of a class in a mixed label that is told


@dataclass(frozen=True, eq=False)
class Sheet:
    """The first batches of a run as `batches` that its network gets, and as `tiles`; `counts` of classes among them."""

    run: Run
    source: Source
    statistics: Statistics
    batches: list[Batch]
    tiles: list[list[Tile]]
    rows: list[AugmentedImage]
    counts: list[int]
    skipped: dict[str, str]


def planned_setting(plan: Planned) -> RunContext:
    """Images and statistics of a run that is yet to start, as `deepres train` would find them."""
    run = plan.run.fitted(facts_of(plan.source))
    return _setting(run, plan.source, Path(), statistics_of(run, plan.source))


def setting_of(folder: Path) -> RunContext:
    """Those of the run in `folder`.

    Raises:
        InputError: no run there; its images are gone, or are not those that it began with.
    """
    run = load_run(folder)
    source = open_source(own_now(folder, run))
    require_same_images(source, folder)
    return _setting(run, source, folder, run_statistics(folder))


def drawn(context: RunContext, batches: int = 1) -> Sheet:
    """The first `batches` batches of the run, fewer where it has fewer steps, and `ROWS` images drawn several times.

    Raises:
        InputError: anything that the images or the loader refuse.
    """
    run, source, loader = context.run, context.source, context.loader()
    steps = min(batches, run.train.steps(len(source.train)))
    found = list(loader.batches(0, steps))
    return Sheet(
        run,
        source,
        context.statistics,
        found,
        [_tiles(context, batch) for batch in found],
        _rows(context, loader, found),
        form_of(source.train.targets).counts(
            source.train.targets[torch.cat([batch.indices for batch in found])], source.classes
        ),
        dict(loader.skipped),
    )


def page_of(sheet: Sheet) -> Page:
    """The sheet as it is shown."""
    targets = sheet.source.train.targets
    train = form_of(targets).counts(targets, sheet.source.classes)
    classes = list(zip(sheet.source.classes, sheet.counts, train, strict=True))
    return Page(facts_shown(sheet), balance_of(sheet), sheet.rows, sheet.tiles, classes, sheet.skipped)


def facts_shown(sheet: Sheet) -> dict[str, str]:
    """What is shown, the most telling first."""
    run, images = sheet.run, sheet.source.train
    size = " x ".join(map(str, sheet.batches[0].images.shape[-2:][::-1]))
    names = counted(len(images.classes), form_of(images.targets).called)
    smoothing = f", labels smoothed by {run.train.label_smoothing:g}" if run.train.label_smoothing else ""
    return {
        "images": f"{sheet.source.name}: {len(images):,} to train on, {names}",
        "a batch": f"{counted(run.train.batch_size, 'image')} of {size} px, drawn by seed {run.seed}",
        "in training": in_words(run.augmentation) + smoothing,
        "in evaluation": protocol_named("center", run.preparation).sentence(run.preparation),
        "normalised": _normalised(sheet),
        "recipe": f"{run.recipe}, {run.model.name}",
    }


def balance_of(sheet: Sheet) -> str:
    """`1 to 6 of each of 10 classes`: how often the classes come in the batches that are shown."""
    called = form_of(sheet.source.train.targets).called
    least, most, classes = min(sheet.counts), max(sheet.counts), len(sheet.counts)
    none = sum(count == 0 for count in sheet.counts)
    told = f"{least} to {most} images" if least < most else counted(most, "image")
    return f"{told} of each of {counted(classes, called)}" + (
        f"; {none} of them in none of these batches" if none else ""
    )


def _normalised(sheet: Sheet) -> str:
    kind = sheet.run.preparation.normalise
    if kind == "none":
        return "0 to 1, as they are"
    if kind == "per_pixel":
        return "less the mean image of the training images"
    mean, std = (
        ", ".join(f"{value:.3f}" for value in each.tolist()) for each in (sheet.statistics.mean, sheet.statistics.std)
    )
    return f"less {mean}, divided by {std}"


def kept_part(width: int, height: int, preparation: Preparation) -> tuple[float, float, float, float]:
    """(left, top, width, height) of what evaluation keeps of an image of this size, in its pixels."""
    if preparation.fit != "crop" or preparation.resize is None or preparation.crop is None:
        return 0, 0, width, height
    side = min(width, height) * preparation.crop / preparation.resize
    return (width - side) / 2, (height - side) / 2, side, side


def _setting(run: Run, source: Source, folder: Path, statistics: Statistics) -> RunContext:
    """Nothing is worth the start of another process: a few batches, and single images."""
    precision, alone = choose("float32", torch.device("cpu")), WorkerPlan(0, PREFETCH_FACTOR)
    return RunContext(run, source, folder, statistics, precision, workers=alone)


def _tiles(context: RunContext, batch: Batch) -> list[Tile]:
    images, preparation = context.source.train, context.run.preparation
    pixels = as_seen(batch.images, preparation, context.statistics)
    return [
        Tile(
            images.name(index),
            _label(batch.targets[at], images),
            _marked(seen, batch.targets[at], images),
            _judged(images.image(index), index, images, preparation),
        )
        for at, (index, seen) in enumerate(zip(batch.indices.tolist(), pixels, strict=True))
    ]


def _rows(context: RunContext, loader: TrainLoader, batches: Iterable[Batch]) -> list[AugmentedImage]:
    images, preparation = context.source.train, context.run.preparation
    asked = _first_of_each_class(images, [index for batch in batches for index in batch.indices.tolist()])
    rows = []
    for index, places in _when(loader, asked, len(images), context.run.train.batch_size).items():
        whole = with_channels(images.image(index), preparation.channels, images.name(index))
        kept = kept_part(whole.shape[-1], whole.shape[-2], preparation)
        seen = (_draw(context, loader, step, place) for step, place in places)
        draws = [one for one in seen if one is not None]
        name, label = images.name(index), form_of(images.targets).words(images.targets[index], images.classes)
        judged = _judged(whole, index, images, preparation)
        rows.append(AugmentedImage(name, label, _marked(whole, images.targets[index], images), kept, judged, draws))
    return rows


def _first_of_each_class(images: Images, drawn: list[int]) -> list[int]:
    """`ROWS` images: the first drawn of each class, then the first of the others."""
    every = list(dict.fromkeys(drawn))
    groups, _ = form_of(images.targets).strata(images.targets, images.classes)
    first: dict[int, int] = {}
    for index in every:
        first.setdefault(groups[index], index)
    chosen = set([*first.values(), *(index for index in every if index not in set(first.values()))][:ROWS])
    return [index for index in every if index in chosen]


def _when(loader: TrainLoader, asked: list[int], num_images: int, batch_size: int) -> dict[int, list[tuple[int, int]]]:
    """Of each image the first `DRAWS` steps that draw it, and its place in their batches; rare ones have fewer."""
    found: dict[int, list[tuple[int, int]]] = {index: [] for index in asked}
    for step in range(4 * DRAWS * -(-num_images // batch_size)):
        indices = loader.drawn(step)
        for index, places in found.items():
            if len(places) < DRAWS:
                places += [(step, place) for place in (indices == index).nonzero()[:, 0].tolist()]
        if all(len(places) >= DRAWS for places in found.values()):
            break
    return {index: places[:DRAWS] for index, places in found.items()}


def _draw(context: RunContext, loader: TrainLoader, step: int, place: int) -> AugmentedView | None:
    """The image at `place` of the batch of `step`, as it is within it; None where it can no longer be read."""
    run, size = context.run, context.run.train.batch_size
    try:
        if loader.resident:
            batch, at = next(loader.batches(step, step + 1)), place
        else:  # as process `place` of so many would see it: nothing but this image is decoded
            alone = replace(context, processes=Distributed(rank=place, size=size))
            batch, at = next(alone.loader().batches(step, step + 1)), 0
    except (BadImageError, InputError):
        if run.data.on_bad_image == "skip":
            return None
        raise
    epoch = (step * size + place) // len(context.source.train) + 1
    images, target = context.source.train, batch.targets[at]
    seen = _marked(as_seen(batch.images[at], run.preparation, context.statistics), target, images)
    return AugmentedView(epoch, step, _label(target, images), seen)


def _marked(pixels: Tensor, target: Any, images: Images) -> Tensor:
    """The picture with its boxes drawn on it, where it has any."""
    return (
        as_tensor(drawn_boxes(pixels, target, images.classes, enlarge=False)) if isinstance(target, Boxes) else pixels
    )


def _judged(image: Tensor, index: int, images: Images, preparation: Preparation) -> Tensor:
    """The picture as evaluation sees it, with its boxes where these go too."""
    seen, target = fit(image, preparation), images.targets[index]
    if not isinstance(target, Boxes):
        return seen
    geometry = evaluated(preparation, [(image.shape[-1], image.shape[-2])])
    height, width = geometry.own_sizes[0].tolist()
    return _marked(seen, target.moved(geometry.matrices[0], (height, width)), images)


def _label(target: Any, images: Images) -> str:
    """`cat`, or of a mixed image `0.70 cat + 0.30 dog`."""
    known = images.targets
    whole = not isinstance(known, Tensor) or (
        target.dtype == known.dtype and (target.dtype == torch.float64 or bool((target == target.round()).all()))
    )
    if whole:
        return form_of(images.targets).words(target, images.classes)
    named = zip(target.tolist(), images.classes, strict=True)
    told = [(share, name) for share, name in sorted(named, reverse=True) if share >= LEAST_SHARE]
    return told[0][1] if len(told) == 1 else " + ".join(f"{share:.2f} {name}" for share, name in told)
