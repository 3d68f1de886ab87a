"""Training the runs of a study: finished ones are kept, begun ones go on; in turn, several at once, on a cluster."""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from deepres.base.errors import InputError, RunError
from deepres.base.events import UNSAID
from deepres.base.files import make_folder, write_atomic
from deepres.base.manifest import holds_run, is_whole
from deepres.base.warned import in_one_line
from deepres.data.loading.workers import num_cores
from deepres.recipes.run import Run, load_run
from deepres.runs import stages
from deepres.runs.session import Session
from deepres.runs.train import Event
from deepres.studies.plan import DIVERGED, Job, status
from deepres.train.health import DivergedError

OnJobEvent = Callable[[str, Event], None]
"""on_event(name of the run, what happens in it); where several run at once, each process has its own copy."""


@dataclass(frozen=True)
class Slot:
    """What a process that carries out one run after another has for it."""

    device: str
    threads: int | None = None


def carry_out(job: Job, home: Path, device: torch.device, on_event: OnJobEvent, command: str = UNSAID) -> None:
    """Train one run from wherever it stands; one whose loss is no number any more has ended: it is written down.

    One that was killed while it wrote down what came of it writes that again.

    Raises:
        InputError: anything that images or training refuse. StoppedError: a signal asked for it; its state is saved.
    """
    folder, now = job.folder(home), status(job, home)
    if job.after is not None and (job.after.folder(home) / DIVERGED).is_file():
        make_folder(folder)
        write_atomic(folder / DIVERGED, json.dumps({"reason": f"so did {job.after.name}, with which it begins"}) + "\n")
        return
    if now == "finished" and ((folder / DIVERGED).is_file() or is_whole(folder)):
        return

    def told(event: Event) -> None:
        on_event(job.name, event)

    try:
        session = Session(folder, device, told, command=command)
        if now == "absent":
            stages.start(job.ready(home), session)
        else:
            stages.resume(session, _elsewhere(folder, job.ready(home)))
    except DivergedError as cause:
        write_atomic(folder / DIVERGED, json.dumps({"reason": cause.message}) + "\n")
        on_event(job.name, f"diverged: {cause.message}")


def carry_out_aside(job: Job, home: Path, place: Slot, on_event: OnJobEvent, command: str = UNSAID) -> None:
    """The same in a process of its own, at its place there; what libraries warn of is told as the run's, in a line."""
    if place.threads is not None:
        torch.set_num_threads(place.threads)
    with in_one_line(partial(on_event, job.name)):
        carry_out(job, home, torch.device(place.device), on_event, command)


def in_turn(
    jobs: Sequence[Job], home: Path, device: torch.device, on_event: OnJobEvent, command: str = UNSAID
) -> Iterator[Job]:
    """One after another; yields each that has ended."""
    for job in jobs:
        carry_out(job, home, device, on_event, command)
        yield job


def at_once(
    jobs: Sequence[Job], home: Path, places: Sequence[Slot], on_event: OnJobEvent, command: str = UNSAID
) -> Iterator[Job]:
    """One process for each of `places`, the next run wherever one is free; yields each that has ended.

    Raises:
        InputError, StoppedError: of the first run that refused; those under way are carried to their end before.
        RunError: a process died.
    """
    method = multiprocessing.get_context("spawn")
    free = method.Queue()
    for place in places:
        free.put(place)
    with few_threads(len(places)), ProcessPoolExecutor(len(places), method, _take, (free,)) as pool:
        waiting = {pool.submit(_in_process, job, home, on_event, command): job for job in jobs}
        yield from _ended(waiting, pool)


def on_ray(jobs: Sequence[Job], home: Path, on_event: OnJobEvent, command: str = UNSAID) -> Iterator[Job]:
    """On the cluster that RAY_ADDRESS names, else on this machine; `home` is a folder that all of its machines see.

    Raises:
        InputError: Ray is not installed, or `home` is no absolute path that it could be found by.
        RunError: a run refused or its process died.
    """
    try:
        import ray
    except ImportError as cause:
        raise InputError("--on ray: Ray is not installed; pip install 'deepres[cluster]'") from cause
    ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=True, configure_logging=False)
    try:
        resources: dict[str, float] = ray.cluster_resources()
        gpus = 1 if resources.get("GPU", 0) else 0
        remote = ray.remote(num_gpus=gpus, num_cpus=1, max_retries=3)(_on_worker)
        device = "cuda" if gpus else "cpu"
        waiting = {remote.remote(job, home.resolve(), on_event, device, command): job for job in jobs}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(done[0])
            try:
                ray.get(done[0])
            except ray.exceptions.RayError as cause:
                told = cause.cause if isinstance(cause, ray.exceptions.RayTaskError) else cause
                raise RunError(f"{job.name}: {' '.join(str(told).split())[:300]}; call again to go on") from cause
            yield job
    finally:
        ray.shutdown()


def slots(count: int | None, device: torch.device) -> list[Slot]:
    """Where runs go: one on each GPU of this machine; on a processor `count` of them share its threads."""
    if str(device) == "cuda":
        gpus = torch.cuda.device_count()
        return [Slot(f"cuda:{number % gpus}") for number in range(count or gpus)]
    number = count or 1
    threads = max(1, torch.get_num_threads() // number) if device.type == "cpu" else None
    return [Slot(str(device), threads) for _ in range(number)]


@contextmanager
def few_threads(processes: int) -> Iterator[None]:
    """Processes that begin meanwhile have their share of the processor's cores as threads, unless that is set already.

    Of many with as many threads as cores each waits for threads that wait for a core: four runs of which each alone
    begins within half a minute had not begun after seven on 16 cores.
    """
    own = "OMP_NUM_THREADS" not in os.environ
    if own:
        os.environ["OMP_NUM_THREADS"] = str(max(1, num_cores() // processes))
    try:
        yield
    finally:
        if own:
            os.environ.pop("OMP_NUM_THREADS", None)


def _elsewhere(folder: Path, run: Run) -> list[str]:
    """A run goes on where it began, also when its images have been moved: their digests are compared anyway."""
    if not holds_run(folder):
        return []
    before = load_run(folder).data
    moved = {name: getattr(run.data, name) for name in ("source", "root")}
    return [
        f"data.{name}={'none' if place is None else place}"
        for name, place in moved.items()
        if place != getattr(before, name)
    ]


def _ended(waiting: dict["Future[None]", Job], pool: ProcessPoolExecutor) -> Iterator[Job]:
    for done in as_completed(waiting):
        cause = done.exception()
        if cause is not None:
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(cause, BrokenProcessPool):
                raise RunError(f"{waiting[done].name}: its process died; call again to go on") from cause
            raise cause
        yield waiting[done]


_place: Slot | None = None


def _take(free: Any) -> None:
    """The place of this process, for as long as it lives."""
    global _place
    _place = free.get()


def _in_process(job: Job, home: Path, on_event: OnJobEvent, command: str) -> None:
    assert _place is not None
    carry_out_aside(job, home, _place, on_event, command)


def _on_worker(job: Job, home: Path, on_event: OnJobEvent, device: str, command: str) -> None:
    carry_out_aside(job, home, Slot(device), on_event, command)
