"""The passes of a step as one CUDA graph: captured once, then replayed from buffers that stand still.

A step of a small network is some hundred kernels of a few microseconds each, and the host takes longer to launch them
than a GPU to carry them out. A graph is launched as one. It holds the kernels that the passes launched while it was
captured, so a step is the same to the bit; what is drawn at random within it is drawn from the generator's seed as it
is at each replay. Of several pieces, whose gradients add up, one graph holds all.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deepres.data.images import Batch
from deepres.tasks.losses import Counts

Passes = Callable[[Batch], tuple[Tensor, Counts]]
"""The forward and backward passes of a step: mean loss and counts come out, the parameters hold the gradients."""

Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""Work -> what does the same work again, on the same memory. The work itself may be done meanwhile, or not."""

WARM_UP = 3
"""Steps of a kind that are carried out as they are before one is captured: libraries choose and allocate in them."""


class _Captured(NamedTuple):
    kind: object
    images: Tensor
    targets: Tensor
    replay: Callable[[], None]
    found: list[tuple[Tensor, Counts]]
    grads: list[tuple[nn.Parameter, Tensor]]


class Replay:
    """`replay(passes, batch, kind)` does what `passes(batch)` does; from the fourth call of a kind on from a graph.

    Batches of one `kind`, size and form are carried out by the same graph, so whatever the passes depend on beside the
    batch belongs to the kind. Others, and those that a graph cannot take (with pictures of their own sizes or for a
    teacher, with targets that are no tensor), go through the passes themselves. Loss and counts are to be read before
    the next call. Gradients lie in the graph's memory: they may be overwritten and forgotten, the next replay writes
    them anew.
    """

    def __init__(self, parameters: list[nn.Parameter], capture: Capture) -> None:
        self._parameters = parameters
        self._capture: Capture | None = capture
        self._kind: object = None
        self._seen = 0
        self._captured: _Captured | None = None

    def __call__(self, passes: Passes, batch: Batch, kind: object) -> tuple[Tensor, Counts]:
        """Mean loss and counts of the batch; parameters hold their gradients."""
        targets = batch.targets
        if (
            self._capture is None
            or batch.own is not None
            or batch.pixels is not None
            or not isinstance(targets, Tensor)
        ):
            return passes(batch)
        kind = (kind, batch.images.shape, batch.images.dtype, targets.shape, targets.dtype)
        held = self._captured
        if held is None or held.kind != kind:
            self._seen = self._seen + 1 if kind == self._kind else 1
            self._kind = kind
            if self._seen <= WARM_UP:
                return passes(batch)
            self._captured = None  # its memory is free for the new one
            held = self._captured = self._graph(passes, batch, targets, kind)
            if held is None:
                return passes(batch)
        else:
            self._kind, self._seen = kind, WARM_UP
        held.images.copy_(batch.images)
        held.targets.copy_(targets)
        held.replay()
        for parameter, grad in held.grads:
            if parameter.grad is None:
                parameter.grad = grad
        return held.found[0]

    def _graph(self, passes: Passes, batch: Batch, targets: Tensor, kind: object) -> _Captured | None:
        """None where the passes cannot be captured (they wait for the host); no other capture is tried then."""
        assert self._capture is not None
        images, labels = batch.images.clone(), targets.clone()
        still = Batch(images, labels, batch.indices)
        found: list[tuple[Tensor, Counts]] = []

        def work() -> None:
            found[:] = [passes(still)]

        try:
            replay = self._capture(work)
        except RuntimeError:
            self._capture = None
            for parameter in self._parameters:
                parameter.grad = None
            return None
        grads = [(parameter, parameter.grad) for parameter in self._parameters if parameter.grad is not None]
        return _Captured(kind, images, labels, replay, found, grads)


def as_cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """`work` captured on a stream of its own; it is not carried out before the first replay."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # what earlier steps took would be held beside the graph's own
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
