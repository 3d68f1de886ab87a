"""`deepres bench RUN|MODEL`: how fast this machine trains and answers with it, and what limits it."""

import click

from deepres.base.watch import Watch
from deepres.cli import flags
from deepres.cli.watch import watched


@click.command("bench")
@click.argument("target", metavar="RUN|MODEL")
@click.option("--data", "source", metavar="SOURCE", help="Images to measure reading with; a run brings its own.")
@flags.device
@click.option("--batch-size", "-b", type=click.IntRange(1), help="Images in one training step; by default the run's.")
@click.option("--seconds", type=flags.Finite(0.1), default=20.0, show_default=True, help="How long to measure.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
@watched
def command(
    target: str,
    source: str | None,
    device: str | None,
    batch_size: int | None,
    seconds: float,
    as_json: bool,
    watch: Watch,
) -> None:
    """Measure how fast this machine trains, answers and reads images with a network, and say what limits it."""
    from deepres.base.events import Doing
    from deepres.nn.hardware import find_device
    from deepres.runs.bench import bench, table

    def on_event(what: str) -> None:
        watch.say(f"measuring {what} …")
        watch(Doing(f"measuring {what}"))

    found = bench(
        target,
        source=source,
        device=find_device(device),
        batch_size=batch_size,
        seconds=seconds,
        on_event=on_event,
    )
    click.echo(found.to_json() if as_json else table(found), nl=not as_json)
