"""How many processes decode images, and how far ahead each works: chosen from what is measured; no batch changes."""

import os
from collections.abc import Callable
from math import ceil, log
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Literal, NamedTuple

import torch

from deepres.base.wording import counted

MARGIN = 1.25
"""Loading should be able to give so many times what the steps take: pictures differ in size."""

MOST_UNMEASURED = 8
SAMPLE_SECONDS = 0.5

PREFETCH_FACTOR = 2
"""Batches ahead of each worker where nothing is measured: one in hand, one to go on with."""

STALLS = 0.01
"""The share of the steps that may wait for a worker that is behind."""

MOST_PREFETCHED = 16
MEMORY_SHARE = 0.1  # of the free memory: a step may be planned to take most of the rest
SHM_SHARE = 0.5  # of the free shared memory, through which workers send their batches

SHM = Path("/dev/shm")


class WorkerPlan(NamedTuple):
    """Worker processes, and the batches that each has in hand or ready at most."""

    workers: int
    prefetch_factor: int


class Load(NamedTuple):
    """Preparing one image in a worker: mean seconds, their standard deviation from image to image, bytes as sent."""

    seconds: float
    spread: float
    bytes: int


class Workers(NamedTuple):
    """A number of processes, and the line that says why."""

    number: int
    sentence: str


def choose_workers(load: float, step: float, cores: int, *, on_gpu: bool, fitting: int | None = None) -> Workers:
    """ceil(MARGIN step / load) processes, at least 1 and at most the cores, on a CPU one less: the step needs it.

    `load`: images/s that one process decodes and augments; `step`: images/s that training takes when they lie ready;
    `fitting`: batches that memory has room for, and so workers.
    """
    wanted = ceil(MARGIN * step / load)
    most = max(1, cores if on_gpu else cores - 1)
    number = min(max(1, wanted), most, most if fitting is None else max(1, fitting))
    said = f"workers: {number} (one gives {_shown(load)} images/s, steps take {_shown(step)}, {counted(cores, 'core')}"
    if wanted > most:
        said += f"; {wanted} would keep up: pack the images with deepres data pack"
    if number < min(wanted, most):
        said += f"; memory has room for {counted(fitting or 0, 'batch')}: use a smaller --batch-size"
    return Workers(number, f"{said})")


def choose_prefetch_factor(load: Load, images: int, step: float, workers: int, room: int) -> tuple[int, str]:
    """`depth` for batches of `images` images, as far as the batches of all workers fit into `room` bytes; and why.

    `step`: images/s that training takes. The spread of a batch is sqrt(images) that of an image: they are shuffled.
    """
    mean, spread, due = images * load.seconds, images**0.5 * load.spread, workers * images / step
    wanted, fitting = depth(mean, spread, due), batches_fitting(load, images, room)
    factor = max(1, min(wanted, fitting // workers))
    said = (
        f"each {counted(factor, 'batch')} ahead "
        f"(a batch takes {mean:.2g} s ± {spread:.1g} in a worker, one is due every {due:.2g}"
    )
    if factor < wanted:
        said += f"; {wanted} would be better, memory has room for {fitting} of all workers"
    if fitting < workers:
        said += f": use {f'--workers {fitting}' if fitting else 'a smaller --batch-size'}"
    return factor, f"{said})"


def batches_fitting(load: Load, images: int, room: int) -> int:
    """How many batches of `images` images lie in `room` bytes."""
    return room // max(1, images * load.bytes)


def depth(mean: float, spread: float, due: float) -> int:
    """1 + ceil(ln(1 / STALLS) spread^2 / (2 due (due - mean))), up to MOST_PREFETCHED; PREFETCH_FACTOR if due <= mean.

    A worker prepares a batch in `mean` +- `spread` seconds and has to give one every `due` seconds. How far it lags,
    V' = max(0, V + X - due), has P(V > v) <= exp(-2 (due - mean) v / spread^2) (Lundberg's bound, for normal X, as sums
    over a batch nearly are); with d batches ahead it begins each d dues early and is late where V > (d - 1) due. The
    depth is the smallest for which the bound is at most STALLS. Workers that cannot keep up are late at any depth.
    """
    if due <= mean:
        return PREFETCH_FACTOR
    return min(MOST_PREFETCHED, 1 + ceil(log(1 / STALLS) * spread**2 / (2 * due * (due - mean))))


def room_for_batches(available: int) -> int:
    """Bytes that waiting batches may take, of `available` and of the shared memory that they are sent through."""
    room = int(MEMORY_SHARE * available)
    if not SHM.is_dir():
        return room
    free = os.statvfs(SHM)
    return min(room, int(SHM_SHARE * free.f_bavail * free.f_frsize))


def resolved(workers: int | Literal["auto"]) -> int:
    """The number itself; "auto", where nothing is measured, is the cores but one, at most MOST_UNMEASURED."""
    return min(max(1, num_cores() - 1), MOST_UNMEASURED) if workers == "auto" else workers


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_of(read: Callable[[int], int], n: int, seconds: float | None = None) -> Load:
    """What a call of `read`, which gives bytes, takes on one thread, each with the next of 0 … n - 1; at least two.

    The first call, which opens files and fills caches, counts apart; the others take about `seconds` together,
    SAMPLE_SECONDS where none are given.
    """
    seconds = SAMPLE_SECONDS if seconds is None else seconds
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        size = read(0)
        taken: list[float] = []
        while len(taken) < 2 or sum(taken) < seconds:
            began = perf_counter()
            size = max(size, read((len(taken) + 1) % n))
            taken.append(perf_counter() - began)
        return Load(fmean(taken), stdev(taken), size)
    finally:
        torch.set_num_threads(threads)


def _shown(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 20 else f"{rate:.1f}"
