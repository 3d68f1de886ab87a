"""`deepres weights inspect|convert`: what a file of weights is, and a folder of ours made of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from deepres.base.errors import InputError
from deepres.base.events import Doing
from deepres.base.watch import Watch
from deepres.cli import flags
from deepres.cli.watch import watched
from deepres.runs import outputs


@click.group("weights")
def command() -> None:
    """Look into a file of weights, or convert it to a folder that every command takes."""


@command.command("inspect", short_help="Show what FILE holds, and which networks fit.")
@click.argument("file", metavar="FILE|WEIGHTS")
@flags.ignored
@click.option("--all", "whole", is_flag=True, help="Show all layers, not only the first.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@watched
def inspect_command(file: str, whole: bool, as_json: bool, watch: Watch) -> None:
    """Show what FILE holds: format, layers, classes, the networks that fit, and how layers are matched.

    Nothing in the file is executed.
    """
    from deepres.nn.weights.inspection import inspect
    from deepres.nn.weights.structure import ROWS

    watch(Doing(f"reading {file}"))
    if (facts := _detector(file)) is not None:
        told = (f"{name:16}{value}" for name, value in facts.items())
        click.echo(json.dumps(facts) if as_json else "\n".join(told))
        return
    found = inspect(file)
    if as_json:
        click.echo(found.to_json())
        return
    click.echo("\n".join(found.lines(None if whole else ROWS)))
    click.echo("")
    if found.says is not None:
        click.echo(f"next: deepres eval {file} SOURCE")
        return
    if len(found.networks) > 1:
        click.echo(f"its layers do not say which of {', '.join(found.networks)} they were trained as: say it as NAME")
    if found.networks:
        name = found.networks[0] if len(found.networks) == 1 else "NAME"
        click.echo(f"next: deepres eval {file} SOURCE --variant {name} --preprocessing …")


@command.command("convert", short_help="Convert FILE to a folder that every command takes.")
@click.argument("file", metavar="FILE|WEIGHTS")
@click.argument("out", type=click.Path(path_type=Path))
@flags.weights
@click.option(
    "--classes",
    type=click.Path(path_type=Path),
    metavar="TXT",
    help="Text file with the names of the classes, one per line.",
)
@watched
def convert_command(
    file: str,
    out: Path,
    model: str | None,
    variant: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    classes: Path | None,
    watch: Watch,
) -> None:
    """Convert FILE to the folder OUT, which eval, predict and analyze take: weights, network, classes, preprocessing.

    The network has to be known: from the file, or from --model and --variant.
    """
    from deepres.arch.detector import Detector
    from deepres.base.files import make_folder
    from deepres.nn.create import create_model
    from deepres.nn.weights.files import save_network
    from deepres.nn.weights.hub import find_weights
    from deepres.predict.preprocessing import STATISTICS, prepared_for, preprocessing_of
    from deepres.tasks.networks import asked_of
    from deepres.tasks.task import FirstValues

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is there already; name a folder that is not")
    outputs.require_free_folder("OUT", out, ())
    model = model or variant
    watch(Doing(f"reading {file}"))
    task, stored = asked_of(find_weights(file, model))
    if model is None and stored.description is None:
        raise InputError(f"{file}: does not say which network it is of; see deepres weights inspect, then --model")
    network: Any
    if isinstance(stored.description, Detector):
        network = task.network(stored.description, (), FirstValues(stored, variant))[0]
        stored = replace(stored, task=task.model_dump(mode="json"))
    else:
        network = create_model(model or stored.description or "", weights=stored, variant=variant)
    network.eval()
    preparation, statistics, said = prepared_for(stored, network.description, mean, std)
    names = _names(classes, max(2, network.num_classes)) if classes else stored.classes
    told = preprocessing_of(preparation, statistics, network.description)
    make_folder(out)
    save_network(out, network, names, preparation.model_dump(mode="json"), told, stored.task)
    statistics.save(out / STATISTICS)
    count = f"{network.num_classes} classes" + ("" if names else " without names (--classes)")
    click.echo(f"{out}: {network.description.name}, {count}; {said or 'prepared as its run'}")
    click.echo(f"next: deepres eval {out} SOURCE, deepres predict {out} IMAGE…")


def _detector(file: str) -> dict[str, Any] | None:
    """What a file of a detector's weights says; None of any other."""
    from deepres.arch.atoms import Norm
    from deepres.arch.detector import Detector, atoms_of
    from deepres.nn.weights.hub import find_weights
    from deepres.tasks.networks import asked_of

    try:
        stored = asked_of(find_weights(file))[1]
    except InputError:
        return None  # whoever inspects it says what is wrong
    found = stored.description
    if not isinstance(found, Detector):
        return None
    eps = {node.eps for _, part in found.body for node in atoms_of(part) if isinstance(node, Norm)}
    names = ", ".join(stored.classes) or "without names"
    return {
        "file": stored.where,
        "finds boxes": f"{found.name}, on {found.backbone_name}, neck {found.neck}",
        "classes": f"{found.num_classes}, {names}; the background in column 0",
        "tensors": f"{len(stored.tensors)}, {sum(t.numel() for t in stored.tensors.values()):,} numbers",
        "norms": f"eps {', '.join(f'{value:g}' for value in sorted(eps))}",
        "regions": "shifted by half a pixel" if found.regions.aligned else "not shifted by half a pixel (torchvision)",
        "next": f"deepres predict {file} IMAGE…" + ("" if stored.preparation else " --preprocessing …"),
    }


def _names(path: Path, wanted: int) -> tuple[str, ...]:
    from deepres.base.files import read_text

    names = tuple(line.strip() for line in read_text(path, "list of class names").splitlines() if line.strip())
    if len(names) != wanted:
        raise InputError(f"{path}: {len(names)} names, the network knows {wanted} classes; wanted one name a line")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: {twice!r} stands there twice; two classes need two names")
    return names
