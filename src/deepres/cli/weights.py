"""`deepres weights inspect|convert`: what a file of weights is, and a folder of ours made of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from deepres.base.errors import InputError
from deepres.base.events import Doing
from deepres.base.watch import Watch
from deepres.base.wording import counted
from deepres.cli import flags
from deepres.cli.watch import watched
from deepres.runs import outputs

if TYPE_CHECKING:
    from torch import Tensor

Command = TypeVar("Command", bound=Callable[..., Any])


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

    Of published weights that are given by name it says how they were trained, and which source says so. Nothing in the
    file is executed.
    """
    from deepres.nn.weights.checkpoints import exists
    from deepres.nn.weights.inspection import inspect
    from deepres.nn.weights.structure import ROWS
    from deepres.nn.weights.trainings import trained_by

    watch(Doing(f"reading {file}"))
    if (facts := _of_boxes(file)) is not None:
        told = (f"{name:16}{value}" for name, value in facts.items())
        click.echo(json.dumps(facts) if as_json else "\n".join(told))
        return
    try:
        found = inspect(file)
    except InputError:
        if (training := trained_by(file)) is not None and not exists(file):  # known without the weights
            click.echo(training.to_json() if as_json else "\n".join(training.lines()))
        raise
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


@dataclass(frozen=True)
class _Named:
    """What things are called: the classes, by a file; tensors, by a library."""

    classes: Path | None
    library: str | None


def _named(command: Command) -> Command:
    """--classes and --names; the command gets both as `named`."""

    @wraps(command)
    def with_names(*arguments: Any, classes: Path | None, names: str | None, **others: Any) -> Any:
        return command(*arguments, named=_Named(classes, names), **others)

    of_classes, of_tensors = (
        click.option(
            "--classes",
            type=click.Path(path_type=Path),
            metavar="TXT",
            help="Text file with the names of the classes, one per line.",
        ),
        click.option(
            "--names",
            metavar="LIBRARY",
            help="Write the tensors under the names of timm, torchvision, transformers, … into the file OUT "
            "(.safetensors, .pth), which that library loads.",
        ),
    )
    return cast(Command, of_classes(of_tensors(with_names)))


@command.command("convert", short_help="Convert FILE to a folder that every command takes.")
@click.argument("file", metavar="FILE|WEIGHTS")
@click.argument("out", type=click.Path(path_type=Path))
@flags.weights
@_named
@watched
def convert_command(
    file: str,
    out: Path,
    model: str | None,
    variant: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    named: _Named,
    watch: Watch,
) -> None:
    """Convert FILE to the folder OUT, which eval, predict and analyze take: weights, network, classes, preprocessing.

    The network has to be known: from the file, or from --model and --variant. With --names OUT is a file for another
    library.
    """
    from deepres.arch.detector import Detector
    from deepres.base.files import folder_atomic
    from deepres.nn.create import create_model
    from deepres.nn.weights.files import save_network
    from deepres.nn.weights.hub import find_weights
    from deepres.predict.preprocessing import STATISTICS, prepared_for, preprocessing_of
    from deepres.tasks.networks import asked_of
    from deepres.tasks.task import FirstValues, written_in

    if named.library is not None:
        _require_file(out, {"--classes": named.classes, "--mean": mean, "--std": std})
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is there already; name a folder that is not")
    outputs.require_free_folder("OUT", out, ())
    model = model or variant
    watch(Doing(f"reading {file}"))
    task, stored = asked_of(find_weights(file, model))
    if model is None and stored.description is None:
        raise InputError(f"{file}: does not say which network it is of; see deepres weights inspect, then --model")
    network: Any
    described = stored.description
    if isinstance(described, Detector) or (described is not None and described.says_places):
        network = task.network(described, (), FirstValues(stored, variant))[0]
        stored = replace(stored, task=written_in(task, out).model_dump(mode="json"))
    else:
        network = create_model(model or described or "", weights=stored, variant=variant)
    network.eval()
    if named.library is not None:
        tensors, told_there = task.returned(network, named.library)
        _write_state(out, tensors)
        click.echo(f"{out}: {len(tensors)} tensors of {network.description.name} under the names of {named.library}")
        click.echo("".join(f"note: {note}\n" for note in told_there), nl=False)
        return
    preparation, statistics, said = prepared_for(stored, network.description, mean, std)
    known = _names(named.classes, max(2, network.num_classes)) if named.classes else stored.classes
    told = preprocessing_of(preparation, statistics, network.description)
    with folder_atomic(out) as new:
        save_network(new, network, known, preparation.model_dump(mode="json"), told, stored.task)
        statistics.save(new / STATISTICS)
    count = f"{network.num_classes} classes" + ("" if known else " without names (--classes)")
    click.echo(f"{out}: {network.description.name}, {count}; {said or 'prepared as its run'}")
    click.echo(f"next: deepres eval {out} SOURCE, deepres predict {out} IMAGE…")


def _require_file(out: Path, others: dict[str, object]) -> None:
    if out.suffix not in (".safetensors", ".pth", ".pt"):
        raise InputError(f"{out}: with --names a file is written; wanted .safetensors, .pth or .pt")
    if out.exists():
        raise InputError(f"{out}: is there already; name a file that is not")
    for flag, given in others.items():
        if given is not None:
            raise InputError(f"{flag} with --names: such a file holds tensors alone; leave one of them out")


def _write_state(out: Path, tensors: "dict[str, Tensor]") -> None:
    import io

    import torch
    from safetensors.torch import save

    from deepres.base.files import write_atomic

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if out.suffix == ".safetensors":
        write_atomic(out, save(whole))
        return
    written = io.BytesIO()
    torch.save(whole, written)
    write_atomic(out, written.getvalue())


def _of_boxes(file: str) -> dict[str, Any] | None:
    """What weights of a detector or a localiser say; None of any other."""
    from deepres.arch.atoms import Norm
    from deepres.arch.detector import Detector, atoms_of
    from deepres.nn.weights.hub import find_weights
    from deepres.tasks.networks import asked_of

    try:
        task, stored = asked_of(find_weights(file))
    except InputError:
        return None  # whoever inspects it says what is wrong
    found = stored.description
    if found is None or not (isinstance(found, Detector) or found.says_places):
        return None
    tensors = f"{len(stored.tensors)}, {sum(t.numel() for t in stored.tensors.values()):,} numbers"
    if not isinstance(found, Detector):
        asks = {field: weights for field in ("proposer", "classifier") if (weights := getattr(task, field, None))}
        return {
            "file": stored.where,
            "localises": f"{found.name}, {counted(len(stored.classes), 'class')}",
            "tensors": tensors,
            **{f"its {field}": weights for field, weights in asks.items()},
            "next": f"deepres predict {file} IMAGE…",
        }
    eps = {node.eps for _, part in found.body for node in atoms_of(part) if isinstance(node, Norm)}
    names = ", ".join(stored.classes) or "without names"
    return {
        "file": stored.where,
        "finds boxes": f"{found.name}, on {found.backbone_name}, neck {found.neck}",
        "classes": f"{found.num_classes}, {names}; the background in column 0",
        "tensors": tensors,
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
