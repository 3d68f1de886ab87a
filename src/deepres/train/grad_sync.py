"""What the processes of a run exchange in a step: sums of gradients and figures, means of running norm statistics."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from deepres.tasks.losses import Counts
from deepres.train.distributed import Distributed, lost_said

BUCKET_BYTES = 25 * 2**20
"""Gradients travel in pieces of about this size, the last layers' first, while the backward pass goes on."""


class GradSync:
    """Steps of `batch_size` images, dealt out to `processes`; nothing happens where there is one.

    With `own_norms` each process normalises with its own images, in `pieces` a step; running norm statistics end
    up as if one process had met the pieces of process 0, 1, … one after another.
    """

    def __init__(
        self, processes: Distributed, network: nn.Module, batch_size: int, pieces: int, own_norms: bool = True
    ) -> None:
        self._processes = processes
        self._network = network
        self._batch_size = batch_size
        self._norms = _Norms(network, pieces, processes) if own_norms and processes.size > 1 else None

    def planned(self, batch: int) -> int:
        """The images that a loss is divided by: those of the whole step, or `batch` where one process trains alone."""
        return batch if self._processes.size == 1 else self._batch_size

    @contextmanager
    def summing(self) -> Iterator[None]:
        """The last backward pass of a step; inside, gradients become the sums over all processes, the same on each.

        A parameter that no process has used keeps no gradient. Running statistics are made the same too.
        """
        if self._processes.size == 1:
            yield
            return
        if self._norms is not None:
            self._norms.send()
        buckets = [_Bucket(tensors, self._processes.data) for tensors in _bucketed(self._network)]
        order = _InOrder(buckets)
        hooks = [
            parameter.register_post_accumulate_grad_hook(order.ready)  # type: ignore[no-untyped-call]
            for bucket in buckets
            for parameter in bucket.parameters
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        order.finish()
        if self._norms is not None:
            self._norms.receive()
        for bucket in buckets:
            bucket.wait()
            bucket.put_gradients()

    def totals(self, mean_loss: Tensor, counts: Counts, images: int) -> tuple[Tensor, Counts, int]:
        """Mean loss, counts and number of images of the whole step; gradients are put right where some were bad."""
        if self._processes.size == 1:
            return mean_loss, counts, images
        own = [mean_loss, mean_loss.new_tensor(float(images)), *counts.values()]
        figures = torch.stack([value.double() for value in own])
        with lost_said():
            dist.all_reduce(figures, group=self._processes.data)
        seen, summed = int(figures[1]), dict(zip(counts, figures[2:], strict=True))
        if seen == self._batch_size:
            return figures[0], summed, seen
        factor = self._batch_size / seen
        torch._foreach_mul_([p.grad for p in self._network.parameters() if p.grad is not None], factor)
        return figures[0] * factor, summed, seen


class _Norms:
    """Running statistics r: a process that meets a piece with statistics s makes them (1 - m) r + m s, m the momentum.

    After k pieces that is (1 - m)^k r + c. With c_0, c_1, … of the processes in order, the whole step makes them
    (1 - m)^(k n) r + sum_i (1 - m)^(k (n - 1 - i)) c_i.
    """

    def __init__(self, network: nn.Module, pieces: int, processes: Distributed) -> None:
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        self._norms = [norm for norm in norms if norm.momentum is not None and norm.running_mean is not None]
        self._pieces = pieces
        self._processes = processes
        self._before = [tensor.clone() for tensor in _running(self._norms)]

    @torch.no_grad()
    def send(self) -> None:
        if not self._norms:
            return
        kept = [(1 - (norm.momentum or 0)) ** self._pieces if norm.training else 1.0 for norm in self._norms]
        self._kept = [share for share in kept for _ in range(2)]
        behind = [share ** (self._processes.size - 1 - self._processes.rank) for share in self._kept]
        own = torch._foreach_sub(_running(self._norms), torch._foreach_mul(self._before, self._kept))
        self._bucket = _Bucket(self._before, self._processes.data)
        self._bucket.send(torch._foreach_mul(own, behind))

    @torch.no_grad()
    def receive(self) -> None:
        if not self._norms:
            return
        self._bucket.wait()
        torch._foreach_mul_(self._before, [share**self._processes.size for share in self._kept])
        torch._foreach_add_(self._before, [total for _, total in self._bucket.received()])
        torch._foreach_copy_(_running(self._norms), self._before)
        for norm in self._norms:
            if norm.training and norm.num_batches_tracked is not None:
                norm.num_batches_tracked += self._pieces * (self._processes.size - 1)


def _running(norms: list[nn.BatchNorm2d]) -> list[Tensor]:
    return [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var) if tensor is not None]


