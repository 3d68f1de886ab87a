"""`deepres slim RUN --output DIR`: a smaller, faster network, and what it loses."""

from math import isfinite
from pathlib import Path

import click

from deepres.base.watch import Watch
from deepres.cli import flags
from deepres.cli.streams import command_line
from deepres.cli.watch import watched
from deepres.runs import outputs


def _finite(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not isfinite(value):
        raise click.BadParameter(f"{value}: wanted a number", context, option)
    return value


def _blocks(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value is None or value == "auto" or (value.isdecimal() and int(value)):
        return value
    raise click.BadParameter(f"{value}: wanted a number of units, 1 or more, or auto", context, option)


@click.command("slim")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="New folder of the slim network's run.")
@click.option(
    "--drop-blocks",
    metavar="N|auto",
    callback=_blocks,
    help="Leave out N residual units, the cheapest first; auto: as many as may be (auto, with --int8 none).",
)
@click.option("--int8", is_flag=True, help="Try 8-bit integers too, by onnxruntime and OpenVINO (on a CPU).")
@click.option(
    "--target-ms",
    type=flags.Finite(0, min_open=True),
    metavar="MS",
    callback=_finite,
    help="Milliseconds that one image may take here; the most accurate candidate within them is taken.",
)
@click.option(
    "--max-loss",
    type=flags.Finite(0),
    metavar="X",
    callback=_finite,
    help="What may be lost on held-out images: percentage points, of numbers their own units (0.5).",
)
@click.option(
    "--finetune-epochs",
    type=click.IntRange(0),
    metavar="E",
    help="Epochs of fine-tuning for each candidate, taught by the intact network (5 for images up to 40 px, else 3).",
)
@click.option("--source", metavar="SOURCE", help="Images to slim by, where not the run's own.")
@click.option(
    "--accept-uncertain",
    is_flag=True,
    help="Take a candidate too of which so many held-out images cannot show that it loses no more.",
)
@flags.device
@watched
def command(
    run: Path,
    output: Path,
    drop_blocks: str | None,
    int8: bool,
    target_ms: float | None,
    max_loss: float | None,
    finetune_epochs: int | None,
    source: str | None,
    accept_uncertain: bool,
    device: str | None,
    watch: Watch,
) -> None:
    """Make the network of RUN smaller and faster, and say what it loses.

    Residual units are left out one by one, and what is left is fine-tuned. Held-out images decide, paired with the
    intact network's answers: a candidate that loses more than --max-loss is refused, and nothing is written. The result
    is a run as any other, with slim.html beside: all that was tried, speed against error.
    """
    from deepres.nn.hardware import find_device
    from deepres.slim.slimming import slim
    from deepres.slim.work import SlimConfig

    outputs.require_free_folder("--output", output, [word for word in (str(run), source) if word is not None])
    drop = drop_blocks or (None if int8 else "auto")
    config = SlimConfig(
        drop=int(drop) if drop is not None and drop != "auto" else drop,
        int8=int8,
        target_ms=target_ms,
        max_loss=max_loss,
        epochs=finetune_epochs,
        accept_uncertain=accept_uncertain,
    )

    done = slim(
        run,
        output,
        config,
        data=flags.source(source, ()),
        device=find_device(device),
        on_event=watch.hear,
        command=command_line(),
    )
    frontier = done.frontier
    click.echo(f"taken: {frontier.chosen}, {frontier.why}")
    if frontier.test:
        click.echo(f"test:  {frontier.test}")
    click.echo(f"all that was tried: {done.folder / 'slim.html'}")
    click.echo(f"next:  deepres predict {done.file} IMAGE…")
