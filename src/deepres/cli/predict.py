"""`deepres predict RUN IMAGE…`: what is on these pictures."""

import json
from pathlib import Path

import click

from deepres.base.errors import InputError


@click.command("predict")
@click.argument("run", metavar="RUN|WEIGHTS")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path), required=True)
@click.option("--model", metavar="NET", help="The network, where WEIGHTS do not say.")
@click.option("--variant", metavar="NET", help="What bare weights were trained as, where they fit several networks.")
@click.option("--top-k", default=5, show_default=True, type=click.IntRange(1), help="Classes named for each image.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line and image.")
@click.option("--device", help="cpu, cuda or cuda:N; by default the best there is.")
def command(
    run: str,
    images: tuple[Path, ...],
    model: str | None,
    variant: str | None,
    top_k: int,
    as_json: bool,
    device: str | None,
) -> None:
    """Name what is on the IMAGES (files, or folders of files), with nothing but the folder RUN, or named weights.

    An unreadable image is reported and the others are answered; the exit code is then 2.
    """
    from deepres.serve.predictor import Predictor
    from deepres.train.precision import find_device

    predictor = Predictor.load(run, find_device(device), model=model, variant=variant)
    paths = _files(images)
    problems = 0
    for answer in predictor.answers(paths, top_k):
        problems += answer.problem is not None
        if as_json:
            click.echo(json.dumps(answer.model_dump(mode="json")))
        else:
            click.echo(answer.line(), err=answer.problem is not None)
    if problems:
        raise InputError(f"{problems} of {len(paths)} images could not be read; the others are answered above")


def _files(images: tuple[Path, ...]) -> list[Path]:
    from deepres.data.folders import images_under

    paths: list[Path] = []
    for image in images:
        found = images_under(image) if image.is_dir() else [image]
        if not found:
            raise InputError(f"{image}: no images in this folder; name image files")
        paths += found
    return paths
