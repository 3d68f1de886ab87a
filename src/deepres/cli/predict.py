"""`deepres predict RUN IMAGE…`: what is on these pictures."""

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepres.base.cells import csv_of
from deepres.base.errors import InputError, RunError
from deepres.base.events import Doing
from deepres.base.files import clear_parts, is_folder, make_folder, write_atomic
from deepres.base.watch import Watch
from deepres.base.wording import reason_alone
from deepres.cli import flags
from deepres.cli.boxes import BoxFlags, box_flags
from deepres.cli.watch import watched
from deepres.runs import outputs

FEW = 16
"""Fewer images than this are answered before a network is made ready to answer faster."""

if TYPE_CHECKING:
    from deepres.nn.inference import InferencePrecision
    from deepres.predict.backends import Backend
    from deepres.predict.pictures import Picture
    from deepres.predict.predictor import Predictor
    from deepres.tasks.task import Answer


@click.command("predict")
@click.argument("run", metavar="RUN|WEIGHTS")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@flags.weights
@click.option(
    "--top-k", default=5, show_default=True, type=click.IntRange(1), help="How many classes to name for each image."
)
@click.option(
    "--csv", "table", type=click.Path(path_type=Path), metavar="FILE", help="Write the answers as a CSV table."
)
@click.option(
    "--every",
    type=flags.Finite(0, min_open=True),
    metavar="SECONDS",
    help="Videos: seconds between the frames that are answered (1).",
)
@click.option(
    "--cam",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write each image into DIR, with a class activation map that shows where the answer comes from.",
)
@click.option("--class", "label", metavar="NAME", help="With --cam: the map of this class instead of the answered one.")
@click.option(
    "--reject",
    metavar="RULE",
    help="Answer `unknown` where the network is too unsure: coverage=0.95 (so many known images are answered), "
    "error=0.01 (of the answered), both by the thresholds that the run found on held-out images, or probability=0.8.",
)
@box_flags
@flags.overwrite
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image, each on a line of its own.")
@click.option("--uncalibrated", is_flag=True, help="Probabilities without the temperature that the run found.")
@flags.device
@flags.precision("auto", f"float32, and from {FEW} images on bfloat16 where the hardware has it")
@flags.backend
@watched
def command(
    run: str,
    images: tuple[str, ...],
    model: str | None,
    variant: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    top_k: int,
    table: Path | None,
    every: float | None,
    cam: Path | None,
    label: str | None,
    reject: str | None,
    boxes: BoxFlags,
    overwrite: bool,
    as_json: bool,
    uncalibrated: bool,
    device: str | None,
    precision: "InferencePrecision",
    backend: "Backend",
    watch: Watch,
) -> None:
    """Name what is on each IMAGE; needs nothing but the folder RUN, or weights by path or name.

    An IMAGE is a file, a folder (with all below it), a quoted pattern ('photos/**/*.jpg'), an address (https://…), a
    video, or - for an image from a pipe.

    Images that cannot be read are reported, the others answered; the exit code is then 1, or 2 if none could be read.
    With 16 images or more the network is first made faster (norms folded, compiled where that pays), which changes the
    last digits; a line says so. Of many, the fastest back end that is installed answers (--backend). In bfloat16 close
    calls between two classes are answered again in float32.
    """
    from dataclasses import replace

    from deepres.nn.hardware import find_device
    from deepres.nn.weights.folds import holds_folds
    from deepres.nn.weights.spec import WeightsSpec
    from deepres.predict.exported.names import is_exported, require_alone, require_cpu
    from deepres.predict.pictures import ImageInputs, Picture
    from deepres.predict.predictor import Predictor
    from deepres.tasks.task import require

    if label is not None and cam is None:
        raise InputError(f"--class {label} without --cam: it chooses the map; add --cam DIR")
    watch(Doing("loading the network"))
    if holds_folds(run):
        _refuse_with_folds(run, {"--cam": cam, "--model": model, "--variant": variant, "--mean": mean, "--std": std})
        predictor = Predictor.load_folds(run, find_device(device))
        click.echo(f"{run}: the mean of the answers of {len(predictor.members)} networks, one a fold", err=True)
    else:
        if file := is_exported(run):
            said = {"--model": model, "--variant": variant, "--mean": mean, "--std": std, "--cam": cam}
            require_alone(run, {**said, **_said("--precision", precision), **_said("--backend", backend)})
            require_cpu(run, device, "--device")
        weights = WeightsSpec(run, model, variant, mean, std)
        predictor = Predictor.load(weights, "cpu" if file else find_device(device), settled=not uncalibrated)
        if file:
            click.echo(f"{run}: {predictor.network.description.name}, {predictor.ready}", err=True)
            if predictor.network.note is not None:
                click.echo(f"{run}: {predictor.network.note}", err=True)
    if cam is not None:
        require(predictor.task, "--cam", run)
    predictor = boxes.asked(predictor, run)
    if reject is not None:
        require(predictor.task, "--reject", run)
        task, told = predictor.task.rejecting(reject)
        predictor = replace(predictor, task=task)
        click.echo(told, err=True)
    if predictor.said:
        click.echo(f"preprocessing: {predictor.said}", err=True)
    if (settled := predictor.task.settled_text()) is not None:
        click.echo(f"{settled}; --uncalibrated leaves it out", err=True)
    if label is not None:
        from deepres.analyze.attribution import class_number

        class_number(label, predictor.network.num_classes, predictor.classes)
    asked = ImageInputs(images, every or 1.0, _piped)
    if every is not None and not asked.videos:
        raise InputError(f"--every {every:g}: no video is among the images; leave it out")
    for video in asked.videos if every is None else ():
        click.echo(f"{video}: a frame every second; others: --every SECONDS", err=True)
    folders = [one for one in images if is_folder(one)]
    outputs.require_free_folder("--cam", cam, folders)
    boxes.require_free(predictor, run, asked.listed, folders)
    outputs.require_name("--csv", table)
    for folder in {folder for folder in (cam, boxes.show, table and table.parent) if folder is not None}:
        make_folder(folder)
    clear_parts(*(folder for folder in (cam, boxes.show) if folder is not None))
    read = [run, *(one.name if isinstance(one, Picture) else one for one in asked.listed)]
    outputs.require_free({"--csv": (table, outputs.TABLE)}, read, overwrite=overwrite)
    many = len(asked) + FEW * len(asked.videos)
    asked_for = precision == "bfloat16" or backend in ("openvino", "onnxruntime")
    if predictor.ready is None and (asked_for or many >= FEW):
        watch(Doing("making the network fast"))
        exact = "float32" if many < FEW and precision == "auto" else precision
        predictor = predictor.optimized(many, precision=exact, backend=backend, say=watch.say)
        other = "; --precision float32 is exact" if predictor.ready is not None and predictor.ready.exact else ""
        click.echo(f"{predictor.network.description.name}: {predictor.ready}{other}", err=True)
    drawn: deque[Picture] = deque()
    answers: list[Answer] = []
    problems: list[str | None] = []
    for number, answer in enumerate(predictor.answers(_kept(asked, drawn), top_k), 1):
        picture = drawn.popleft()
        watch(Doing("images", number, 0 if asked.videos else len(asked)))
        problems.append(answer.problem)
        if table is not None:
            answers.append(answer)
        shown = None if cam is None or answer.problem is not None else _show(predictor, picture, cam, label, overwrite)
        drawing = boxes.drawn(predictor, picture, answer, overwrite=overwrite)
        if as_json:
            more = {"map": shown[1]} if shown else {"shown": drawing} if drawing else {}
            click.echo(json.dumps({**answer.model_dump(mode="json"), **more}))
        elif answer.problem is None:
            click.echo(answer.line())
            if shown is not None:
                click.echo(f"  {shown[0]}: {shown[1]}")
            if drawing is not None:
                click.echo(f"  boxes: {drawing}")
        elif len(asked) > 1 or asked.videos:
            click.echo(answer.problem, err=True)
    if table is not None:
        write_atomic(table, _table(answers, predictor.task.columns(predictor.classes, top_k)))
    boxes.write(predictor, run)
    if hidden := boxes.left_out(predictor):
        click.echo(hidden, err=True)
    _conclude(problems)


