"""`deepres doctor`: what this machine has, and whether resuming is exact on it."""

import tempfile
from pathlib import Path

import click

from deepres.base.errors import RunError
from deepres.base.events import Doing
from deepres.base.watch import Watch
from deepres.cli.watch import watched


@click.command("doctor")
@click.option(
    "--verify-resume",
    is_flag=True,
    help="Train, kill the process, resume, and compare every bit of the weights with an uninterrupted run.",
)
@click.option("--source", default="digits", show_default=True, help="The images to train on for --verify-resume.")
@watched
def command(verify_resume: bool, source: str, watch: Watch) -> None:
    """Show versions, device and precision; with --verify-resume also prove that a resumed run is exact."""
    import torch

    from deepres.nn.environment import advice, hardware, resources, versions
    from deepres.nn.hardware import find_device
    from deepres.runs.verify_resume import verify_resume as verify
    from deepres.train.precision import choose

    device = find_device(None)
    for name, version in versions().items():
        click.echo(f"{name:12}{version}")
    click.echo(f"{'device':12}{device}: {hardware(device)}")
    click.echo(f"{'training':12}{choose('auto', device)}")
    click.echo(f"{'GPUs':12}{torch.cuda.device_count()}")
    for name, told in resources(Path()).items():
        click.echo(f"{name:12}{told}")
    for line in advice(device):
        click.echo(f"{'would help':12}{line}")
    if not verify_resume:
        return

    def on_event(line: str) -> None:
        watch.say(line)
        watch(Doing(line))

    with tempfile.TemporaryDirectory() as folder:
        proof = verify(Path(folder), source, on_event)
    click.echo(f"{'through':12}{proof.uninterrupted}")
    click.echo(f"{'resumed':12}{proof.resumed}  (killed after step {proof.killed_after_step})")
    if not proof.equal:
        raise RunError("resuming changed the weights on this machine; please report this with the lines above")
    click.echo("resuming is exact: every bit of the weights agrees")
