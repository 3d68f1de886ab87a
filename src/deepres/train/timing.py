"""How long work takes here: the seconds of each call, until enough are known."""

import copy
from collections.abc import Callable
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


def timed_passes(
    network: nn.Module,
    precision: Precision,
    loss: Callable[[Callable[[Tensor], Tensor]], Tensor],
    forward: Callable[[nn.Module], Callable[[Tensor], Tensor]],
    seconds: float = float("inf"),
    calls: int = MOST_CALLS,
    capture: Capture | None = None,
) -> list[float]:
    """Seconds of forward and backward passes in training, as `timed`, by a copy of the network that `forward` wraps.

    With `capture` those after the first `WARM_UP` are replayed from the graph that it makes of them.
    """
    twin = precision.place(copy.deepcopy(network)).train()
    wrapped = forward(twin)
    graph: Callable[[], None] | None = None

    def passes() -> None:
        loss(wrapped).backward()  # type: ignore[no-untyped-call]

    def once() -> None:
        nonlocal graph
        if capture is not None and graph is None and next(numbers) >= WARM_UP:
            graph = capture(passes)
        (passes if graph is None else graph)()
        twin.zero_grad()

    numbers = count()
    return timed(once, precision.device, seconds, calls)
