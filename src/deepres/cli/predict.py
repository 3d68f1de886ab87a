"""`deepres predict RUN IMAGE…`: what is on these pictures."""

import json
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepres.base.errors import InputError
from deepres.base.files import make_folder, write_atomic
from deepres.base.telling import Doing
from deepres.cli import flags
from deepres.cli.watch import Watch, watched

FEW = 16
"""Fewer images than this are answered before a network is made ready to answer faster."""

if TYPE_CHECKING:
    from deepres.serve.predictor import Answer, Predictor


@click.command("predict")
@click.argument("run", metavar="RUN|WEIGHTS")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path), required=True)
@flags.weights
@click.option("--top-k", default=5, show_default=True, type=click.IntRange(1), help="Classes named for each image.")
@click.option("--cam", type=click.Path(path_type=Path), metavar="DIR", help="Write where each answer comes from there.")
@click.option("--class", "label", metavar="NAME", help="Show where this class comes from instead (with --cam).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line and image.")
@flags.device
@click.option(
    "--fast",
    type=click.Choice(["auto", "off", "max"]),
    default="auto",
    show_default=True,
    help="Fold norms, bfloat16 where the hardware has it, close calls again in float32; max: compiled in any case.",
)
@watched
def command(
    run: str,
    images: tuple[Path, ...],
    model: str | None,
    variant: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    top_k: int,
    cam: Path | None,
    label: str | None,
    as_json: bool,
    device: str | None,
    fast: str,
    watch: Watch,
) -> None:
    """Name what is on the IMAGES (files, or folders of files), with nothing but the folder RUN, or named weights.

    An unreadable image is reported and the others are answered; the exit code is then 2. Many images are answered
    faster and rounded differently, which is said; with --fast off every answer is the plain float32 network's.
    """
    from deepres.analyze.attribution import class_number
    from deepres.serve.predictor import Predictor
    from deepres.train.precision import find_device

    if label is not None and cam is None:
        raise InputError(f"--class {label} without --cam: it chooses the map; add --cam DIR")
    predictor = Predictor.load(run, find_device(device), model=model, variant=variant, mean=mean, std=std)
    if predictor.said:
        click.echo(f"preprocessing: {predictor.said}", err=True)
    if label is not None:
        class_number(label, predictor.network.num_classes, predictor.classes)
    paths = _files(images)
    watch(Doing("images", 0, len(paths)))
    if cam is not None:
        make_folder(cam)
    if fast == "max" or (fast == "auto" and len(paths) >= FEW):
        predictor = predictor.hurried(len(paths), compiled="yes" if fast == "max" else "auto")
        click.echo(f"{predictor.network.description.name}: {predictor.fast}; --fast off for plain float32", err=True)
    taken: set[Path] = set()
    problems = 0
    for answer in predictor.answers(paths, top_k):
        problems += answer.problem is not None
        shown = None if cam is None or answer.problem is not None else _show(predictor, answer, cam, label, taken)
        if as_json:
            click.echo(json.dumps({**answer.model_dump(mode="json"), **({"map": shown[1]} if shown else {})}))
        else:
            click.echo(answer.line(), err=answer.problem is not None)
            if shown is not None:
                click.echo(f"  {shown[0]}: {shown[1]}")
    if problems:
        others = "; the others are answered above" if problems < len(paths) else "; see above"
        raise InputError(f"{problems} of {len(paths)} images could not be read{others}")


def _show(
    predictor: "Predictor", answer: "Answer", folder: Path, label: str | None, taken: set[Path]
) -> tuple[str, str]:
    """The class and the file of its map; images of equal names get a number."""
    from PIL import Image

    name, overlay = predictor.overlay(Path(answer.image), label)
    stem = Path(answer.image).stem
    names = (folder / f"{stem}{f'-{number}' if number else ''}_cam.png" for number in count())
    path = next(path for path in names if path not in taken)
    taken.add(path)
    file = BytesIO()
    Image.fromarray(overlay.permute(1, 2, 0).numpy()).save(file, "PNG")
    write_atomic(path, file.getvalue())
    return name, str(path)


def _files(images: tuple[Path, ...]) -> list[Path]:
    from deepres.data.folders import images_under

    paths: list[Path] = []
    for image in images:
        found = images_under(image) if image.is_dir() else [image]
        if not found:
            raise InputError(f"{image}: no images in this folder; name image files")
        paths += found
    return paths
