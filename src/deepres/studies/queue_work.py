"""Working through a queue: the cheapest run that is not done, one at a time, until all are, or it is asked to end."""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import torch

from deepres.base.errors import DeepresError, InputError, RunError
from deepres.base.events import Doing
from deepres.base.files import make_folder
from deepres.base.locks import locked
from deepres.base.priority import free_processors
from deepres.base.wording import duration
from deepres.runs.lock import StoppedError, asked_to_stop
from deepres.runs.train import Event
from deepres.studies.executor import OnJobEvent, carry_out
from deepres.studies.plan import Job, cells, distinct, status
from deepres.studies.queue import Queue, queued, studies_of
from deepres.studies.queue_status import NOW, PAUSED, Now
from deepres.studies.reproduce import absences, conclude, planned
from deepres.train.loop import Step

TAKEN = "another queue works there; see it with --status, or wait for it"
LOOK = 0.5
"""Seconds after which a queue that is paused looks whether it still is."""


@dataclass
class Gate:
    """Every event of a run passes here: the run is held while the queue is paused, and asked to stop in its time.

    `asked` are the signals that came while no run listened; `ends` is when the time is over, by `clock`.
    """

    home: Path
    show: OnJobEvent
    asked: list[int]
    ends: float | None = None
    clock: Callable[[], float] = monotonic
    wait: Callable[[float], None] = sleep
    now: Now = field(default_factory=Now)
    _told: bool = False  # a run that trains has heard that it is to stop

    @property
    def late(self) -> bool:
        """Whether the queue's time is over."""
        return self.ends is not None and self.clock() >= self.ends

    @property
    def over(self) -> bool:
        """Whether no other run is to be begun."""
        return bool(self.asked) or self.late

    def __call__(self, name: str, event: Event) -> None:
        """Show the event; hold the run here if need be; between two steps, where it listens, ask it to stop."""
        self.show(name, event)
        self.hold()
        if isinstance(event, Step) and self.over and not self._told:
            self._told = True
            signal.raise_signal(self.asked[0] if self.asked else signal.SIGTERM)

    def hold(self) -> None:
        """Stay here as long as the queue is paused; a signal that asks to stop is passed on to who listens outside."""
        if self._told or self.over or not self.is_paused():
            return
        self.write(self.now.replace(held=True))
        self.show(self.now.run, Doing("paused until --unpause"))
        with asked_to_stop() as asked:
            while self.is_paused() and not asked and not self.late:
                self.wait(LOOK)
        self.write(self.now.replace(held=False))
        if asked:
            signal.raise_signal(asked[0])
            self._told = not self.asked

    def is_paused(self) -> bool:
        """Whether the file that pauses lies there."""
        return (self.home / PAUSED).exists()

    def write(self, now: Now) -> None:
        """Say what is being done, for `--status` and `--pause`."""
        self.now = now
        now.save(self.home / NOW)


@dataclass(frozen=True)
class QueueWork:
    """A queue, where its runs lie, what they compute on, where sets of images lie, and the command that asked for it.

    `threads` says how many a run has that begins or goes on, None: PyTorch's own choice.
    """

    queue: Queue
    home: Path
    device: torch.device
    data: Mapping[str, str]
    command: str
    threads: Callable[[], int | None]

    def carry_out(self, show: OnJobEvent, *, hours: float | None = None) -> dict[str, str]:
        """Train what is not done, the first in the queue's order first; each run that ends is judged at once.

        Returns:
            The runs that could not go on, and why; the others were not kept waiting by them.

        Raises:
            InputError: another queue works in the folder, or it cannot be written to.
            StoppedError: a signal asked for it; the run's state is saved.
        """
        began = monotonic()
        make_folder(self.home)
        line = [each.job for each in queued(self.queue, self.data)]
        absent = self._absent(line)
        with locked(self.home, TAKEN), asked_to_stop() as asked:
            gate = Gate(self.home, show, asked, None if hours is None else began + 3600 * hours)
            gate.write(Now(refused={job.name: absent[job.dataset] for job in line if job.dataset in absent}))
            gate.hold()
            while not gate.over and (job := self._next(line, gate.now.refused)) is not None:
                self._one(job, gate)
                gate.hold()
            gate.write(gate.now.replace(run="", threads=0))
        if asked:
            raise StoppedError("stopped; the same command goes on", asked[0])
        if gate.late:
            show("", f"{duration(monotonic() - began)} are over; the same command goes on")
        return dict(gate.now.refused)

    def _absent(self, line: list[Job]) -> dict[str, str]:
        """Set of images -> why it is not there; refused where nothing is left to be trained."""
        used = {job.dataset: job for job in line}
        for name in self.data:
            if name not in used:
                raise InputError(f"--data {name}: the queue does not use it; it uses {', '.join(sorted(used))}")
        absent = absences(used, self.data)
        named = [reason for name, reason in absent.items() if name in self.data]
        if named or absent.keys() == used.keys():
            raise InputError("; ".join(named or absent.values()))
        return absent

    def _next(self, line: list[Job], refused: Mapping[str, str]) -> Job | None:
        """The first that is not done; before it one that has ended and was killed before it was judged."""
        left = [job for job in line if job.name not in refused and not job.evidence(self.home).is_file()]
        return next((job for job in left if status(job, self.home) == "finished"), left[0] if left else None)

    def _one(self, job: Job, gate: Gate) -> None:
        """One run trained to its end and judged, unless it is stopped or refuses."""
        threads = self.threads()
        if threads is not None:
            torch.set_num_threads(threads)
        gate.write(gate.now.replace(run=job.name, threads=torch.get_num_threads()))
        try:
            carry_out(job, self.home, self.device, gate, self.command)
            self._judge(job, gate)
        except StoppedError as stopped:
            if not gate.late and not gate.asked:
                gate.asked.append(stopped.exit_code - 128)
        except DeepresError as cause:
            gate.write(gate.now.replace(refused={**gate.now.refused, job.name: cause.message}))
            gate.show(job.name, f"could not go on: {cause.message}")

    def _judge(self, job: Job, gate: Gate) -> None:
        """The reports of all studies of the queue that the run belongs to, and its evidence."""
        for study, seeds in studies_of(self.queue):
            jobs = distinct(cells(study, job.scale, seeds))
            if job.name not in {each.name for each in jobs}:
                continue
            used = {name: place for name, place in self.data.items() if name in {each.dataset for each in jobs}}
            plan = planned(study, job.scale, self.home, seeds=seeds, data=used)
            found, page = conclude(
                plan,
                self.device,
                command=self.command,
                on_progress=lambda what, done, total: gate(job.name, Doing(what, done, total)),
            )
            gate.show(job.name, f"{study.name}: {found.verdict} ({page})")
        if not job.evidence(self.home).is_file():
            raise RunError(f"{job.name}: has ended, and no study of the queue has judged it")


def processors() -> int | None:
    """Threads for a run on a processor: those of OMP_NUM_THREADS, else as many as others leave processors free."""
    return None if os.environ.get("OMP_NUM_THREADS") else free_processors()
