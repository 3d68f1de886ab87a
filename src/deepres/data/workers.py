"""How many processes decode images: chosen from measured rates and the cores there are; it changes no batch."""

import os
from collections.abc import Callable
from math import ceil
from time import perf_counter
from typing import Literal, NamedTuple

import torch

MARGIN = 1.25
"""Loading should be able to give so many times what the steps take: pictures differ in size."""

MOST_UNMEASURED = 8
SAMPLE_SECONDS = 0.5


class Workers(NamedTuple):
    """A number of processes, and the line that says why."""

    number: int
    sentence: str


def choose_workers(load: float, step: float, cores: int, *, on_gpu: bool) -> Workers:
    """ceil(MARGIN step / load) processes, at least 1 and at most the cores, on a CPU one less: the step needs it.

    `load`: images/s that one process decodes and augments; `step`: images/s that training takes when they lie ready.
    """
    wanted = ceil(MARGIN * step / load)
    most = max(1, cores if on_gpu else cores - 1)
    number = min(max(1, wanted), most)
    said = f"workers: {number} (one gives {_shown(load)} images/s, steps take {_shown(step)}, {cores} cores"
    if wanted > most:
        said += f"; {wanted} would keep up: pack the images with deepres data pack"
    return Workers(number, f"{said})")


def resolved(workers: int | Literal["auto"]) -> int:
    """The number itself; "auto", where nothing is measured, is the cores but one, at most MOST_UNMEASURED."""
    return min(max(1, num_cores() - 1), MOST_UNMEASURED) if workers == "auto" else workers


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def rate_of(read: Callable[[int], object], n: int, seconds: float = SAMPLE_SECONDS) -> float:
    """Calls of `read` a second on one thread, each with the next of 0 … n - 1, the first apart; at least two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        read(0)
        began, done = perf_counter(), 0
        while done < 2 or perf_counter() - began < seconds:
            done += 1
            read(done % n)
        return done / (perf_counter() - began)
    finally:
        torch.set_num_threads(threads)


def _shown(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 20 else f"{rate:.1f}"
