"""The passes of a training step, to be timed: on noise, by a copy of the network."""

import copy
from collections.abc import Callable
from itertools import count

from torch import Tensor, nn

from deepres.train.precision import Precision
from deepres.train.replay import WARM_UP, Capture


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
