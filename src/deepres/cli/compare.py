"""`deepres compare RUN RUN…`: which is better, and whether the difference is one."""

import json
from pathlib import Path
from typing import Any

import click

from deepres.base.events import Doing
from deepres.base.watch import Watch
from deepres.cli import flags
from deepres.cli.watch import watched
from deepres.runs import outputs

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
    from deepres.tasks.paired import task_of
    from deepres.tasks.task import require

    if len(runs) < 2:
        raise InputError(f"compare {runs[0]}: one run alone; name at least two")
    outputs.require_free({"--report": (report, outputs.PAGE)}, runs, overwrite=overwrite)
    watch(Doing("comparing"))
    task = task_of(runs[0])
    if "McNemar's test" not in task.tools:
        if vote:
            require(task, "compare --vote", str(runs[0]))
        _by_figure(runs, force, report, as_json=as_json)
        return
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
                click.echo(pair.sentence())
        else:
            shown = pairs if every else against_best(answers, pairs)
            what = "every pair" if every else f"each against the best, {shown[0].second}"
            click.echo(f"\n{what}; p-values corrected for {len(pairs)} pairs")
            click.echo(table_of_pairs(shown))
    if report is not None:
        click.echo(f"report: {report}", err=as_json)


def _by_figure(runs: tuple[Path, ...], force: bool, report: Path | None, *, as_json: bool) -> None:
    """Compare by the figure of their task, where that is no share of wrong images."""
    from deepres.base.wording import columns
    from deepres.report.comparison import write_tables
    from deepres.tasks.blocks import Table
    from deepres.tasks.paired import compare, load_saved, named_apart, sentence

    answers = named_apart([load_saved(run) for run in runs], [str(run) for run in runs])
    values, pairs = compare(answers, force=force)
    shown = answers[0].compared
    order = sorted(range(len(answers)), key=lambda place: values[place] * (1 if shown.lower_is_better else -1))
    header = ("run", "network", shown.name, "protocol")
    rows = tuple((answers[at].name, answers[at].model, shown.text(values[at]), answers[at].protocol) for at in order)
    told = [sentence(pair, shown) for pair in pairs]
    notes = [f"note: {one.name}: {note}" for one in answers for note in one.notes]
    if report is not None:
        title = f"{len(answers)} networks compared"
        sentences = Table(title="Pairs", header=("what they show",), rows=tuple((line,) for line in told))
        write_tables(report, title, [Table(title=shown.name.capitalize(), header=header, rows=rows), sentences])
    if as_json:
        figures = {one.name: value for one, value in zip(answers, values, strict=True)}
        facts = {"figure": shown.name, "figures": figures, "pairs": [pair.model_dump() for pair in pairs]}
        click.echo(json.dumps({**facts, "notes": notes}, indent=1))
    else:
        click.echo(columns((header, *rows), "<" * len(header)))
        for words in (*notes, *told):
            click.echo(words)
    if report is not None:
        click.echo(f"report: {report}", err=as_json)
