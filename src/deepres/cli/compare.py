"""`deepres compare RUN RUN…`: which is better, and whether the difference is one."""

import json
from itertools import combinations
from pathlib import Path

import click


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Compare also what was measured by different protocols.")
@click.option("--json", "as_json", is_flag=True, help="All figures as JSON.")
def command(runs: tuple[Path, ...], force: bool, as_json: bool) -> None:
    """Compare RUNS on the images that all were tested on: errors with intervals, seeds, McNemar's paired test."""
    from deepres.base.errors import InputError
    from deepres.evaluate.compare import by_model, load_answers, paired, table

    if len(runs) < 2:
        raise InputError(f"compare {runs[0]}: one run alone; name at least two")
    answers = [load_answers(run) for run in runs]
    pairs = [paired(first, second, force=force) for first, second in combinations(answers, 2)]
    seeds = [each for each in by_model(answers) if len(each.errors) > 1]
    if as_json:
        facts = {"pairs": [pair.model_dump() for pair in pairs], "seeds": [each.model_dump() for each in seeds]}
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(table(answers))
    for each in seeds:
        click.echo(str(each))
    for pair in pairs:
        click.echo(pair.verdict())
