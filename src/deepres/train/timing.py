"""How long work takes here: the seconds of each call, until enough are known."""

import copy
from collections.abc import Callable, Sequence
from itertools import count
from time import perf_counter

import torch
from torch import Tensor, nn

from deepres.nn.hardware import wait_for
from deepres.train.precision import Precision
from deepres.train.replay import WARM_UP, Capture

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


def passes(
    network: nn.Module,
    precision: Precision,
    loss: Callable[[Callable[[Tensor], Tensor]], Tensor],
    forward: Callable[[nn.Module], Callable[[Tensor], Tensor]],
    capture: Capture | None = None,
) -> Callable[[], None]:
    """What does forward and backward passes in training when it is called, by a copy of the network, wrapped.

    With `capture` calls after the first `WARM_UP` are replayed from the graph that it makes of them.
    """
    twin = precision.place(copy.deepcopy(network)).train()
    wrapped = forward(twin)
    graph: Callable[[], None] | None = None

    def both() -> None:
        loss(wrapped).backward()  # type: ignore[no-untyped-call]

    def once() -> None:
        nonlocal graph
        if capture is not None and graph is None and next(numbers) >= WARM_UP:
            graph = capture(both)
        (both if graph is None else graph)()
        twin.zero_grad()

    numbers = count()
    return once
