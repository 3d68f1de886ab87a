"""Working through a queue: the cheapest runs that are not done, one or several, until all are, or it is to end."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import torch

from deepres.base.errors import DeepresError, InputError, RunError
from deepres.base.events import Doing
from deepres.base.files import make_folder
from deepres.base.locks import locked
from deepres.base.priority import free_processors
from deepres.base.wording import duration
from deepres.runs.lock import StoppedError, asked_to_stop
from deepres.studies.executor import OnJobEvent, Slot, carry_out, slots
from deepres.studies.plan import Job, cells, distinct, status
from deepres.studies.queue import Queue, queued, studies_of
from deepres.studies.queue_gate import Gate
from deepres.studies.queue_status import Now
from deepres.studies.queue_together import Together
from deepres.studies.reproduce import absences, conclude, planned

TAKEN = "another queue works there; see it with --status, or wait for it"


@dataclass(frozen=True)
class QueueWork:
    """A queue, where its runs lie, what they compute on, where sets of images lie, and the command that asked for it.

    `threads` says how many a run has that begins or goes on, None: PyTorch's own choice. `at_once` runs share the
    device, None: one, or one on each GPU.
    """

    queue: Queue
    home: Path
    device: torch.device
    data: Mapping[str, str]
    command: str
    threads: Callable[[], int | None]
    at_once: int | None = None

    def carry_out(self, show: OnJobEvent, *, hours: float | None = None) -> dict[str, str]:
        """Train what is not done, the first in the queue's order first; each run that ends is judged at once.

        Returns:
            The runs that could not go on, and why; the others were not kept waiting by them.

        Raises:
            InputError: another queue works in the folder, or it cannot be written to.
            StoppedError: a signal asked for it; the run's state is saved.
        """
        began = monotonic()
        line = [each.job for each in queued(self.queue, self.data)]
        absent = self._absent(line)
        make_folder(self.home)
        with locked(self.home, TAKEN), asked_to_stop() as asked:
            gate = Gate(self.home, show, asked, None if hours is None else began + 3600 * hours)
            gate.write(Now(refused={job.name: absent[job.dataset] for job in line if job.dataset in absent}))
            places = self._places()
            if len(places) > 1:
                Together(self.home, places, self.command).carry_out(_Line(self, line), gate)
            gate.hold()
            while not gate.over and (job := self.next_of(line, gate.now.refused)) is not None:
                self._one(job, gate)
                gate.hold()
            gate.write(gate.now.replace(runs=(), threads=0))
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

    def _places(self) -> list[Slot]:
        places = slots(self.at_once, self.device)
        if self.device.type == "cpu" and len(places) > 1 and (threads := self.threads()) is not None:
            return [Slot(place.device, max(1, threads // len(places))) for place in places]
        return places

    def next_of(self, line: list[Job], skipped: Mapping[str, object]) -> Job | None:
        """The first that is not done, nor skipped; before it one that was killed before it was judged."""
        left = [job for job in line if job.name not in skipped and not job.evidence(self.home).is_file()]
        return next((job for job in left if status(job, self.home) == "finished"), left[0] if left else None)

    def _one(self, job: Job, gate: Gate) -> None:
        """One run trained to its end and judged, unless it is stopped or refuses."""
        threads = self.threads()
        if threads is not None:
            torch.set_num_threads(threads)
        gate.write(gate.now.replace(runs=(job.name,), threads=torch.get_num_threads()))
        try:
            carry_out(job, self.home, self.device, gate, self.command)
            self.judge(job, gate)
        except StoppedError as stopped:
            if not gate.late and not gate.asked:
                gate.asked.append(stopped.exit_code - 128)
        except DeepresError as cause:
            gate.refuse(job.name, cause.message)

    def judge(self, job: Job, gate: Gate) -> None:
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


@dataclass(frozen=True)
class _Line:
    """A queue's runs in their order, and who reports on them."""

    work: QueueWork
    jobs: list[Job]

    def next(self, skipped: Mapping[str, object]) -> Job | None:
        """The first that is not done, nor skipped."""
        return self.work.next_of(self.jobs, skipped)

    def judge(self, job: Job, gate: Gate) -> None:
        """The reports and evidence that a run which has ended belongs to."""
        self.work.judge(job, gate)


def processors() -> int | None:
    """Threads for a run on a processor: those of OMP_NUM_THREADS, else as many as others leave processors free."""
    return None if os.environ.get("OMP_NUM_THREADS") else free_processors()
