"""`deepres export RUN --format …`: a trained network as a file that answers without deepres."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepres.base.watch import Watch
from deepres.cli import flags
from deepres.cli.streams import command_line
from deepres.cli.watch import watched

if TYPE_CHECKING:
    from deepres.export.export import Format
    from deepres.predict.exported.bundle import Input


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
    "--int8",
    is_flag=True,
    help="In 8 bits (onnx, openvino, browser): calibrated on training images, judged on held-out ones.",
)
@click.option(
    "--max-loss",
    type=flags.Finite(0),
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
    from deepres.nn.weights.spec import WeightsSpec
    from deepres.slim.exporting import ExportPlan, export_run

    plan = ExportPlan(
        format=form,
        input=given,
        runtime=runtime,
        check_images=check_images,
        check=not no_check,
        int8=int8,
        max_loss=max_loss,
        accept_uncertain=accept_uncertain,
        overwrite=overwrite,
    )
    weights = WeightsSpec(run, model, variant, mean, std)
    done = export_run(weights, output, plan, on_event=watch.hear, command=command_line())
    output = done.file.parent
    size = sum(each.stat().st_size for each in output.iterdir()) / 2**20
    click.echo(f"{done} ({size:.1f} MiB)")
    for each in () if done.parity is None else done.parity.differing[:5]:
        click.echo(f"  {each.image}: {each.network}, the file says {each.file} ({each.margin:.3f} apart)")
    if form == "timm":
        click.echo(f'next: timm.create_model("local-dir:{output}", pretrained=True), deepres eval {output} SOURCE')
        return
    if form == "browser":
        click.echo(f"next: open {done.file} in a browser; nothing is sent anywhere")
        return
    click.echo(f"next: deepres eval {done.file} SOURCE, deepres predict {done.file} IMAGE…")
