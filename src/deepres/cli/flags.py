"""Flags that several verbs share: which network bare weights are, what their images went through, where to compute."""

from collections.abc import Callable
from functools import wraps
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from deepres.base.errors import InputError
from deepres.base.normalisation import NAMED, require_possible

if TYPE_CHECKING:
    from deepres.data.sources.config import DataConfig

Command = TypeVar("Command", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A number in a range; nan and inf, which every comparison lets through, are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not isfinite(found):
            self.fail(f"{value}: wanted a number", param, ctx)
        return found


def _numbers(_: click.Context, flag: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """`0.485,0.456,0.406` as numbers; None where nothing is given."""
    try:
        return None if text is None else tuple(float(number) for number in text.split(","))
    except ValueError as cause:
        raise InputError(f"{flag.opts[0]} {text}: wanted numbers such as 0.485,0.456,0.406") from cause


_NETWORK = {
    "--model NET": "The network of the weights, where they do not say.",
    "--variant NET": "The network that the weights were trained as, where the file does not say and several fit.",
}
_NORMALISATION = {
    "--mean R,G,B": "Mean of the pixels, on a scale of 0 to 1, that the weights were trained with, if they do not say.",
    "--std R,G,B": "Standard deviation that goes with --mean.",
}


def edited(model: str, edits: tuple[str, ...]) -> str:
    """The catalogue's spelling of a network with `--set model.…` edits, `resnet20_cifar+shortcut=B`."""
    for assignment in edits:
        if not assignment.startswith("model."):
            raise InputError(f"--set {assignment}: here only the network is described; wanted model.NAME=VALUE")
    return "+".join([model, *(assignment.removeprefix("model.") for assignment in edits)])


def reading(command: Command) -> Command:
    """--set data.A=B, how SOURCE is read, apart from --set model.A=B; above `weights`, the command gets `reading`."""

    @wraps(command)
    def with_reading(*arguments: Any, edits: tuple[str, ...], **named: Any) -> Any:
        data = tuple(edit.removeprefix("data.") for edit in edits if edit.startswith("data."))
        rest = tuple(edit for edit in edits if not edit.startswith("data."))
        return command(*arguments, edits=rest, reading=data, **named)

    return cast(Command, with_reading)


def source(address: str | None, reading: tuple[str, ...]) -> "DataConfig | None":
    """The SOURCE at `address`, read as `reading` says; None: a run's own images."""
    from deepres.base.records import edit
    from deepres.data.sources.config import DataConfig

    if address is None and reading:
        raise InputError(f"--set data.{reading[0]}: a run reads its own images as it did; name a SOURCE to be read so")
    if address is None:
        return None
    edited = edit(DataConfig(source=address), reading, "data.")
    named = {assignment.partition("=")[0].strip() for assignment in reading}
    return DataConfig(source=address, **{name: getattr(edited, name) for name in named})  # the rest is left unsaid


on_bad_image = click.option(
    "--on-bad-image",
    type=click.Choice(["stop", "skip"]),
    help="An image that cannot be read: stop, or skip it and say so (as in training, else stop).",
)
overwrite = click.option(
    "--overwrite",
    is_flag=True,
    help="Replace the output file, whatever kind of file it is; inputs and files of a run are never replaced.",
)
force = click.option(
    "--force", is_flag=True, help="Go on although RUN was trained on some of these images; the result says so."
)


def precision(default: str, auto: str) -> Callable[[Command], Command]:
    """--precision, which eval and predict have alike but for what they take by default, and what they take for auto."""
    return click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16", "auto"]),
        default=default,
        show_default=True,
        help=f"Number format of convolutions and matrix products; auto: {auto}.",
    )


backend = click.option(
    "--backend",
    type=click.Choice(["auto", "torch", "openvino", "onnxruntime"]),
    default="auto",
    show_default=True,
    help="What computes on a CPU; auto: the fastest that is installed and keeps the precision, measured here once.",
)
device = click.option(
    "--device",
    help="Where to compute: cpu, cuda, cuda:N or mps; by default a GPU of CUDA's if there is one.",
)


def weights(command: Command) -> Command:
    """What is to be said of weights that do not say it: --model, --set, --variant, --ignore, --preprocessing, …."""
    command = _edits(ignored(normalisation(command)))
    for spelling, text in reversed(_NETWORK.items()):
        command = click.option(spelling.split()[0], metavar=spelling.split()[1], help=text)(command)
    return command


def ignored(command: Command) -> Command:
    """--ignore, which becomes part of the name of the weights that the command gets (`nn/weights/checkpoints.py`)."""

    @wraps(command)
    def with_ignored(*arguments: Any, ignore: tuple[str, ...], **named: Any) -> Any:
        if ignore:
            key: str = next(name for name in ("weights", "runs", "run", "words", "file") if name in named)
            given = named[key]
            if given is None and named.get("teacher"):
                key, given = "teacher", named["teacher"]
            if given is None:
                raise InputError(f"--ignore {ignore[0]}: of which weights? name them with --weights")
            named[key] = _without(given, ignore) if isinstance(given, str) else _without_each(given, ignore)
        return command(*arguments, **named)

    help = "Leave out tensors of the file that are not the network's: a name or a pattern such as 'criterion.*'."
    return cast(Command, click.option("--ignore", multiple=True, metavar="PATTERN", help=help)(with_ignored))


def _without(weights: str, patterns: tuple[str, ...]) -> str:
    from deepres.nn.weights.checkpoints import ignoring

    return ignoring(weights, patterns)


def _without_each(words: tuple[str, ...], patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The same words, files of weights among them without the tensors of these names."""
    from deepres.nn.weights.checkpoints import asked_of
    from deepres.nn.weights.hub import is_weights

    files = [word for word in words if Path(asked_of(word)[0]).is_file() and (is_weights(word) or word == words[0])]
    if not files:
        raise InputError(f"--ignore {patterns[0]}: of which weights? tensors are left out of a file of weights")
    return tuple(_without(word, patterns) if word in files else word for word in words)


def normalisation(command: Command) -> Command:
    """--mean and --std, and --preprocessing for pairs with a name; the command gets `mean` and `std`."""

    @wraps(command)
    def with_values(*arguments: Any, preprocessing: str | None, **named: Any) -> Any:
        if preprocessing is not None:
            if named["mean"] is not None or named["std"] is not None:
                raise InputError(f"--preprocessing {preprocessing} with --mean or --std: it names both; give one")
            named["mean"], named["std"] = NAMED[preprocessing]
        require_possible(named["mean"], named["std"], "--mean, --std")
        return command(*arguments, **named)

    told: Any = with_values
    for spelling, text in reversed(_NORMALISATION.items()):
        told = click.option(spelling.split()[0], metavar=spelling.split()[1], callback=_numbers, help=text)(told)
    help = (
        "Mean and std by name, if the weights do not say (0.5 and inception: both 0.5; none: pixels of 0 to 1; 0-255: "
        "pixels as stored)."
    )
    return cast(
        Command, click.option("--preprocessing", type=click.Choice(list(NAMED), case_sensitive=False), help=help)(told)
    )


def _edits(command: Command) -> Command:
    """--set model.A=B, which becomes part of the name of the network that the command gets."""

    @wraps(command)
    def with_edits(*arguments: Any, edits: tuple[str, ...], **named: Any) -> Any:
        model = named["model"]
        if edits and model is None:
            raise InputError(f"--set {edits[0]}: of which network? name it with --model")
        if edits:
            named["model"] = edited(model, edits)
            named["variant"] = named["model"] if named["variant"] == model else named["variant"]
        return command(*arguments, **named)

    help = "Set a field of the network, model.shortcut=B; or, of a SOURCE, how it is read, data.depth=leaf."
    return cast(Command, click.option("--set", "edits", multiple=True, metavar="model.A=B", help=help)(with_edits))
