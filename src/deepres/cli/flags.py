"""Flags that several verbs share: which network bare weights are, what their images went through, where to compute."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from deepres.base.errors import InputError

Command = TypeVar("Command", bound=Callable[..., Any])


def _numbers(_: click.Context, flag: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """`0.485,0.456,0.406` as numbers; None where nothing is given."""
    try:
        return None if text is None else tuple(float(number) for number in text.split(","))
    except ValueError as cause:
        raise InputError(f"{flag.opts[0]} {text}: wanted numbers such as 0.485,0.456,0.406") from cause


_WEIGHTS = {
    "--model NET": "The network, where WEIGHTS do not say.",
    "--variant NET": "What bare weights were trained as, where they fit several networks.",
    "--mean R,G,B": "What was subtracted from images on a scale of 0 to 1, if not told.",
    "--std R,G,B": "What they were divided by.",
}

device = click.option("--device", help="cpu, cuda or cuda:N; by default the best there is.")


def weights(command: Command) -> Command:
    """--model, --variant, --mean and --std: what is to be said of weights that do not say it themselves."""
    for spelling, text in reversed(_WEIGHTS.items()):
        flag, shape = spelling.split()
        command = click.option(flag, metavar=shape, callback=_numbers if "," in shape else None, help=text)(command)
    return command
