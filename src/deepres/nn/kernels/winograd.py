"""3x3 convolutions and their gradients in float32 by Winograd's F(4x4, 3x3).

A quarter of the products of the sums that define a convolution; what comes out differs from them by rounding alone,
a few times as much as two orders of summation do. The kernels are in `winograd.cpp`.
"""

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional, grad

from deepres.base.errors import InputError
from deepres.nn.kernels.built import Built, operator, scratch

PANEL = 16
"""Channels come in whole panels of so many."""

FEWER = 1.5
"""A map is taken where the sums have that many times the products at least: small ones do not fill tiles of 4x4."""

_LAST = torch.channels_last


def fits(
    maps: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,  # noqa: ARG001
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    """Whether `torch.conv2d` of these arguments is what the kernels carry out, and takes fewer products by them."""
    kinds = maps.dtype == weights.dtype == torch.float32 and maps.device.type == weights.device.type == "cpu"
    ones = ((1, 1), [1, 1], 1)
    if not kinds or maps.dim() != 4 or stride not in ones or padding not in ones or dilation not in ones or groups != 1:
        return False
    height, width = maps.shape[2:]
    out, into = weights.shape[:2]
    if tuple(weights.shape[2:]) != (3, 3) or out % PANEL or into % PANEL:
        return False
    tiles = -(-height // 4) * -(-width // 4)
    return bool(9 * height * width >= FEWER * 36 * tiles and maps.shape[0] > 0)


def _require_right(kernels: ctypes.CDLL) -> None:
    """Raises InputError where the kernels do not give what torch gives, on maps that do not fill their tiles."""
    made = torch.Generator().manual_seed(0)
    maps, back = torch.randn(2, 16, 7, 9, generator=made), torch.randn(2, 32, 7, 9, generator=made)
    weights = torch.randn(32, 16, 3, 3, generator=made)
    maps, back, weights = (tensor.contiguous(memory_format=_LAST) for tensor in (maps, back, weights))
    wanted = (
        functional.conv2d(maps, weights, padding=1),
        grad.conv2d_input(maps.shape, weights, back, padding=1),  # type: ignore[no-untyped-call]
        grad.conv2d_weight(maps, weights.shape, back, padding=1),  # type: ignore[no-untyped-call]
    )
    found = (_convolved(kernels, maps, weights, False), _convolved(kernels, back, weights, True))
    for ours, theirs in zip((*found, _gradient(kernels, maps, back)), wanted, strict=True):
        if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
            raise InputError("Winograd's kernels as built here do not compute a convolution")


_FUNCTIONS = {
    "scratch_of": "llllli",
    "weights_to": "plliip",
    "convolve": "ppplllllip",
    "weight_gradient": "ppplllllip",
}
KERNELS = Built("Winograd's kernels", Path(__file__).with_suffix(".cpp"), _FUNCTIONS, _require_right)


def _convolved(kernels: ctypes.CDLL, maps: Tensor, weights: Tensor, turned: bool) -> Tensor:
    maps, weights = maps.contiguous(memory_format=_LAST), weights.contiguous(memory_format=_LAST)
    images, into, height, width = maps.shape
    out, threads = weights.shape[1 if turned else 0], torch.get_num_threads()
    ready = torch.empty(36 * into * out)
    kernels.weights_to(weights.data_ptr(), into, out, turned, threads, ready.data_ptr())
    made = torch.empty(images, out, height, width, memory_format=_LAST)
    about = images, height, width, into, out, threads
    room = scratch(kernels.scratch_of(*about))
    kernels.convolve(maps.data_ptr(), ready.data_ptr(), made.data_ptr(), *about, room)
    return made


def _gradient(kernels: ctypes.CDLL, maps: Tensor, back: Tensor) -> Tensor:
    maps, back = maps.contiguous(memory_format=_LAST), back.contiguous(memory_format=_LAST)
    images, into, height, width = maps.shape
    out = back.shape[1]
    made = torch.empty(out, into, 3, 3, memory_format=_LAST)
    about = images, height, width, into, out, torch.get_num_threads()
    room = scratch(kernels.scratch_of(*about))
    kernels.weight_gradient(maps.data_ptr(), back.data_ptr(), made.data_ptr(), *about, room)
    return made


def convolve(maps: Tensor, weights: Tensor, turned: bool) -> Tensor:
    """`conv2d(maps, weights, padding=1)` [N, out, H, W]; `turned`: its transpose, from gradients back to maps."""
    return _convolved(KERNELS.library, maps, weights, turned)


def weight_gradient(maps: Tensor, back: Tensor) -> Tensor:
    """The gradient of weights [out, in, 3, 3]: from maps [N, in, H, W], and gradients [N, out, H, W] behind them."""
    return _gradient(KERNELS.library, maps, back)


operator(
    "convolve(Tensor maps, Tensor weights, bool turned) -> Tensor",
    convolve,
    lambda maps, weights, turned: _shaped(maps.shape[0], weights.shape[1 if turned else 0], *maps.shape[2:], of=maps),
)
operator(
    "weight_gradient(Tensor maps, Tensor back) -> Tensor",
    weight_gradient,
    lambda maps, back: _shaped(back.shape[1], maps.shape[1], 3, 3, of=maps),
)


def _shaped(*shape: int, of: Tensor) -> Tensor:
    return torch.empty(shape, device=of.device, memory_format=_LAST)


def conv2d(maps: Tensor, weights: Tensor, bias: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    """`torch.conv2d` of arguments that fit."""
    made: Tensor = _Convolved.apply(maps, weights)
    return made if bias is None else made + bias[:, None, None]


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(maps, weights)
        made: Tensor = torch.ops.deepres.convolve(maps, weights, False)
        return made

    @staticmethod
    def backward(ctx: Any, back: Tensor) -> tuple[Tensor | None, Tensor | None]:
        maps, weights = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            torch.ops.deepres.convolve(back, weights, True) if wanted[0] else None,
            torch.ops.deepres.weight_gradient(maps, back) if wanted[1] else None,
        )
