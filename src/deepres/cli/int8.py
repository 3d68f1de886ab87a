"""--int8 of `deepres export`: which images calibrate, and the gate that a network in 8 bits has to pass."""

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import click

from deepres.base.errors import InputError, RunError
from deepres.base.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepres.export.export import Eighth, Quantising
    from deepres.export.parity import FileAnswers
    from deepres.predict.predictor import Predictor

CALIBRATION, FEWEST = 256, 100
"""Training images that calibrate, and the fewest that do."""
_ROUNDS = 15


def quantising(
    run: str, predictor: "Predictor", max_loss: float | None, *, accept_uncertain: bool, command: str
) -> "Quantising":
    """Training images of the run, and a judge that reads its held-out ones; test images are never read.

    Raises:
        InputError: no run, no held-out images, or fewer than 100 for training.
    """
    import torch

    from deepres.data.rng import generator
    from deepres.data.sources.open import open_source
    from deepres.data.transforms.per_image import fit
    from deepres.export.export import Quantising
    from deepres.recipes.run import load_run
    from deepres.runs.seen import own_now, run_of

    folder = run_of(run)
    if folder is None:
        raise InputError(f"--int8: {run} is no run, and its training and held-out images decide; leave --int8 out")
    plan = load_run(folder)
    source = open_source(own_now(folder, plan))
    if source.val is None:
        raise InputError(f"--int8: {run} has no held-out images to judge by; train it with --set data.val_fraction=0.1")
    if len(source.train) < FEWEST:
        raise InputError(f"--int8: {len(source.train)} training images, wanted {FEWEST} at least to calibrate by")
    order = torch.randperm(len(source.train), generator=generator(plan.seed, "int8")).tolist()[:CALIBRATION]
    images = [
        fit(source.train.image(place), predictor.preparation, source.train.name(place)) for place in sorted(order)
    ]

    def judge(file: Path, eighth: "Eighth") -> None:
        _judge(folder, file, eighth, max_loss, accept_uncertain=accept_uncertain, command=command)

    return Quantising(images, judge)


def _judge(
    folder: Path,
    file: Path,
    eighth: "Eighth",
    max_loss: float | None,
    *,
    accept_uncertain: bool,
    command: str,
) -> None:
    """Refuse a file that loses more on held-out images than is allowed, or may do so, or is no faster."""
    import torch

    from deepres.cli import exported
    from deepres.runs.ensemble import AS_ONE
    from deepres.runs.evaluate import evaluate_weights
    from deepres.slim.gate import allowed_loss, compared_evaluations

    held_out = AS_ONE.replace(split="val", keep_scores=True)
    intact, images = evaluate_weights(folder, None, held_out, device=torch.device("cpu"), command=command)
    found, _ = exported.measured(str(file), None, held_out, run=folder, command=command)
    shape = exported.load(str(file)).network.bundle.shape
    loss = compared_evaluations(intact, found, images)
    shown = intact.task.compared(
        {name: column.numpy() for name, column in intact.task.saved(intact.predictions).items()}
    )
    allowed = allowed_loss(max_loss, shown, str(loss.intact))
    verdict = loss.verdict(allowed)
    if verdict == "failed" or (verdict == "not shown" and not accept_uncertain):
        worst = ", ".join(f"{name} {100 * error:.2g} %" for name, error in eighth.layers()[:3])
        what = "is lost" if verdict == "failed" else "is lost is not shown"
        bound = (
            f"{'more' if verdict == 'failed' else 'that no more'} than {allowed:g}{' points' if loss.shares else ''}"
        )
        remedy = (
            "" if verdict == "failed" else ", give more held-out images, or take it as it is with --accept-uncertain"
        )
        raise RunError(
            f"int8: {loss}; {bound} (--max-loss) {what}{f'; layers furthest from float32: {worst}' if worst else ''}; "
            f"allow more, leave --int8 out{remedy}; nothing was written"
        )
    before, after = _milliseconds(eighth.pair(), shape)
    told = f"{after:.3g} ms an image here, {before:.3g} ms in float32 ({counted(torch.get_num_threads(), 'thread')})"
    if after > before:
        raise RunError(f"int8: slower than float32 on this machine: {told}; leave --int8 out; nothing was written")
    click.echo(f"int8: {loss}; {told}", err=True)


def _milliseconds(asked: "Sequence[FileAnswers]", shape: tuple[int, ...]) -> list[float]:
    """Medians of one image, in turn, so that what else goes on here meets all."""
    import torch

    image = torch.randint(0, 256, (1, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    taken: list[list[float]] = [[] for _ in asked]
    for number in range(_ROUNDS + 2):
        for answer, into in zip(asked, taken, strict=True):
            began = perf_counter()
            answer(image)
            if number > 1:
                into.append(1000 * (perf_counter() - began))
    return [median(each) for each in taken]
