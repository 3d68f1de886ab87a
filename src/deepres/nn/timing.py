"""How long work takes here: the seconds of each call, until enough are known."""

from collections.abc import Callable, Sequence
from time import perf_counter

import torch

from deepres.nn.hardware import wait_for

MOST_CALLS = 12


def timed(
    work: Callable[[], object], device: torch.device, seconds: float, calls: int = MOST_CALLS, least: int = 2
) -> list[float]:
    """Seconds of each call of `work`: `least`, then until they took `seconds` together or there were `calls`.

    On a GPU each call ends when its kernels have; the random state of torch is afterwards what it was.
    """
    taken: list[float] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while len(taken) < least or (sum(taken) < seconds and len(taken) < calls):
            began = perf_counter()
            work()
            wait_for(device)
            taken.append(perf_counter() - began)
    return taken


def timed_in_turns(works: Sequence[Callable[[], object]], device: torch.device, calls: int) -> list[list[float]]:
    """Seconds of each of so many calls of every work: each once, then all again.

    A processor that others share is faster at one moment than at the next, by more than what is to be told apart.
    """
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(calls):
        for seconds, work in zip(taken, works, strict=True):
            seconds += timed(work, device, 0.0, calls=1, least=1)
    return taken
