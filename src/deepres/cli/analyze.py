"""`deepres analyze [ANALYSIS…] RUN [SOURCE]`: a trained network taken apart."""

from pathlib import Path

import click

from deepres.base.watch import Watch
from deepres.cli import flags
from deepres.cli.streams import command_line
from deepres.cli.watch import watched


@click.command("analyze")
@click.argument("words", nargs=-1, required=True, metavar="[ANALYSIS…] RUN|WEIGHTS [SOURCE]")
@click.option("--images", type=click.IntRange(1), help="How many test images to use (500).")
@click.option(
    "--draws", type=click.IntRange(1), help="Repetitions of what is random, such as units left out at random (5)."
)
@click.option("--seed", type=click.IntRange(0), help="Seed of the choice of images and of all random draws (0).")
@click.option(
    "--class", "label", metavar="NAME", help="cam, pixels: the class whose maps are drawn; by default the answered one."
)
@click.option("--layer", metavar="PART", help="cam: Grad-CAM at this part of the network, such as stage2.unit1.")
@click.option(
    "--cam",
    "weighing",
    type=click.Choice(["grad-cam", "grad-cam++", "layer-cam"]),
    help="cam: how gradients weigh the maps, in place of class activation maps.",
)
@click.option("--points", type=click.IntRange(3), help="surface: points along a direction, an odd number (11).")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for the page, the plots and the numbers (RUN/analysis)."
)
@flags.overwrite
@flags.reading
@flags.weights
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@flags.on_bad_image
@flags.force
@flags.device
@watched
def command(
    words: tuple[str, ...],
    images: int | None,
    draws: int | None,
    seed: int | None,
    label: str | None,
    layer: str | None,
    weighing: str | None,
    points: int | None,
    output: Path | None,
    overwrite: bool,
    model: str | None,
    variant: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    as_json: bool,
    on_bad_image: str | None,
    force: bool,
    device: str | None,
    reading: tuple[str, ...],
    watch: Watch,
) -> None:
    """Take RUN apart by one ANALYSIS or several; without one, by all that suit its network but the last three.

    \b
    lesion        error without each unit, without several at random, and with units swapped
    paths         how much gradient the paths of each length carry
    responses     how strongly layers, branches and shortcuts answer
    propagation   signal and gradient unit by unit, beside the paper's equations
    reuse         which earlier layers each layer of a dense block uses
    cam           where in an image the answer comes from
    equivariance  what shifting or resizing an image changes
    localisation  how often boxes around these maps hit the object; wants a SOURCE with boxes beside its classes
    surface       the loss around the weights; asks about all images points^2 times and more
    pixels        what every single pixel adds to the answer (integrated gradients)

    Of a detector lesion, responses and propagation take the backbone.

    RUN is the folder of a run; or weights by path or name, which need a SOURCE of images.
    """
    import json
    from difflib import get_close_matches

    from deepres.base.errors import InputError, unknown
    from deepres.base.events import Doing
    from deepres.nn.hardware import find_device
    from deepres.nn.weights.checkpoints import asked_of, exists
    from deepres.nn.weights.spec import WeightsSpec
    from deepres.runs.analysis.run import ANALYSES, AnalysisTarget, examine
    from deepres.runs.analysis.units import AnalysisConfig
    from deepres.runs.evaluate import EvaluationConfig

    kinds = [word for word in words if word in ANALYSES]
    others = [word for word in words if word not in ANALYSES]
    for word in others:
        if not exists(asked_of(word)[0]) and get_close_matches(word, ANALYSES, n=1, cutoff=0.7):
            raise unknown("analysis", word, ANALYSES)
    if not 1 <= len(others) <= 2:
        raise InputError(
            f"analyze {' '.join(words)}: wanted analyses ({', '.join(ANALYSES)}), one run or weights, a source if any"
        )
    wanted = {"images": images, "draws": draws, "seed": seed, "label": label, "layer": layer}
    wanted |= {"weighing": weighing, "points": points}
    settings = AnalysisConfig.model_validate({name: value for name, value in wanted.items() if value is not None})
    folder, found = examine(
        AnalysisTarget(
            WeightsSpec(others[0], model=model, variant=variant, mean=mean, std=std),
            flags.source(others[1] if len(others) == 2 else None, reading),
            EvaluationConfig(on_bad_image=on_bad_image, force=force),
        ),
        tuple(kinds),
        output,
        settings,
        device=find_device(device),
        command=command_line(),
        overwrite=overwrite,
        on_progress=lambda kind, done, total: watch(Doing(kind, done, total)),
    )
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "found": found}, indent=1))
        return
    for kind, lines in found.items():
        click.echo(f"{kind}:")
        for line in lines:
            click.echo(f"  {line}")
    click.echo(f"report: {folder / 'report.html'}")
