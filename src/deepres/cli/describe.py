"""`deepres describe NET`: one network in full."""

from pathlib import Path

import click

from deepres.arch.readings.describe import describe
from deepres.arch.readings.draw import svg
from deepres.base.files import write_atomic
from deepres.cli import flags
from deepres.runs import outputs


@click.command("describe")
@click.argument("net")
@click.option("--batch-size", "-b", type=click.IntRange(1), help="Images in one training step, for its memory.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole description and its cost as JSON.")
@click.option("--svg", "drawing", type=click.Path(path_type=Path), help="Write a drawing of the network as SVG.")
@flags.overwrite
def command(net: str, batch_size: int | None, as_json: bool, drawing: Path | None, overwrite: bool) -> None:
    """Show NET: layers, parameters, multiply-adds, receptive field or anchors, memory of a training step."""
    outputs.require_free({"--svg": (drawing, outputs.DRAWING)}, (), overwrite=overwrite)
    description = describe(net, batch_size)
    if drawing is not None:
        write_atomic(drawing, svg(description.architecture))
    click.echo(description.to_json() if as_json else str(description))
