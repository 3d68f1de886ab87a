"""`--folds K`: what the flag sets, and what is said of the folds in the end."""

from typing import TYPE_CHECKING

import click

from deepres.base.errors import InputError

if TYPE_CHECKING:
    from deepres.runs.folds import FinishedFolds


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


def say_folds(done: "FinishedFolds") -> None:
    """What all folds came to, in lines."""
    from deepres.tasks.result import summary

    for fold, test in enumerate(done.tests, 1):
        cut = ", trained for less than planned, to end in time" if fold in done.cut else ""
        click.echo(f"fold {fold}: {test.headline.name} {test.headline.text}{cut}")
    click.echo(summary(done.result))
    if done.ensemble is not None:
        click.echo(f"all {len(done.tests)} as one, on the test images, which no fold has seen:")
        click.echo(summary(done.ensemble))
    if done.result.has_worst:
        click.echo(f"wrong:  {done.folder / 'worst.csv'} lists them")
    click.echo(f"report: {done.folder / 'report.html'}")
    click.echo(f"next:   deepres predict {done.folder} IMAGE…   (the mean of all {len(done.tests)})")
