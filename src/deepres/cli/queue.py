"""`deepres reproduce --queue FILE`: working through a queue, out of everybody's way; its status; holding it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from deepres.base.errors import InputError, RunError
from deepres.base.watch import Watch
from deepres.base.wording import counted, duration
from deepres.cli.streams import command_line
from deepres.runs import outputs

if TYPE_CHECKING:
    from deepres.studies.queue import Queue
    from deepres.studies.queue_status import QueueStatus

KNOWN = {"queue_file", "hours", "status", "pause", "unpause", "as_json", "device", "data", "output", "at_once"}
"""Parameters of the verb that go with --queue; what is run, all others say, stands in the file."""

PATIENCE = 600.0
"""Seconds in which a queue that is to pause must have come to a place where it can."""


@dataclass(frozen=True)
class Asked:
    """What is asked of a queue: to be worked through, or one of the other things."""

    hours: float | None
    status: bool
    pause: bool
    unpause: bool
    as_json: bool
    device: str | None
    at_once: int | None = None


def checked_hours(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """Hours above 0, or None."""
    if value is None or 0 < value < float("inf"):
        return value
    raise click.BadParameter(f"{value:g}: wanted a number of hours above 0, such as 8", context, option)


def given(*names: str) -> str:
    """The flag of the first of these parameters that stands in the command line; nothing where none does."""
    context = click.get_current_context()
    flags = {parameter.name: max(parameter.opts, key=len) for parameter in context.command.params}
    return next(
        (flags[each] for each in names if context.get_parameter_source(each) is ParameterSource.COMMANDLINE), ""
    )


def beside(known: Collection[str]) -> str:
    """What stands first in the command line and is none of these parameters: a flag, or the study; else nothing."""
    context = click.get_current_context()
    flag = given(*(str(each.name) for each in context.command.params if each.name not in known))
    return str(context.params["study"]) if flag == "study" else flag


def attend(path: Path, data: dict[str, str], output: Path | None, asked: Asked, watch: Watch) -> None:
    """Do with the queue in the file at `path` what is asked; `output` takes the place of its folder."""
    _require_fitting(asked)
    from deepres.base.files import path_of
    from deepres.studies.queue import load_queue

    queue = load_queue(path)
    home = path_of(queue.folder) if output is None else output
    outputs.require_free_folder("--output" if output is not None else f"{path}: folder", home, list(data.values()))
    if asked.pause:
        _pause(home, watch)
    elif asked.unpause:
        _unpause(home)
    elif asked.status:
        _status(queue, home, asked)
    else:
        if "" in data:
            raise InputError(f"--data {data['']}: of which set? write --data cifar10={data['']}")
        _work(queue, home, data, asked, watch)


def _require_fitting(asked: Asked) -> None:
    """Refuse flags that say what stands in the file, or that do not go with one another."""
    if what := beside(KNOWN):
        raise InputError(f"{what}: not with --queue, whose file says what is run; leave it out")
    if asked.at_once and (asked.status or asked.pause or asked.unpause):
        raise InputError("--at-once: goes with the work of a queue, not with what is asked of it; leave it out")
    wanted = [name for name in ("--status", "--pause", "--unpause", "--hours") if getattr(asked, name.strip("-"))]
    if len(wanted) > 1:
        raise InputError(f"{wanted[0]} with {wanted[1]}: one thing at a time; leave one of them out")
    if asked.as_json and not asked.status:
        raise InputError("--json: of a queue only the status is printed as JSON; add --status")


def _work(queue: "Queue", home: Path, data: dict[str, str], asked: Asked, watch: Watch) -> None:
    from deepres.base import priority  # before torch: threads that are there keep their priority

    for line in priority.give_way():
        watch.say(line)
    from deepres.base.events import Doing
    from deepres.nn.hardware import find_device
    from deepres.runs.progress import showing
    from deepres.studies.executor import slots
    from deepres.studies.queue_work import QueueWork, processors

    device = find_device(asked.device)
    threads = processors if device.type == "cpu" else lambda: None
    work = QueueWork(queue, home, device, data, command_line(), threads, asked.at_once)
    alone = len(slots(asked.at_once, device)) == 1
    if not alone:
        watch(Doing("runs side by side"))
    refused = work.carry_out(showing(watch, alone=alone), hours=asked.hours)
    if refused:
        name, reason = next(iter(refused.items()))
        raise RunError(f"{counted(len(refused), 'run')} of the queue could not go on; {name}: {reason}")


def _pause(home: Path, watch: Watch) -> None:
    from deepres.base.events import Doing
    from deepres.base.files import make_folder, write_atomic
    from deepres.base.locks import is_locked
    from deepres.base.records import recalled
    from deepres.studies.queue_status import NOW, PAUSED, Now

    make_folder(home)
    write_atomic(home / PAUSED, f"{datetime.now().astimezone().isoformat(' ', 'seconds')}\n")
    began = monotonic()
    watch(Doing("waiting for the queue to hold still"))
    while is_locked(home) and not (recalled(Now, home / NOW) or Now()).held:
        if monotonic() - began > PATIENCE:
            raise RunError(f"{home}: the queue did not hold still within {duration(PATIENCE)}; it will where it can")
        sleep(0.2)
    said = "paused" if is_locked(home) else "no queue works here; one that is started will pause"
    click.echo(f"{home}: {said}, until --unpause")


def _unpause(home: Path) -> None:
    from deepres.base.files import explained
    from deepres.studies.queue_status import PAUSED

    path = home / PAUSED
    there = path.exists()
    with explained(path):
        path.unlink(missing_ok=True)
    click.echo(f"{home}: {'goes on' if there else 'was not paused'}")


def _status(queue: "Queue", home: Path, asked: Asked) -> None:
    from deepres.studies.queue import queued
    from deepres.studies.queue_status import queue_status
    from deepres.studies.speed import rate_file

    found = queue_status(queued(queue), home, rate_file(asked.device))
    click.echo(found.to_json() if asked.as_json else table(found, datetime.now().astimezone()), nl=not asked.as_json)


def table(found: "QueueStatus", now: datetime) -> str:
    """A line for each run, and what is to be said of them all at the time `now`."""
    from deepres.base.wording import columns

    lines = [("run", "of", "steps", "multiply-adds", "time left", "")]
    for one in found.runs:
        left = "" if one.seconds_left is None else duration(one.seconds_left)
        steps = f"{one.done:,} of {one.steps:,}" if one.done else f"{one.steps:,}"
        lines.append((one.run, f"{one.study}, {one.row}", steps, f"{one.macs:.2g}", left, one.stands))
    came = [one.came for one in found.runs if one.stands == "done"]
    return "\n".join([columns(lines, "<<>>><"), "", *came, *found.sentences(now)])