def _said(flag: str, value: str) -> dict[str, str | None]:
    return {flag: None if value == "auto" else value}


def _refuse_with_folds(run: str, given: dict[str, object | None]) -> None:
    for flag, value in given.items():
        if value is not None:
            raise InputError(f"{flag} with {run}: it needs a single network, and here are several; name {run}/fold-1")


def _conclude(problems: list[str | None]) -> None:
    """Refuse where nothing could be answered; fail where something could not."""
    bad = [problem for problem in problems if problem is not None]
    if len(bad) == len(problems):
        raise InputError(bad[0] if len(bad) == 1 else f"none of the {len(bad):,} images could be read; see above")
    if bad:
        raise RunError(f"{len(bad):,} of {len(problems):,} images could not be read; the others are answered above")


def _kept(pictures: "Iterable[Picture]", drawn: "deque[Picture]") -> "Iterator[Picture]":
    """The pictures as they are asked for; each stays in `drawn` until its answer comes."""
    for picture in pictures:
        drawn.append(picture)
        yield picture


def _piped() -> bytes:
    from deepres.predict.addresses import MOST_BYTES

    if sys.stdin.isatty():
        raise InputError("-: nothing is piped in; wanted the bytes of an image, as in: deepres predict RUN - < cat.jpg")
    return sys.stdin.buffer.read(MOST_BYTES + 1)


def _show(
    predictor: "Predictor", picture: "Picture", folder: Path, label: str | None, overwrite: bool
) -> tuple[str, str]:
    """The class and the file of its map."""
    from deepres.predict.maps import file_name, png

    name, drawing = predictor.shown(picture, label)
    path = folder / file_name(picture)
    outputs.require_one("--cam", path, outputs.PICTURE, [picture.name], overwrite=overwrite)
    write_atomic(path, png(drawing))
    return name, str(path)


def _table(answers: "list[Answer]", columns: "Sequence[str]") -> str:
    """The name of each image, what is answered in a row or several (`Answer.rows`), what was wrong."""
    rows = [["image", *columns, "problem"]]
    for answer in answers:
        problem = reason_alone(answer.image, answer.problem or "")
        for cells in answer.rows():
            rows.append([answer.image, *(cells.get(column, "") for column in columns), problem])
    return csv_of(rows)
