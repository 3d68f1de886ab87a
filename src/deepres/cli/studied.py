"""What `deepres reproduce` prints: the list of studies, figures of descriptions, the runs of one, its outcome."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepres.base.wording import duration

if TYPE_CHECKING:
    from deepres.studies.reproduce import StudyPlan
    from deepres.studies.study import Study


def show_runs(plan: "StudyPlan", device: str | None) -> None:
    """The runs of a study: steps, cost, time here, and how each stands."""
    from deepres.base.wording import columns
    from deepres.studies.plan import distinct, status
    from deepres.studies.speed import speed

    rate = speed(device)
    lines = [("run", "steps", "multiply-adds", "time here", "")]
    for job in distinct(plan.cells):
        time = duration(rate.seconds(job.macs))
        lines.append((job.name, f"{job.steps:,}", f"{job.macs:.2g}", time, status(job, plan.home)))
    click.echo(columns(lines, "<>>><"))
    if rate.note:
        click.echo(f"\ntime here: at {rate.macs_per_second:.2g} multiply-adds a second{rate.note}")


def show_descriptions(study: "Study | None", as_json: bool) -> None:
    """The printed figures that descriptions alone give, beside ours; of one study or all."""
    from deepres.base.errors import InputError
    from deepres.base.wording import columns
    from deepres.studies.overview import descriptions
    from deepres.studies.texts import MARKS

    found = descriptions(None if study is None else [study])
    if study is not None and not found:
        raise InputError(f"{study.name}: a description gives none of its figures; deepres reproduce --descriptions")
    if as_json:
        click.echo(json.dumps({"figures": [one.model_dump() for one in found]}, indent=1, ensure_ascii=False))
        return
    lines = [("study", "row", "what", "printed", "ours", "")]
    for one in found:
        lines.append((one.study, one.row, one.column, one.printed, one.ours, MARKS[one.verdict]))
    click.echo(columns(lines, "<<<>><") + "\n")
    for reason in dict.fromkeys(one.reason for one in found if one.reason):
        slots = dict.fromkeys(f"{one.study}, {one.row}" for one in found if one.reason == reason)
        click.echo(f"✗ {'; '.join(slots)}: {reason}")
    right = sum(one.verdict == "reproduced" for one in found)
    click.echo(
        f"{len(found)} printed figures from descriptions alone: {right} reproduced, {len(found) - right} not "
        "(✓: ours, rounded as far as the printed figure, is that figure)"
    )


def show_list(study: str | None, output: Path, device: str | None, as_json: bool) -> None:
    """All studies, or one: what they cost, and how they stand below `output`."""
    from deepres.base.wording import columns
    from deepres.studies.overview import overview
    from deepres.studies.speed import speed

    rate = speed(device)
    rows = [row for row in overview(output) if study in (None, row.study)]
    if as_json:
        facts = [
            {
                **row.model_dump(),
                "hours_full": rate.seconds(row.macs_full) / 3600,
                "hours_short": rate.seconds(row.macs_short) / 3600,
            }
            for row in rows
        ]
        click.echo(json.dumps({"hardware": rate.hardware, "studies": facts}, indent=1))
        return
    lines = [("study", "read", "runs", "steps", "full", "short", "runs stand", "what it is")]
    for row in rows:
        steps = f"{row.steps_full:,}" if row.runs_full else ""
        full, short = (duration(rate.seconds(macs)) if macs else "" for macs in (row.macs_full, row.macs_short))
        read = f"{row.reproduced} of {row.read}" if row.read else ""
        stands = row.stands.partition(": ")[0]
        lines.append((row.study, read, str(row.runs_full or ""), steps, full, short, stands, row.title))
    click.echo(columns(lines, "<>>>>><<") + "\n")
    for why in dict.fromkeys(row.stands for row in rows if ": " in row.stands):  # too long for a column
        click.echo(f"{', '.join(row.study for row in rows if row.stands == why)}: {why}")
    click.echo(
        "\nread: printed figures that descriptions alone give, those that are as printed first (all: deepres reproduce "
        "--descriptions)"
        f"\nfull and short: time on {rate.hardware}, at its rate of {rate.macs_per_second:.2g} multiply-adds a second "
        f"({rate.network}){rate.note}; one run at a time. Runs that studies share are counted in each."
    )


def show_outcome(plan: "StudyPlan", found: object) -> None:
    """The table of a study, printed and ours, its claims, and the verdict."""
    from deepres.base.wording import columns
    from deepres.studies.report import differing, share, table, with_printed
    from deepres.studies.verdict import Outcome

    assert isinstance(found, Outcome)
    study = plan.study
    printed = with_printed(study, found.scale)
    heads = []
    for place, column in enumerate(study.columns):
        heads += [f"{column.title}: printed", "ours"] if place in printed else [column.title]
    lines = [("", *heads)]
    for line in table(study, found):
        lines.append((line.label, *line.texts(printed)))
    click.echo(columns(lines, "<" + ">" * len(heads)))
    for said in differing(study, found):
        click.echo(f"✗ {said}")
    for held in found.claims:
        click.echo(str(held))
    short = f" (short: {share(study)} of the steps; order and sign only)" if found.scale == "short" else ""
    click.echo(f"{study.name}{short}: {found.verdict}")
