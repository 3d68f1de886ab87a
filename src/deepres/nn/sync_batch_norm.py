"""Batch norm over the batches of all processes: statistics, and the gradient through them, are those of the whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from deepres.base.errors import InputError, shared
from deepres.nn.build import ResidualNetwork


@contextmanager
def synced(network: ResidualNetwork, group: dist.ProcessGroup | None) -> Iterator[None]:
    """Within it, norms in training mode use mean and variance over the images of all processes of `group`.

    Each process has to make the same passes; names of parameters and evaluation stay as they are. Afterwards the
    network is as it was, also after an exception.

    Raises:
        InputError: the network leaves columns out at random, each process others, so that passes would differ.
    """
    if any(join.local_drop or join.global_share for join in network.joins):
        raise shared(
            InputError(
                f"train.sync_norm: {network.description.name} leaves out columns at random, each process others; "
                "set train.sync_norm=false"
            )
        )
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.forward = partial(_forward, norm, norm.forward, group)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _forward(norm: nn.BatchNorm2d, plain: Any, group: dist.ProcessGroup | None, x: Tensor) -> Tensor:
    if not norm.training:
        y: Tensor = plain(x)
        return y
    mean, squares, count = _whole(x.detach(), group)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    with torch.no_grad():
        norm.num_batches_tracked += 1
        newest = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, newest)
        norm.running_var.lerp_(squares / (count - 1), newest)
    normalised: Tensor = _Normalise.apply(x, norm.weight, norm.bias, mean, squares / count, norm.eps, count, group)
    return normalised


def _whole(x: Tensor, group: dist.ProcessGroup | None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), sum of squared deviations from it (C,), and number of values of a channel, over all processes.

    Each process' own s_r, n_r, m_r are put together in float64: sum of squares = sum_r (s_r + n_r (m_r - m)^2).
    """
    variances, means = torch.var_mean(_wide(x), dim=(0, 2, 3), correction=0)
    number = means.new_full((1,), x.numel() // x.shape[1])
    own = torch.cat([means.double(), (variances * number).double(), number.double()])
    everyone = own.new_empty(dist.get_world_size(group) * len(own))
    dist.all_gather_into_tensor(everyone, own, group=group)
    everyone = everyone.view(-1, len(own))
    each_mean, each_squares, numbers = everyone[:, : len(means)], everyone[:, len(means) : -1], everyone[:, -1:]
    count = numbers.sum()
    mean = (each_mean * numbers).sum(0) / count
    squares = (each_squares + numbers * (each_mean - mean) ** 2).sum(0)
    return mean.to(means.dtype), squares.to(means.dtype), count.to(means.dtype)


class _Normalise(torch.autograd.Function):
    """y = w (x - mean) / sqrt(variance + eps) + b, with the gradient that flows through mean and variance."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        count: Tensor,
        group: dist.ProcessGroup | None,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        ctx.group = group
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        dy = _wide(gradients[0])
        normal = (_wide(x) - mean[:, None, None]) * scale[:, None, None]
        sums = torch.stack([dy.sum((0, 2, 3)), (dy * normal).sum((0, 2, 3))])
        total = sums.clone()
        dist.all_reduce(total, group=ctx.group)
        along = total / count
        factor = scale if weight is None else scale * weight
        dx = factor[:, None, None] * (dy - along[0][:, None, None] - normal * along[1][:, None, None])
        own = (None, None) if weight is None else (sums[1].to(weight.dtype), sums[0].to(weight.dtype))
        return dx.to(x.dtype), *own, None, None, None, None, None


def _wide(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
