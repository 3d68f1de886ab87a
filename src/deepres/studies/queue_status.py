"""How a queue stands: what is done, what runs, when the next ends; from files alone, without torch."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from heapq import heapreplace
from math import inf
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import Field

from deepres.base.errors import InputError
from deepres.base.files import explained, read_bytes
from deepres.base.locks import is_locked
from deepres.base.reading import json_object
from deepres.base.records import Record, recalled
from deepres.base.wording import counted, duration
from deepres.studies.plan import Job, status
from deepres.studies.queue import Queued
from deepres.studies.speed import MachineSpeed

PAUSED = "paused"
"""The file that pauses a queue, in the folder of its runs, until it is removed."""

NOW = "now.json"
_YEAR = 365 * 86400
RECENT = 10
"""Epochs whose median is the rate of a run."""

Stands = Literal["done", "runs", "begun", "waits", "refused"]
"""done: its evidence is written. begun: trained so far, by nobody at this moment. refused: it could not go on."""


class Now(Record):
    """What the queue in a folder does: its runs, the threads of each (0: not the processor's), whether all are held.

    `refused` are runs that could not go on, and why.
    """

    runs: tuple[str, ...] = ()
    threads: int = 0
    held: bool = False
    refused: dict[str, str] = Field(default_factory=dict)


class Standing(Record):
    """A run of the queue: `done` of its `steps`; `seconds_left` by its own rate, else by that of another run, or None.

    `came` is what its evidence claims.
    """

    run: str
    study: str
    row: str
    seed: int
    turn: int
    macs: float
    steps: int
    done: int
    stands: Stands
    seconds_left: float | None = None
    came: str = ""


class QueueStatus(Record):
    """All runs in their order; whether a queue works on them, and whether it is to pause."""

    runs: tuple[Standing, ...]
    works: bool
    paused: bool

    @property
    def current(self) -> Standing | None:
        """The run that ends next: of those that are being trained, or else would be first."""
        return min(filter(_is_open, self.runs), key=_turn, default=None)

    def sentences(self, now: datetime) -> list[str]:
        """What is done, what runs, when the next ends and when all of them; at the time `now`."""
        done = sum(one.stands == "done" for one in self.runs)
        lines = [f"{done} of {counted(len(self.runs), 'run')} done"]
        refused = [one for one in self.runs if one.stands == "refused"]
        lines += [f"could not go on: {one.run}: {one.came}" for one in refused]
        if self.current is None:
            return lines
        if not self.works:
            lines.append("no queue works here at this moment")
        if self.paused:
            lines.append("paused until --unpause" if self.works else "one that is started will pause until --unpause")
        lines.append(f"next to end: {self.current.run}, {_when(self.current.seconds_left, now)}")
        if sum(map(_is_open, self.runs)) > 1:
            lines.append(f"all: {_when(self._seconds_of_all(), now)}")
        return lines

    def _seconds_of_all(self) -> float | None:
        """Until the last has ended, if as many go on side by side as do now, each at the rate that it has now."""
        line = sorted(filter(_is_open, self.runs), key=_turn)
        ends = [0.0] * max(1, sum(one.stands == "runs" for one in line))  # of each place: when it is free
        for one in line:
            if one.seconds_left is None:
                return None
            heapreplace(ends, ends[0] + one.seconds_left)
        return max(ends)


def queue_status(line: Sequence[Queued], home: Path, speed: Path) -> QueueStatus:
    """The queue whose runs are `line` and lie below `home`; `speed` is where the machine's rate may be remembered."""
    works = is_locked(home)
    now = (recalled(Now, home / NOW) or Now()) if works else Now()
    paces = {each.job.name: pace for each in line if (pace := seconds_per_step(each.job.folder(home))) is not None}
    machine = recalled(MachineSpeed, speed)
    found = []
    for each in line:
        job = each.job
        stands = _stands(job, home, now)
        done = steps_done(job, home)
        left = None
        if stands not in ("done", "refused"):
            step = _seconds_of_a_step(job, line, paces, machine)
            left = None if step is None else step * (job.steps - done)
        found.append(
            Standing(
                run=job.name,
                study=each.study.name,
                row=each.row,
                seed=job.run.seed,
                turn=each.turn,
                macs=job.macs,
                steps=job.steps,
                done=done,
                stands=stands,
                seconds_left=left,
                came=_came(job, home) if stands == "done" else now.refused.get(job.name, ""),
            )
        )
    return QueueStatus(runs=tuple(found), works=works, paused=(home / PAUSED).exists())


def steps_done(job: Job, home: Path) -> int:
    """Steps of which nothing is lost: those of the newest state, or of the run where it has ended."""
    folder = job.folder(home)
    if status(job, home) == "finished":
        return max((row["step"] for row in _history(folder)), default=job.steps)
    return max(_states(folder), default=0)


def seconds_per_step(folder: Path) -> float | None:
    """The rate of a run by its own history: the median of its last epochs, before the first one's end by its states.

    None where there are no two of them yet.
    """
    rows = list(_history(folder))
    if not rows:
        return _between_states(folder)
    before = [0, *(row["step"] for row in rows)]
    paces: list[float] = [row["seconds"] / (row["step"] - step) for row, step in zip(rows, before, strict=False)]
    return median(paces[-RECENT:])


def _between_states(folder: Path) -> float | None:
    """The seconds from one state to the next, by step; a pause between them counts, until the first epoch ends."""
    states = {step: saved for step, saved in _states(folder).items() if step}  # what follows the first is not training
    if len(states) < 2:
        return None
    (before, began), (after, ended) = sorted(states.items())[-2:]
    return (ended - began) / (after - before) if ended > began else None


def _states(folder: Path) -> dict[int, float]:
    """Step of a state that was saved -> when."""
    found = {}
    for path in folder.glob("state/step-*"):
        number = path.name.removeprefix("step-")
        if number.isdecimal():
            with suppress(OSError):  # removed meanwhile
                found[int(number)] = path.stat().st_mtime
    return found


def _seconds_of_a_step(
    job: Job, line: Sequence[Queued], paces: dict[str, float], machine: MachineSpeed | None
) -> float | None:
    """By the run's own history; else by that of another run, of the same precision first, and the sizes of both."""
    if job.name in paces:
        return paces[job.name]
    cost = job.macs / job.steps
    precision = job.run.train.precision
    others = sorted(
        (each.job for each in line if each.job.name in paces),
        key=lambda other: (other.run.train.precision != precision, abs(other.macs - job.macs)),
    )
    if others:
        return paces[others[0].name] * cost / (others[0].macs / others[0].steps)
    return None if machine is None else machine.seconds(cost)


def _stands(job: Job, home: Path, now: Now) -> Stands:
    if job.evidence(home).is_file():
        return "done"
    if job.name in now.refused:
        return "refused"
    if job.name in now.runs:
        return "runs"
    return "waits" if status(job, home) == "absent" else "begun"


def _history(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a run's epochs that are whole and go on; others are told of by who reads them for more."""
    path = folder / "history.jsonl"
    step = 0
    with explained(path):
        rows = read_bytes(path).splitlines() if path.is_file() else []
    for line in rows:
        with suppress(ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
            row = json.loads(line)
            if int(row["step"]) > step and float(row["seconds"]) > 0:
                step = int(row["step"])
                yield {"step": step, "seconds": float(row["seconds"])}


def _came(job: Job, home: Path) -> str:
    try:
        return str(json_object(job.evidence(home), "evidence of a run").get("claim", ""))
    except InputError as cause:
        return cause.message


def _is_open(one: Standing) -> bool:
    return one.stands in ("runs", "begun", "waits")


def _turn(one: Standing) -> tuple[int, float]:
    """What runs comes first, and of it what ends first; others in their order."""
    runs = one.stands == "runs"
    left = inf if one.seconds_left is None else one.seconds_left
    return ("runs", "begun", "waits").index(one.stands), left if runs else 0


def _when(seconds: float | None, now: datetime) -> str:
    """`in about 3.2 h, Fri 19:42`."""
    if seconds is None:
        return "when is not known before its first epoch has ended"
    at = f", {now + timedelta(seconds=seconds):%a %d %b %H:%M}" if seconds < _YEAR else ""
    return f"in about {duration(seconds)}{at}"
