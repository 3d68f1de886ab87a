"""`deepres compare RUN RUN…`: which is better, and whether the difference is one."""

import json
from pathlib import Path
from typing import Any

import click

from deepres.base.telling import Doing
from deepres.base.watch import Watch
from deepres.cli import flags, outputs
from deepres.cli.watch import watched

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

    A run is its folder, or a .npz that `deepres eval --predictions` wrote. Where more than three are given, each is
    compared with the best, and p-values are corrected for the number of pairs (Holm). Runs that differ in the seed
    alone are also summed up as mean and deviation.
    """
    from deepres.base.errors import InputError
    from deepres.report.comparison import write_comparison
    from deepres.tasks.classification.compare import against_best, all_pairs, table, table_of_pairs
    from deepres.tasks.classification.pooling import apart, measured_with, pooled, require_different
    from deepres.tasks.classification.predictions import load_answers, named_apart, voted

    if len(runs) < 2:
        raise InputError(f"compare {runs[0]}: one run alone; name at least two")
    outputs.require_free({"--report": (report, outputs.PAGE)}, runs, overwrite=overwrite)
    watch(Doing("comparing"))
    answers = named_apart([load_answers(run) for run in runs], [str(run) for run in runs])
    require_different(answers)
    seeds, notes = pooled(answers), [*measured_with(answers), *apart(answers)]
    if vote:
        answers = [*answers, voted(answers)]
    pairs = all_pairs(answers, force=force)
    if report is not None:
        write_comparison(report, answers, pairs, seeds, notes)
    if as_json:
        facts: dict[str, list[Any]] = {"pairs": [pair.model_dump() for pair in pairs], "notes": notes}
        facts["seeds"] = [each.model_dump() for each in seeds]
        click.echo(json.dumps(facts, indent=1))
    else:
        click.echo(table(answers))
        for line in (*seeds, *(f"note: {note}" for note in notes)):
            click.echo(str(line))
        if len(pairs) <= PAIRS_IN_WORDS:
            for pair in pairs:
                click.echo(pair.verdict())
        else:
            shown = pairs if every else against_best(answers, pairs)
            what = "every pair" if every else f"each against the best, {shown[0].second}"
            click.echo(f"\n{what}; p-values corrected for {len(pairs)} pairs")
            click.echo(table_of_pairs(shown))
    if report is not None:
        click.echo(f"report: {report}", err=as_json)
