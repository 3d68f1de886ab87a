"""Several runs of a queue at once, each in a process of its own: on a GPU that one small network does not fill."""

import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event as Flag
from pathlib import Path
from time import sleep
from typing import Any, Protocol

from deepres.base.errors import DeepresError
from deepres.runs.lock import StoppedError
from deepres.runs.progress import print_event
from deepres.studies.executor import Slot, carry_out_aside, few_threads
from deepres.studies.plan import Job
from deepres.studies.queue_gate import LOOK, Gate
from deepres.studies.queue_status import Now

STOPPED = "stopped"
"""What a process says whose run was asked to stop; of one that has ended it says nothing, else why it cannot go on."""


class JobLine(Protocol):
    """The queue as these processes see it."""

    def next(self, skipped: Mapping[str, Any]) -> Job | None:
        """The first run that is not done, nor one of these."""

    def judge(self, job: Job, gate: Gate) -> None:
        """Report on a run that has ended."""


class _WorkerGate(Gate):
    """The gate of a run in a process of its own, which asks the process that began it."""

    stop: Flag
    holding: Any

    @property
    def over(self) -> bool:
        parent = multiprocessing.parent_process()
        return super().over or self.stop.is_set() or (parent is not None and not parent.is_alive())

    def write(self, now: Now) -> None:
        with self.holding.get_lock():
            self.holding.value += now.held - self.now.held
        self.now = now


@dataclass(frozen=True)
class _Worker:
    job: Job
    slot: Slot
    process: BaseProcess
    told: Connection

    def outcome(self) -> str | None:
        """What became of the run, once the process has ended."""
        self.process.join()
        with self.told:
            try:
                said: str | None = self.told.recv()
            except EOFError:
                said = f"its process died ({self.process.exitcode}); the same command goes on"
        return said


@dataclass
class Together:
    """Runs side by side on the device, one for each of `places`; a process that dies takes its own run along alone."""

    home: Path
    places: list[Slot]
    command: str

    def __post_init__(self) -> None:
        self._method = multiprocessing.get_context("spawn")
        self._stop, self._holding = self._method.Event(), self._method.Value("i", 0)
        self._workers: list[_Worker] = []

    def carry_out(self, line: JobLine, gate: Gate) -> None:
        """Begin a run wherever a place is free, judge each that ends, until none is left or the queue is to end."""
        try:
            while True:
                self._begin(line, gate)
                if not self._workers and not (gate.is_paused() and not gate.over):
                    return
                self._tell(gate)
                ended = wait([worker.process.sentinel for worker in self._workers], LOOK) if self._workers else []
                if not self._workers:
                    sleep(LOOK)
                if gate.over:
                    self._stop.set()
                for worker in [each for each in self._workers if each.process.sentinel in ended]:
                    self._end(worker, line, gate)
        finally:
            self._stop.set()
            for worker in self._workers:
                worker.process.join()

    def _begin(self, line: JobLine, gate: Gate) -> None:
        while len(self._workers) < len(self.places) and not gate.over and not gate.is_paused():
            skipped = {**gate.now.refused, **{worker.job.name: "" for worker in self._workers}}
            if (job := line.next(skipped)) is None:
                return
            taken = [worker.slot for worker in self._workers]
            slot = next(place for place in self.places if taken.count(place) < self.places.count(place))
            told, telling = self._method.Pipe(duplex=False)
            asked = (job, self.home, slot, gate.ends, self.command, self._stop, self._holding, telling)
            process = self._method.Process(target=_train, args=asked, name=job.name)
            with few_threads(len(self.places)):
                process.start()
            telling.close()
            self._workers.append(_Worker(job, slot, process, told))

    def _tell(self, gate: Gate) -> None:
        running = tuple(worker.job.name for worker in self._workers)
        held = gate.is_paused() and self._holding.value >= len(running)
        threads = self._workers[0].slot.threads or 0 if running else 0
        now = gate.now.replace(runs=running, held=held, threads=threads)
        if now != gate.now:
            gate.write(now)

    def _end(self, worker: _Worker, line: JobLine, gate: Gate) -> None:
        self._workers.remove(worker)
        reason = worker.outcome()
        if reason == STOPPED:
            if not gate.over:  # it heard of it by itself, as all do of Ctrl-C
                gate.asked.append(2)
            return
        if reason is None:
            try:
                line.judge(worker.job, gate)
            except DeepresError as cause:
                reason = cause.message
        if reason is not None:
            gate.refuse(worker.job.name, reason)


def _train(
    job: Job,
    home: Path,
    slot: Slot,
    ends: float | None,
    command: str,
    stop: Flag,
    holding: Any,
    telling: Connection,
) -> None:
    gate = _WorkerGate(home, print_event, [], ends, now=Now(runs=(job.name,)))
    gate.stop, gate.holding = stop, holding
    try:
        gate.hold()
        carry_out_aside(job, home, slot, gate, command)
        telling.send(None)
    except StoppedError:
        telling.send(STOPPED)
    except DeepresError as cause:
        telling.send(cause.message)