class _Bucket:
    """Tensors that travel as one; behind their values stands, for each, how many processes had one."""

    def __init__(self, parameters: list[Tensor], group: dist.ProcessGroup | None) -> None:
        self.parameters = parameters
        self.missing = len(parameters)
        self._group = group
        self._flat = torch.empty(0)
        self._work: dist.Work | None = None

    def send(self, values: Sequence[Tensor | None]) -> None:
        if not values:
            return
        like = self.parameters[0]
        flags = torch.tensor([float(value is not None) for value in values], dtype=like.dtype).to(like.device)
        pairs = zip(values, self.parameters, strict=True)
        pieces = [(torch.zeros_like(tensor) if value is None else value).reshape(-1) for value, tensor in pairs]
        with lost_said(), torch.no_grad():
            self._flat = torch.cat([*pieces, flags])
            self._work = dist.all_reduce(self._flat, group=self._group, async_op=True)

    def wait(self) -> None:
        if self._work is not None:
            with lost_said():
                self._work.wait()

    def received(self) -> Iterator[tuple[Tensor, Tensor]]:
        place = 0
        for tensor in self.parameters:
            yield tensor, self._flat[place : place + tensor.numel()].view(tensor.shape)
            place += tensor.numel()

    def put_gradients(self) -> None:
        pairs = list(self.received())
        own = [(p.grad, total) for p, total in pairs if p.grad is not None]
        if own:
            torch._foreach_copy_([gradient for gradient, _ in own], [total for _, total in own])
        if len(own) < len(pairs):
            used = self._flat[-len(pairs) :].tolist()
            for (parameter, total), count in zip(pairs, used, strict=True):
                if parameter.grad is None and count:
                    parameter.grad = torch.empty_like(parameter).copy_(total)


class _InOrder:
    """Sends buckets as soon as they are whole, in the one order that all processes keep."""

    def __init__(self, buckets: list[_Bucket]) -> None:
        self._buckets = buckets
        self._of = {id(parameter): bucket for bucket in buckets for parameter in bucket.parameters}
        self._sent = 0

    def ready(self, parameter: Tensor) -> None:
        self._of[id(parameter)].missing -= 1
        while self._sent < len(self._buckets) and not self._buckets[self._sent].missing:
            self._send_next()

    def finish(self) -> None:
        while self._sent < len(self._buckets):
            self._send_next()

    def _send_next(self) -> None:
        bucket = self._buckets[self._sent]
        bucket.send([parameter.grad for parameter in bucket.parameters])
        self._sent += 1


def _bucketed(network: nn.Module) -> list[list[Tensor]]:
    """The parameters that learn, from the last to the first, cut into pieces of one kind and about one size."""
    buckets: list[list[Tensor]] = []
    size = BUCKET_BYTES
    for parameter in reversed([p for p in network.parameters() if p.requires_grad]):
        if size >= BUCKET_BYTES or buckets[-1][0].dtype != parameter.dtype:
            buckets.append([])
            size = 0
        buckets[-1].append(parameter)
        size += parameter.numel() * parameter.element_size()
    return buckets
