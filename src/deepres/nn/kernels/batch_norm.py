"""Batch norm of a compiled step: y = (x - mean) / sqrt(var + eps) * weight + bias, its sums by kernels of ours.

What torch's compiler makes of these sums gives each thread some channels of all the maps, so that every thread reads
all of them; the kernels in `batch_norm.cpp` give it some of the pixels. What is done pixel by pixel stays the
compiler's, which joins it to what stands before and behind.
"""

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.nn.kernels.built import Built, operator

LANES = 8
"""Channels come in whole vectors of so many."""

_LAST = torch.channels_last


def fits(maps: Tensor, training: bool) -> bool:
    """Whether the norm of these maps [N, C, H, W] is by their own statistics, and of a shape that the kernels take."""
    kinds = training and maps.dim() == 4 and maps.dtype == torch.float32 and maps.device.type == "cpu"
    return kinds and not maps.shape[1] % LANES and maps.shape[0] * maps.shape[2] * maps.shape[3] > 1


def batch_norm(
    maps: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: ARG001
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`functional.batch_norm` in training, of maps that fit; running statistics move as there (unbiased variance)."""
    made, mean, variance = _Normalised.apply(maps, weight, bias, eps)
    count = maps.numel() // maps.shape[1]
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean, momentum)
        if running_var is not None:
            running_var.lerp_(variance * (count / (count - 1)), momentum)
    result: Tensor = made
    return result


class _Normalised(torch.autograd.Function):
    """The norm of maps, and the mean and biased variance it was taken with."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        mean, variance = torch.ops.deepres.moments(maps)
        rate = (variance + eps).rsqrt()
        ctx.save_for_backward(maps, weight, mean, rate)
        ctx.mark_non_differentiable(mean, variance)
        made = (maps - _column(mean)) * _column(rate if weight is None else rate * weight)
        return made if bias is None else made + _column(bias), mean, variance

    @staticmethod
    def backward(ctx: Any, back: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, mean, rate = ctx.saved_tensors
        count = maps.numel() // maps.shape[1]
        plain, along = torch.ops.deepres.gradient_sums(maps, back, mean)
        apart = (maps - _column(mean)) * _column(along * rate * rate / count)
        to_maps = (back - _column(plain / count) - apart) * _column(rate if weight is None else rate * weight)
        wanted = ctx.needs_input_grad
        return to_maps, along * rate if wanted[1] else None, plain if wanted[2] else None, None


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]


def _require_right(kernels: ctypes.CDLL) -> None:
    """Raises InputError where the sums are not those that they are in double precision."""
    made = torch.Generator().manual_seed(0)
    maps, back = (torch.randn(3, 312, 13, 11, generator=made).contiguous(memory_format=_LAST) for _ in "xg")
    mean = torch.randn(312, generator=made)
    over, exact, gradient = (0, 2, 3), maps.double(), back.double()
    wanted = (
        *(exact.mean(over), exact.var(over, correction=0)),
        *(gradient.sum(over), (gradient * (exact - _column(mean))).sum(over)),
    )
    found = (*_moments(kernels, maps), *_gradient_sums(kernels, maps, back, mean))
    for ours, theirs in zip(found, wanted, strict=True):
        if not torch.allclose(ours.double(), theirs, rtol=1e-4, atol=1e-3):
            raise InputError("kernels of batch norm as built here do not compute its sums")


_FUNCTIONS = {"parts_of": "ll", "moments": "pllippp", "gradient_sums": "pppllippp"}
KERNELS = Built("kernels of batch norm", Path(__file__).with_suffix(".cpp"), _FUNCTIONS, _require_right)


def _moments(kernels: ctypes.CDLL, maps: Tensor) -> tuple[Tensor, Tensor]:
    maps = maps.contiguous(memory_format=_LAST)
    channels, rows = maps.shape[1], maps.numel() // maps.shape[1]
    parts, mean, variance = torch.empty(kernels.parts_of(rows, channels)), torch.empty(channels), torch.empty(channels)
    given = parts.data_ptr(), mean.data_ptr(), variance.data_ptr()
    kernels.moments(maps.data_ptr(), rows, channels, torch.get_num_threads(), *given)
    return mean, variance


def _gradient_sums(kernels: ctypes.CDLL, maps: Tensor, back: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    maps, back, mean = (*(one.contiguous(memory_format=_LAST) for one in (maps, back)), mean.contiguous())
    channels, rows = maps.shape[1], maps.numel() // maps.shape[1]
    parts, plain, along = torch.empty(kernels.parts_of(rows, channels)), torch.empty(channels), torch.empty(channels)
    taken = maps.data_ptr(), back.data_ptr(), mean.data_ptr()
    given = parts.data_ptr(), plain.data_ptr(), along.data_ptr()
    kernels.gradient_sums(*taken, rows, channels, torch.get_num_threads(), *given)
    return plain, along


def moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] of maps [N, C, H, W]."""
    return _moments(KERNELS.library, maps)


def gradient_sums(maps: Tensor, back: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Sums [C] over images and pixels of gradients [N, C, H, W] behind a norm, and of them times (maps - mean)."""
    return _gradient_sums(KERNELS.library, maps, back, mean)


operator(
    "moments(Tensor maps) -> (Tensor, Tensor)",
    moments,
    lambda maps: (maps.new_empty(maps.shape[1]), maps.new_empty(maps.shape[1])),
)
operator(
    "gradient_sums(Tensor maps, Tensor back, Tensor mean) -> (Tensor, Tensor)",
    gradient_sums,
    lambda _maps, _back, mean: (torch.empty_like(mean), torch.empty_like(mean)),
)
