"""`--minutes`: the flag, when its time began, and how much of it a command took."""

from time import monotonic
from typing import TYPE_CHECKING

import click

from deepres.base.errors import InputError, shared

if TYPE_CHECKING:
    from deepres.runs.budget import Deadline

SIZES = ("preparation.crop", "preparation.resize", "preparation.fit", "model.input")


def _checked(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is None or 0 < value < float("inf"):
        return value
    raise click.BadParameter(f"{value:g}: wanted a number of minutes above 0, such as 30", context, option)


minutes_flag = click.option(
    "--minutes",
    type=float,
    callback=_checked,
    help="Finish the whole command within so many minutes: speed is measured, then as many epochs as fit are planned, "
    "at most the recipe's, if need be on smaller images.",
)


def deadline_of(minutes: float | None, without: dict[str, bool], *, any_size: bool) -> "Deadline | None":
    """So many minutes from the command's beginning, which is when its process began."""
    if minutes is None:
        return None
    for flag, given in without.items():
        if given:
            raise shared(
                InputError(
                    f"--minutes {minutes:g} with {flag}: time is planned when a run begins; leave one of them out"
                )
            )
    from deepres.runs.budget import Deadline

    began = click.get_current_context().find_root().obj
    return Deadline(minutes, monotonic() if began is None else began, any_size=any_size)


def sized(edits: tuple[str, ...]) -> bool:
    """Whether the size of the images was asked for."""
    return any(edit.partition("=")[0].strip() in SIZES for edit in edits)


def say_time(deadline: "Deadline | None") -> None:
    """How much of the time was needed, where there was a limit."""
    if deadline is not None:
        click.echo(f"took {deadline.spent / 60:.2f} of {deadline}")
