"""`deepres export RUN --format …`: a trained network as a file that answers without deepres."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepres.base.errors import InputError
from deepres.base.events import Doing
from deepres.base.watch import Watch
from deepres.cli import flags
from deepres.cli.int8 import quantising
from deepres.cli.streams import command_line
from deepres.cli.watch import watched
from deepres.runs import outputs

if TYPE_CHECKING:
    from deepres.export.bundle import Bundle, Input
    from deepres.export.export import Format
    from deepres.predict.pictures import Picture


@click.command("export")
@click.argument("run", metavar="RUN|WEIGHTS")
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx", "openvino", "pt2", "timm", "browser"]),
    required=True,
    help="onnx: one file for onnxruntime and many others; openvino: model.xml and model.bin, fastest on many CPUs; "
    "pt2: a program that torch alone loads; timm: a folder that timm.create_model reads; "
    "browser: one page that answers photos, offline.",
)
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="The new folder (NAME-FORMAT, here).")
@click.option(
    "--input",
    "given",
    type=click.Choice(["image", "fitted"]),
    default="image",
    show_default=True,
    help="What the file takes: pictures of any size, which it resizes and cuts as RUN does, or of the network's size.",
)
@click.option(
    "--check-images",
    metavar="SOURCE",
    help="Pictures on which the file is compared with RUN, 64 at least (held-out images of RUN).",
)
@click.option(
    "--int8", is_flag=True, help="In 8 bits (onnx, openvino): calibrated on training images, judged on held-out ones."
)
@click.option(
    "--max-loss",
    type=click.FloatRange(0),
    metavar="X",
    help="With --int8: what may be lost on held-out images: percentage points, of numbers their own units (0.5).",
)
@click.option(
    "--accept-uncertain",
    is_flag=True,
    help="With --int8: take it though so many held-out images cannot show that it loses no more.",
)
@click.option(
    "--runtime",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="With browser: onnxruntime-web as npm unpacks it; without, npm fetches it once.",
)
@click.option("--no-check", is_flag=True, help="Compare nothing; the file will say that it is unchecked.")
@flags.weights
@click.option("--overwrite", is_flag=True, help="Replace an export that is there already; other files never.")
@watched
def command(
    run: str,
    form: "Format",
    output: Path | None,
    given: "Input",
    check_images: str | None,
    int8: bool,
    max_loss: float | None,
    accept_uncertain: bool,
    runtime: Path | None,
    no_check: bool,
    model: str | None,
    variant: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    overwrite: bool,
    watch: Watch,
) -> None:
    """Write RUN as a file that other programs answer with: preparation, network, probabilities and names are in it.

    The file is compared with RUN on real pictures before it is there: parity.json beside it says what came out. One
    that answers otherwise is not written. eval, predict and compare take it like a run.
    """
    from deepres.export.export import ExportConfig, export, require_free
    from deepres.nn.weights.folds import holds_folds
    from deepres.nn.weights.spec import WeightsSpec
    from deepres.predict.predictor import Predictor

    if no_check and check_images is not None:
        raise InputError(
            f"--check-images {check_images} with --no-check: compare on them, or not at all; leave one out"
        )
    if (max_loss is not None or accept_uncertain) and not int8:
        raise InputError("--max-loss and --accept-uncertain: are about --int8; leave them out")
    if int8 and no_check:
        raise InputError(
            "--no-check with --int8: 8 bits may answer by chance, so that they are always judged; leave it out"
        )
    if holds_folds(run):
        raise InputError(f"{run}: several networks, one a fold, make no single file; export one, such as {run}/fold-1")
    output = output or Path(f"{Path(run).name}-{form}")
    if output.suffix in (".onnx", ".pt2", ".xml", ".html"):
        raise InputError(f"--output {output}: wanted a folder, into which the file is written with its parity.json")
    require_free(output, overwrite=overwrite)
    if not output.exists():
        outputs.require_free_folder("--output", output, [run, *([check_images] if check_images else [])])
    watch(Doing("loading the network"))
    predictor = Predictor.load(WeightsSpec(run, model, variant, mean, std), "cpu")
    pictures = None if no_check else list(_pictures(run, check_images))
    judged = None
    if int8:
        judged = quantising(run, predictor, max_loss, accept_uncertain=accept_uncertain, command=command_line())
    done = export(
        predictor,
        run,
        output,
        ExportConfig(format=form, input=given, runtime=runtime),
        pictures,
        int8=judged,
        on_event=watch,
    )
    size = sum(each.stat().st_size for each in output.iterdir()) / 2**20
    told = "unchecked" if done.parity is None else str(done.parity)
    click.echo(f"{done.file}: {done.bundle.network}, {size:.1f} MiB, takes {_taken(done.bundle)}; {told}")
    for each in () if done.parity is None else done.parity.differing[:5]:
        click.echo(f"  {each.image}: {each.network}, the file says {each.file} ({each.margin:.3f} apart)")
    if form == "timm":
        click.echo(f'next: timm.create_model("local-dir:{output}", pretrained=True), deepres eval {output} SOURCE')
        return
    if form == "browser":
        click.echo(f"next: open {done.file} in a browser; nothing is sent anywhere")
        return
    click.echo(f"next: deepres eval {done.file} SOURCE, deepres predict {done.file} IMAGE…")


def _taken(bundle: "Bundle") -> str:
    channels, height, width = bundle.shape
    size = "H, W" if bundle.any_size else f"{height}, {width}"
    return f"uint8 (N, {channels}, {size})"


def _pictures(run: str, source: str | None) -> "Iterator[Picture]":
    """Those of `source`; else held-out images of the run, then those that it was trained on, never its test images."""
    from deepres.data.sources.config import DataConfig
    from deepres.data.sources.open import open_source, open_splits
    from deepres.predict.pictures import ImageInputs, Picture
    from deepres.recipes.run import load_run
    from deepres.runs.seen import own_now, run_of

    if source is not None and Path(source).is_dir():
        yield from (one for one in ImageInputs([source], 1.0, bytes) if isinstance(one, Picture))
        return
    folder = run_of(run)
    if source is not None:
        splits = open_splits(DataConfig(source=source)).splits
    elif folder is not None:
        splits = open_source(own_now(folder, load_run(folder))).splits()
    else:
        raise InputError(
            f"{run}: weights without images of their own to compare the file on; name some with --check-images SOURCE, "
            "or leave the check out with --no-check, which the file will say"
        )
    wanted = ("val", "train") if source is None else ("val", "test", "train")
    for images in (images for split in wanted for name, images in splits.items() if name == split):
        for place in range(len(images)):
            yield Picture(images.name(place), lambda images=images, place=place: images.image(place))  # type: ignore[misc]
