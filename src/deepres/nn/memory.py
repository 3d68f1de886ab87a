"""Very deep networks in bounded memory: runs of layers computed again in the backward pass, to the same bits."""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from deepres.arch.detector import Description, Detector
from deepres.arch.readings.checkpointing import MemoryChoice, make_plan
from deepres.arch.readings.memory import step_memory
from deepres.arch.readings.segments import CheckpointPlan, Segment, segments
from deepres.base.errors import InputError
from deepres.base.ram import free_bytes, told_bytes
from deepres.base.wording import counted
from deepres.nn import layers
from deepres.nn.build import ResidualNetwork

MARGIN = 1.15
"""What a step may take beyond its prediction: workspaces inside kernels, fragmentation, batches waiting. Ours."""

_RANDOM = (nn.Dropout, layers.BatchDropPath, layers.SampleDropPath, layers.ColumnMean)


@contextmanager
def apply(network: nn.Module, plan: CheckpointPlan) -> Iterator[None]:
    """Within it, training steps of `network` follow `plan`; evaluation, inference and `features` are as ever.

    Logits, gradients and norm statistics are bitwise those of the plain step: a segment is run again with the random
    state, the precision and the modes that it had, and norms count a batch once. Names of parameters stay. Afterwards
    the network is as it was, also after an exception.

    Raises:
        ValueError: the plan is of another network.
    """
    if not plan.segments:
        yield
        return
    assert isinstance(network, ResidualNetwork)
    runs = [_Run(network, step) for step in segments(network.description, plan)]
    plain = network.forward

    def forward(x: Tensor) -> Tensor:
        if not (network.training and torch.is_grad_enabled()):
            return plain(x)
        network.draw(x)  # holds in the backward pass too, where layers run again
        return _through(runs, x)

    network.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        del network.forward
        network.forget()


def require_fits(
    network: Description,
    batch_size: int,
    available: int,
    choice: MemoryChoice,
    *,
    accumulate: int = 1,
    value_bytes: int = 4,
    averaged: bool = False,
    beside: int = 0,
) -> CheckpointPlan:
    """The plan of `choice` for steps of `batch_size` images, `accumulate` parts one by one, in `available` bytes.

    `beside` of these bytes are another network's, which a step asks too (a teacher).

    Raises:
        InputError: it does not fit; the message has the estimate, what there is, and what would fit.
    """
    room, batch = int(available / MARGIN) - beside, -(-batch_size // accumulate)
    plain = step_memory(network, batch, value_bytes, averaged=averaged).total
    kept_all = CheckpointPlan(peak_bytes=plain, plain_bytes=plain)
    if isinstance(network, Detector):
        choice = "keep"  # its layers are never computed twice
    if isinstance(network, Detector) or choice == "keep" or (choice == "auto" and plain <= room):
        plan = kept_all
    else:
        plan = make_plan(network, batch, value_bytes=value_bytes, averaged=averaged)
    if plan.peak_bytes <= room:
        return plan
    remedies: list[str] = []
    kept = CheckpointPlan() if choice == "keep" else plan
    if choice == "keep" and not isinstance(network, Detector):
        saving = make_plan(network, batch, value_bytes=value_bytes, averaged=averaged)
        remedies += ["--memory save"] if saving.peak_bytes <= room else []
    fitting = range(1, batch)
    largest = bisect_right(fitting, room, key=lambda n: step_memory(network, n, value_bytes, kept, averaged).total)
    if largest:
        remedies.append(f"--batch-size {largest * accumulate}")
    raise InputError(
        f"{network.name}: {counted(batch, 'image')} at a time {'takes' if batch == 1 else 'take'} about "
        f"{told_bytes(plan.peak_bytes)} with --memory "
        f"{choice}{f', the teacher {told_bytes(beside)}' if beside else ''}, {told_bytes(available)} are free; "
        + (f"use {' or '.join(remedies)}" if remedies else "choose a smaller network, or a machine with more memory")
    )


def available_bytes(device: torch.device) -> int:
    """Bytes that a process may still take on `device`: what the machine has free, within the limits set for it."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":  # which shares the machine's memory, and is given a part of it
        return min(free_bytes(), torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return free_bytes()


class _Run:
    """A step of the chain as modules: what is called, whether again, and what has to be as it was then."""

    def __init__(self, network: ResidualNetwork, step: Segment) -> None:
        self.parts = [network.get_submodule(link.name) for link in step.links]
        self.opens, self.closes, self.again = step.links[0].opens, step.links[-1].closes, step.again
        within = [module for part in self.parts for module in part.modules()]
        self.norms = [module for module in within if isinstance(module, nn.BatchNorm2d)]
        self.random = any(isinstance(module, _RANDOM) for module in within)

    def __call__(self, *pieces: Tensor) -> Tensor:
        x = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)
        for part in self.parts:
            x = part(x)
        return x

    def contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _uncounted(self.norms)


def _through(runs: list[_Run], x: Tensor) -> Tensor:
    """The chain from image to logits; within dense units the map is kept in pieces, concatenated where it is used."""
    pieces, held = [x], [x]
    for run in runs:
        if run.opens:
            held = pieces
        if run.again:
            y = checkpoint(
                run,
                *pieces,
                use_reentrant=False,
                preserve_rng_state=run.random,
                context_fn=run.contexts,
                determinism_check="none",  # what runs again is the same by construction
            )
        else:
            y = run(*pieces)
        pieces = [*held, y] if run.closes else [y]
    return y


@contextmanager
def _uncounted(norms: list[nn.BatchNorm2d]) -> Iterator[None]:
    """Within it, norms that see a batch leave their running statistics alone: these move in copies."""
    moving = [norm for norm in norms if norm.training]
    before = [dict(norm._buffers) for norm in moving]
    for norm, buffers in zip(moving, before, strict=True):
        norm._buffers.update({name: tensor.clone() for name, tensor in buffers.items() if tensor is not None})
    try:
        yield
    finally:
        for norm, buffers in zip(moving, before, strict=True):
            norm._buffers.update(buffers)
