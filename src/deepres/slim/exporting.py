"""A run exported: which of its pictures the file is compared on, which calibrate 8 bits, and the gate that judges them.

Held-out images decide, then such as the run was trained on; its test images are never read.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import torch
from pydantic import Field

from deepres.base.errors import InputError, RunError
from deepres.base.events import UNSAID, Doing
from deepres.base.wording import counted
from deepres.data.rng import generator
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import Source, open_source, open_splits
from deepres.data.transforms.per_image import fit
from deepres.export.export import Eighth, ExportConfig, Exported, Quantising, export, require_free, require_possible
from deepres.export.parity import FileAnswers
from deepres.nn.weights.folds import holds_folds
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.exported.names import require_network
from deepres.predict.pictures import ImageInputs, Picture
from deepres.predict.predictor import Predictor
from deepres.recipes.run import CUT, load_run
from deepres.runs import outputs
from deepres.runs.evaluate import USUAL, evaluate_weights
from deepres.runs.exported import evaluate_exported
from deepres.runs.seen import own_now, run_of
from deepres.slim.gate import allowed_loss, compared_evaluations, refusal

CALIBRATION, FEWEST = 256, 100
"""Training images that calibrate, and the fewest that do."""
_ROUNDS = 15


class ExportPlan(ExportConfig):
    """What is exported, and how it is judged.

    `check_images` are compared, by default the run's own; without `check` none are, and the file says so. `int8`: in 8
    bits, which may lose `max_loss` (None: `gate.POINTS`), and with `accept_uncertain` more if so many images cannot
    tell. `overwrite` replaces an export that is there.
    """

    check_images: str | None = None
    check: bool = True
    int8: bool = False
    max_loss: Annotated[float, Field(ge=0)] | None = None
    accept_uncertain: bool = False
    overwrite: bool = False


def export_run(
    weights: WeightsSpec,
    output: Path | None,
    plan: ExportPlan,
    *,
    on_event: Callable[[Any], None],
    command: str = UNSAID,
) -> Exported:
    """Write the folder `output` (`NAME-FORMAT`, here): the file, compared with its run on real pictures.

    Raises:
        InputError: what does not go together; weights of several networks; a place that is taken; no pictures to
            compare on; what this network and this format cannot be. RunError: the file answers otherwise, or in 8 bits
            loses too much, or is no faster.
    """
    run = weights.name
    _require_together(plan)
    require_network(run)
    if holds_folds(run):
        raise InputError(f"{run}: several networks, one a fold, make no single file; export one, such as {run}/fold-1")
    output = output or Path(f"{Path(run).name}-{plan.format}")
    if output.suffix in (".onnx", ".pt2", ".xml", ".html"):
        raise InputError(f"--output {output}: wanted a folder, into which the file is written with its parity.json")
    require_free(output, overwrite=plan.overwrite)
    if not output.exists():
        outputs.require_free_folder("--output", output, [run, *([plan.check_images] if plan.check_images else [])])
    on_event(Doing("loading the network"))
    predictor = Predictor.load(weights, "cpu")
    if predictor.task.form == "boxes" and CUT in predictor.task.tools:
        raise InputError(f"{run}: guesses a class with its box, which no exported file does yet; wanted another run")
    config = ExportConfig(format=plan.format, input=plan.input, runtime=plan.runtime)
    require_possible(predictor, run, config, int8=plan.int8)
    pictures = list(_pictures(run, plan.check_images)) if plan.check else None
    int8 = _quantising(run, predictor, plan, on_event, command) if plan.int8 else None
    return export(predictor, run, output, config, pictures, int8=int8, on_event=on_event)


def _require_together(plan: ExportPlan) -> None:
    if not plan.check and plan.check_images is not None:
        raise InputError(
            f"--check-images {plan.check_images} with --no-check: compare on them, or not at all; leave one out"
        )
    if (plan.max_loss is not None or plan.accept_uncertain) and not plan.int8:
        raise InputError("--max-loss and --accept-uncertain: are about --int8; leave them out")
    if plan.int8 and not plan.check:
        raise InputError(
            "--no-check with --int8: 8 bits may answer by chance, so that they are always judged; leave it out"
        )


def _pictures(run: str, source: str | None) -> Iterator[Picture]:
    """Those of `source`; else held-out images of the run, then those that it was trained on, never its test images."""
    if source is not None and Path(source).is_dir():
        yield from (one for one in ImageInputs([source], 1.0, bytes) if isinstance(one, Picture))
        return
    folder = run_of(run)
    if source is not None:
        splits = open_splits(DataConfig(source=source)).splits
    elif folder is not None:
        splits = _own(folder).splits()
    else:
        raise InputError(
            f"{run}: weights without images of their own to compare the file on; name some with --check-images SOURCE, "
            "or leave the check out with --no-check, which the file will say"
        )
    wanted = ("val", "train") if source is None else ("val", "test", "train")
    for images in (images for split in wanted for name, images in splits.items() if name == split):
        for place in range(len(images)):
            yield Picture(images.name(place), lambda images=images, place=place: images.image(place))  # type: ignore[misc]


def _own(folder: Path) -> Source:
    return open_source(own_now(folder, load_run(folder)))


def _quantising(
    run: str, predictor: Predictor, plan: ExportPlan, on_event: Callable[[Any], None], command: str
) -> Quantising:
    """Training images of the run, and a judge that reads its held-out ones."""
    folder = run_of(run)
    if folder is None:
        raise InputError(f"--int8: {run} is no run, and its training and held-out images decide; leave --int8 out")
    source = _own(folder)
    if source.val is None:
        raise InputError(f"--int8: {run} has no held-out images to judge by; train it with --set data.val_fraction=0.1")
    if len(source.train) < FEWEST:
        raise InputError(f"--int8: {len(source.train)} training images, wanted {FEWEST} at least to calibrate by")
    draw = generator(load_run(folder).seed, "int8")
    order = torch.randperm(len(source.train), generator=draw).tolist()[:CALIBRATION]
    images = [
        fit(source.train.image(place), predictor.preparation, source.train.name(place)) for place in sorted(order)
    ]

    def judge(file: Path, eighth: Eighth) -> None:
        on_event(_judged(folder, file, eighth, plan, command))

    return Quantising(images, judge)


def _judged(folder: Path, file: Path, eighth: Eighth, plan: ExportPlan, command: str) -> str:
    """What 8 bits lose on held-out images, and how fast they are; refused is what loses too much, or is no faster."""
    held_out = USUAL.replace(split="val", keep_scores=True)
    intact, images = evaluate_weights(folder, None, held_out, device=torch.device("cpu"), command=command)
    found, _ = evaluate_exported(str(file), None, held_out, run=folder, command=command)
    loss = compared_evaluations(intact, found, images)
    shown = intact.task.compared(
        {name: column.numpy() for name, column in intact.task.saved(intact.predictions).items()}
    )
    allowed = allowed_loss(plan.max_loss, shown, str(loss.intact))
    verdict = loss.verdict(allowed)
    if verdict == "failed" or (verdict == "not shown" and not plan.accept_uncertain):
        raise RunError(refusal("int8", loss, allowed, eighth.layers(), "or leave --int8 out; nothing was written"))
    before, after = _milliseconds(eighth.pair(), Predictor.load(file).network.bundle.shape)
    told = f"{after:.3g} ms an image here, {before:.3g} ms in float32 ({counted(torch.get_num_threads(), 'thread')})"
    if after > before:
        raise RunError(f"int8: slower than float32 on this machine: {told}; leave --int8 out; nothing was written")
    return f"int8: {loss}; {told}"


def _milliseconds(asked: Sequence[FileAnswers], shape: tuple[int, ...]) -> list[float]:
    """Medians of one image, in turn, so that what else goes on here meets all."""
    image = torch.randint(0, 256, (1, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    taken: list[list[float]] = [[] for _ in asked]
    for number in range(_ROUNDS + 2):
        for answer, into in zip(asked, taken, strict=True):
            began = perf_counter()
            answer(image)
            if number > 1:
                into.append(1000 * (perf_counter() - began))
    return [median(each) for each in taken]
