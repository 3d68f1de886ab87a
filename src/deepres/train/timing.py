"""How long work takes here: the seconds of each call, until enough are known."""

import copy
from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor, nn

from deepres.train.precision import Precision

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
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(perf_counter() - began)
    return taken


def timed_passes(
    network: nn.Module,
    precision: Precision,
    loss: Callable[[Callable[[Tensor], Tensor]], Tensor],
    forward: Callable[[nn.Module], Callable[[Tensor], Tensor]],
    seconds: float = float("inf"),
    calls: int = MOST_CALLS,
) -> list[float]:
    """Seconds of forward and backward passes in training, as `timed`, by a copy of the network that `forward` wraps."""
    twin = precision.place(copy.deepcopy(network)).train()
    wrapped = forward(twin)

    def once() -> None:
        loss(wrapped).backward()  # type: ignore[no-untyped-call]
        twin.zero_grad()

    return timed(once, precision.device, seconds, calls)
