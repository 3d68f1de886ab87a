"""Flags that several verbs share: which network bare weights are, what their images went through, where to compute."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from deepres.base.errors import InputError
from deepres.base.normalisation import NAMED, require_possible

Command = TypeVar("Command", bound=Callable[..., Any])


def _numbers(_: click.Context, flag: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """`0.485,0.456,0.406` as numbers; None where nothing is given."""
    try:
        return None if text is None else tuple(float(number) for number in text.split(","))
    except ValueError as cause:
        raise InputError(f"{flag.opts[0]} {text}: wanted numbers such as 0.485,0.456,0.406") from cause


_NETWORK = {
    "--model NET": "The network, where WEIGHTS do not say.",
    "--variant NET": "What bare weights were trained as, where they fit several networks.",
}
_NORMALISATION = {
    "--mean R,G,B": "What was subtracted from images on a scale of 0 to 1, if the weights do not say.",
    "--std R,G,B": "What they were divided by.",
}

device = click.option("--device", help="cpu, cuda or cuda:N; by default the best there is.")


def weights(command: Command) -> Command:
    """--model, --variant, --preprocessing, --mean and --std: what is to be said of weights that do not say it."""
    command = normalisation(command)
    for spelling, text in reversed(_NETWORK.items()):
        command = click.option(spelling.split()[0], metavar=spelling.split()[1], help=text)(command)
    return command


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
    help = "Mean and std of a name, if the weights do not say (inception and 0.5: both 0.5; none: pixels 0 to 1)."
    return cast(Command, click.option("--preprocessing", type=click.Choice(list(NAMED)), help=help)(told))
