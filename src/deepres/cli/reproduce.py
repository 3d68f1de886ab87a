"""`deepres reproduce [STUDY]`: a table or figure of a paper, run again and set beside what is printed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepres.base.watch import Watch
from deepres.base.wording import counted, duration
from deepres.cli import flags, studied
from deepres.cli.queue import Asked, attend, beside, checked_hours, given
from deepres.cli.streams import command_line
from deepres.cli.watch import watched
from deepres.runs import outputs

if TYPE_CHECKING:
    from deepres.studies.plan import StudyScale
    from deepres.studies.reproduce import StudyPlan
    from deepres.studies.study import Study


@click.command("reproduce")
@click.argument("study", required=False)
@click.option(
    "--list", "listed", is_flag=True, help="List all studies, what they cost, and how long this machine would take."
)
@click.option(
    "--descriptions", is_flag=True, help="Compare all printed numbers that need no images and no training with ours."
)
@click.option(
    "--scale",
    type=click.Choice(["full", "short"]),
    default="full",
    show_default=True,
    help="full: the paper's number of steps; short: a fraction of it (--share).",
)
@click.option(
    "--share", type=flags.Finite(0, 1, min_open=True), help="Fraction of the paper's steps at short scale (0.05)."
)
@click.option("--set", "edits", multiple=True, metavar="A.B=C", help="Set a field of the short runs, as in train.")
@click.option("--only", multiple=True, metavar="ROW", help="Only this row of the table, by its name there.")
@click.option(
    "--data", multiple=True, metavar="[SET=]PATH", help="Where the images lie, if they are not found by name."
)
@click.option(
    "--weights", metavar="WEIGHTS", help="Trained weights that the runs begin with, where those of the paper do."
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    help="Runs of each network, each with its own seed; by default as many as in the paper.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs/reproduce"),
    show_default=True,
    help="Folder for runs and reports.",
)
@click.option(
    "--on",
    type=click.Choice(["here", "ray"]),
    default="here",
    show_default=True,
    help="Train on this machine, or on a Ray cluster.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1),
    help="Runs trained at the same time; by default one per GPU. Small ones share one.",
)
@click.option(
    "--report-only",
    is_flag=True,
    help="Train nothing; write the report of the runs that are there; without STUDY a page of all studies.",
)
@click.option("--dry-run", is_flag=True, help="Print the runs that would be trained, and train nothing.")
@click.option(
    "--queue",
    "queue_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Work through the runs that this file names, the cheapest first, at the lowest priority.",
)
@click.option("--hours", type=float, callback=checked_hours, help="With --queue: end after so many; the run is saved.")
@click.option("--status", is_flag=True, help="With --queue: what is done, what runs, when the next ends.")
@click.option("--pause", is_flag=True, help="With --queue: hold whatever works on it, and wait until it holds still.")
@click.option("--unpause", is_flag=True, help="With --queue: let it go on.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome, the list or the status as JSON.")
@flags.device
@watched
def command(
    study: str | None,
    listed: bool,
    descriptions: bool,
    scale: "StudyScale",
    share: float | None,
    edits: tuple[str, ...],
    only: tuple[str, ...],
    data: tuple[str, ...],
    weights: str | None,
    seeds: int | None,
    output: Path,
    on: str,
    at_once: int | None,
    report_only: bool,
    dry_run: bool,
    queue_file: Path | None,
    hours: float | None,
    status: bool,
    pause: bool,
    unpause: bool,
    as_json: bool,
    device: str | None,
    watch: Watch,
) -> None:
    """Train the networks of a paper's table or figure, such as resnet/table6, and compare with the printed numbers.

    Finished runs are kept, unfinished ones continue, and studies share their runs. At short scale the order of the
    networks is what can be compared, not the printed numbers. With --queue the runs of several studies are trained in
    the background, one after the other.
    """
    from deepres.base.errors import InputError
    from deepres.base.events import Doing
    from deepres.studies.study import study_named

    if queue_file is None and (flag := given("hours", "status", "pause", "unpause")):
        raise InputError(f"{flag}: of which queue? add --queue FILE")
    if queue_file is not None:
        asked = Asked(hours, status, pause, unpause, as_json, device, at_once)
        attend(queue_file, _places(data, ""), output if given("output") else None, asked, watch)
        return
    if descriptions and only and study is None:
        raise InputError(f"--only {only[0]}: of which study? deepres reproduce STUDY --descriptions --only ROW")
    trained = study is not None and report_only
    asked_for = ("--descriptions" * descriptions, "--list" * listed, "--dry-run" * dry_run, "--report-only" * trained)
    _require_fitting(study, next(filter(None, asked_for), ""))
    if descriptions:
        studied.show_descriptions(None if study is None else _chosen(study, "short", None, (), only), as_json)
        return
    if study is None and report_only:
        _write_all(output, device, as_json, watch)
        return
    if listed or study is None:
        if study is not None:
            study_named(study)
        studied.show_list(study, output, device, as_json)
        return
    from deepres.nn.hardware import find_device
    from deepres.studies.reproduce import conclude, planned, train_all

    chosen = _chosen(study, scale, share, edits, only).replace(weights=weights)
    plan = planned(chosen, scale, output, seeds=seeds, data=_places(data, chosen.dataset), dry=dry_run)
    outputs.require_free_folder("--output", output, [place.partition("=")[2] or place for place in data])
    where = find_device(device)
    if dry_run:
        studied.show_runs(plan, device)
        for reason in plan.absent.values():
            watch.say(reason)
        return
    if not report_only:
        from deepres.runs.progress import showing
        from deepres.studies.executor import slots
        from deepres.studies.plan import unfinished

        left = len(unfinished(plan.jobs, plan.home))
        if left:
            watch.say(_price(plan, device))
        for name, reason in plan.absent.items():
            watch.say(f"left out: {name}: {reason}")
        on_event = showing(watch, alone=on == "here" and len(slots(at_once, where)) == 1)
        watch(Doing("runs", 0, left))
        ended = train_all(plan, where, on_event, on=on, count=at_once, command=command_line())  # type: ignore[arg-type]
        for number, job in enumerate(ended, 1):
            watch.say(f"{number} of {counted(left, 'run')}: {job.name} has ended")
            watch(Doing("runs", number, left))
    elif not any(job.folder(output).is_dir() for job in plan.jobs) and plan.jobs:
        raise InputError(
            f"--report-only: no run of {study} at {scale} scale below {output}; train some first, without --report-only"
        )
    watch(Doing("measuring what was trained"))
    found, page = conclude(
        plan, where, command=command_line(), on_progress=lambda what, done, total: watch(Doing(what, done, total))
    )
    if as_json:
        click.echo(found.to_json(), nl=False)
    else:
        studied.show_outcome(plan, found)
    click.echo(f"report: {page}", err=as_json)


_ALONE = {"study", "output", "device", "as_json"}
_PLAN = {"scale", "share", "edits", "only", "data", "weights", "seeds"}
_TAKES = {
    "--descriptions": {"descriptions", "study", "only", "as_json"},
    "--list": {"listed", *_ALONE},
    "--dry-run": {"dry_run", "on", "at_once", *_PLAN, *_ALONE} - {"as_json"},  # the words of a training, and this one
    "--report-only": {"report_only", *_PLAN, *_ALONE},
    "": {"report_only", *_ALONE},
}
"""Parameters that each thing takes that is asked for; the last: all studies, where none is named."""


def _require_fitting(study: str | None, asked: str) -> None:
    """Refuse flags that what is asked for would pass over."""
    from deepres.base.errors import InputError

    if study is not None and not asked:
        return
    flag = beside(_TAKES[asked])
    if flag and asked:
        raise InputError(f"{flag}: not with {asked}, which has no use for it; leave one of them out")
    if flag or (study is None and asked == "--dry-run"):
        raise InputError(f"{flag or asked}: of which study? deepres reproduce STUDY {flag or asked}")


def _write_all(output: Path, device: str | None, as_json: bool, watch: Watch) -> None:
    from deepres.base.events import Doing
    from deepres.studies.results import all_results, summary, write_page
    from deepres.studies.speed import speed

    watch(Doing("reading what the descriptions give"))
    found = all_results(output)
    path = write_page(found, output, speed(device), command_line())
    if as_json:
        facts = [one.model_dump(mode="json") for one in found]
        click.echo(json.dumps({"studies": facts}, indent=1, ensure_ascii=False))
    else:
        click.echo(summary(found))
    click.echo(f"report: {path}", err=as_json)


def _chosen(name: str, scale: str, share: float | None, edits: tuple[str, ...], only: tuple[str, ...]) -> "Study":
    """The study as it is asked for: all of it, or some rows, or another share of the steps."""
    from deepres.base.errors import InputError
    from deepres.studies.study import study_named

    study = study_named(name)
    if scale != "short" and (share is not None or edits):
        given = f"--set {edits[0]}" if edits else f"--share {share:g}"
        raise InputError(f"{given}: at full scale nothing of the paper's recipe may be changed; add --scale short")
    study = study.replace(short=share or study.short, short_edits=(*study.short_edits, *edits))
    return study.only(only) if only else study


def _price(plan: "StudyPlan", device: str | None) -> str:
    from deepres.studies.plan import unfinished
    from deepres.studies.speed import speed

    jobs = unfinished(plan.jobs, plan.home)
    rate = speed(device, again=True)
    time = duration(rate.seconds(sum(job.macs for job in jobs)))
    steps = sum(job.steps for job in jobs)
    work = f"{counted(len(jobs), 'run')} to go, {counted(steps, 'step')}"
    return f"{plan.study.name}, {plan.scale}: {work}, about {time} on this machine{rate.note}"


def _places(data: tuple[str, ...], own: str) -> dict[str, str]:
    """`cifar10=PATH`, or PATH alone for the study's own set."""
    from deepres.studies.plan import DATASETS

    found = {}
    for one in data:
        name, _, path = one.partition("=")
        known = bool(path) and name in DATASETS
        found[name if known else own] = path if known else one
    return found
