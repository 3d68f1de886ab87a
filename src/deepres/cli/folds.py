"""`--folds K`: what the flag sets, and how the folds of a run are begun, taken up and events_of of."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepres.base.errors import InputError
from deepres.cli.minutes import say_time
from deepres.cli.streams import command_line

if TYPE_CHECKING:
    from deepres.base.events import Doing
    from deepres.runs.budget import Deadline
    from deepres.runs.folds import FinishedFolds
    from deepres.runs.train import OnEvent
    from deepres.train.distributed import Distributed


def settings_of_folds(folds: int | None) -> list[str]:
    """The fields that the flag sets, as `--set` spells them; the plan is that of the first fold.

    Raises:
        InputError: fewer than two folds.
    """
    if folds is None:
        return []
    if folds < 2:
        raise InputError(f"--folds {folds}: one fold alone leaves nothing to train on; wanted 2 or more, such as 5")
    return [f"data.folds={folds}", "data.fold=1"]


def start_folds(
    run: Any,
    folder: Path,
    processes: "Distributed",
    display: "Callable[..., OnEvent]",
    suited: "str | Doing",
    deadline: "Deadline | None",
) -> None:
    """Train all folds and say what came out; `suited` is said before."""
    from deepres.runs import folds

    display()(suited)
    events_of = lambda part: display(part=part)  # noqa: E731
    done = folds.start(
        run,
        folder,
        device=processes.device,
        events_of=events_of,
        processes=processes,
        deadline=deadline,
        command=command_line(),
    )
    if processes.first:
        _say(done)
        say_time(deadline)


def resume_folds(
    folder: Path,
    edits: Sequence[str],
    processes: "Distributed",
    display: "Callable[..., OnEvent]",
    deadline: "Deadline | None",
) -> None:
    """Go on where the folds were cut, and say what came out."""
    from deepres.runs import folds

    events_of = lambda part: display(part=part)  # noqa: E731
    done = folds.resume(
        folder,
        edits,
        device=processes.device,
        events_of=events_of,
        processes=processes,
        deadline=deadline,
        command=command_line(),
    )
    if processes.first:
        _say(done)
        say_time(deadline)


def _say(done: "FinishedFolds") -> None:
    from deepres.tasks.classification.result import percent
    from deepres.tasks.result import summary

    for fold, error in enumerate(done.errors, 1):
        cut = ", trained for less than planned, to end in time" if fold in done.cut else ""
        click.echo(f"fold {fold}: error {percent(error)}{cut}")
    click.echo(summary(done.result))
    if done.ensemble is not None:
        click.echo(f"all {len(done.errors)} as one, on the test images, which no fold has seen:")
        click.echo(summary(done.ensemble))
    if done.result.num_wrong:
        click.echo(f"wrong:  {done.folder / 'worst.csv'} lists them")
    click.echo(f"report: {done.folder / 'report.html'}")
    click.echo(f"next:   deepres predict {done.folder} IMAGE…   (the mean of all {len(done.errors)})")
