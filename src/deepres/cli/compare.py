"""`deepres compare RUN RUN…`: which is better, and whether the difference is one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepres.base.events import Doing
from deepres.base.watch import Watch
from deepres.cli import flags
from deepres.cli.streams import command_line
from deepres.cli.watch import watched
from deepres.runs import outputs

if TYPE_CHECKING:
    from deepres.tasks.comparison import Comparison

PAIRS_IN_WORDS = 3


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Compare results although they were measured by different protocols.")
@click.option("--pairs", "every", is_flag=True, help="Show every pair of runs, not only each against the best.")
@click.option("--vote", is_flag=True, help="Add the majority vote of all runs as one more contender.")
@click.option("--report", type=click.Path(path_type=Path), help="Write a report as one HTML file.")
@flags.overwrite
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
@watched
def command(
    runs: tuple[Path, ...],
    force: bool,
    every: bool,
    vote: bool,
    report: Path | None,
    overwrite: bool,
    as_json: bool,
    watch: Watch,
) -> None:
    """Compare RUNS on the images that all were tested on: errors with intervals, seeds, McNemar's paired test.

    A run is its folder, a .npz that `deepres eval --predictions` wrote, or a file that `deepres export` wrote, which is
    asked about the test images of the first run. Where more than three are given, each is
    compared with the best, and p-values are corrected for the number of pairs (Holm). Runs that differ in the seed
    alone are also summed up as mean and deviation. Runs of another task than classification are compared by its figure,
    drawn again and again from the same images.
    """
    from deepres.base.errors import InputError
    from deepres.report.comparison import write_report
    from deepres.runs.exported import as_answers
    from deepres.tasks.comparison import compared

    if len(runs) < 2:
        raise InputError(f"compare {runs[0]}: one run alone; name at least two")
    outputs.require_free({"--report": (report, outputs.PAGE)}, runs, overwrite=overwrite)
    watch(Doing("comparing"))
    with as_answers(runs, command_line(), watch.counting("images")) as places:
        found = compared(places, vote=vote, force=force)
    if report is not None:
        write_report(report, found)
    if as_json:
        click.echo(json.dumps(_facts(found), indent=1))
    else:
        click.echo(found.table())
        for line in (*found.seeds, *(f"note: {note}" for note in found.notes), *_told_of_pairs(found, every=every)):
            click.echo(str(line))
    if report is not None:
        click.echo(f"report: {report}", err=as_json)


def _told_of_pairs(found: "Comparison", *, every: bool) -> Sequence[str]:
    """Each pair in a sentence; of many errors a table, of those against the best alone unless `every` is asked for."""
    from deepres.tasks.classification.compare import Paired, against_best, table_of_pairs
    from deepres.tasks.classification.predictions import SavedPredictions

    pairs = [pair for pair in found.pairs if isinstance(pair, Paired)]
    if len(pairs) <= PAIRS_IN_WORDS:
        return found.sentences
    answers = [one for one in found.answers if isinstance(one, SavedPredictions)]
    shown = pairs if every else against_best(answers, pairs)
    what = "every pair" if every else f"each against the best, {shown[0].second}"
    return [f"\n{what}; p-values corrected for {len(pairs)} pairs", table_of_pairs(shown)]


def _facts(found: "Comparison") -> dict[str, Any]:
    pairs = [pair.model_dump() for pair in found.pairs]
    if found.figure is None:
        return {"pairs": pairs, "notes": list(found.notes), "seeds": [each.model_dump() for each in found.seeds]}
    figures = dict(zip((one.name for one in found.answers), found.values, strict=True))
    return {"figure": found.figure.name, "figures": figures, "pairs": pairs, "notes": list(found.notes)}
