"""Convolutions that skip pixels: torch's, but for the gradient of the weights, which takes it twice as long as ours.

The kernel is in `strided.cpp`; its sums are those that define the gradient, and nearer to exact ones than torch's.
"""

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import grad

from deepres.base.errors import InputError
from deepres.nn.kernels.built import Built, operator, scratch

PANEL = 16
"""Channels that come out are whole panels of so many."""

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
    """Whether `torch.conv2d` of these arguments has kernels of odd side, in the middle of which each output stands."""
    kinds = maps.dtype == weights.dtype == torch.float32 and maps.device.type == weights.device.type == "cpu"
    if not kinds or maps.dim() != 4 or not maps.numel() or weights.shape[0] % PANEL:
        return False
    side, across = weights.shape[2:]
    if (
        side != across
        or side < 3
        or not side % 2
        or padding not in ((side // 2, side // 2), [side // 2] * 2, side // 2)
    ):
        return False
    return groups == 1 and dilation in ((1, 1), [1, 1], 1) and _skipped(stride) > 1


def _skipped(stride: Any) -> int:
    """The stride along both axes, 0 where they differ."""
    steps = {stride} if isinstance(stride, int) else set(stride)
    return steps.pop() if len(steps) == 1 else 0


def conv2d(maps: Tensor, weights: Tensor, bias: Tensor | None = None, stride: Any = 1, *_: Any, **__: Any) -> Tensor:
    """`torch.conv2d` of arguments that fit."""
    made: Tensor = _Convolved.apply(maps, weights, _skipped(stride))
    return made if bias is None else made + bias[:, None, None]


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weights: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(maps, weights)
        ctx.stride = stride
        return torch.conv2d(maps, weights, None, stride, weights.shape[2] // 2)

    @staticmethod
    def backward(ctx: Any, back: Tensor) -> tuple[Tensor | None, ...]:
        maps, weights = ctx.saved_tensors
        side, stride = weights.shape[2], ctx.stride
        to_maps = to_weights = None
        if ctx.needs_input_grad[0]:
            how = None, [stride, stride], [side // 2, side // 2], [1, 1], False, [0, 0], 1, [True, False, False]
            to_maps = torch.ops.aten.convolution_backward(back, maps, weights, *how)[0]
        if ctx.needs_input_grad[1]:
            to_weights = torch.ops.deepres.strided_gradient(maps, back, side, stride)
        return to_maps, to_weights, None


def _require_right(kernels: ctypes.CDLL) -> None:
    """Raises InputError where the kernel does not give what torch gives."""
    made = torch.Generator().manual_seed(0)
    maps, back = torch.randn(2, 3, 11, 14, generator=made), torch.randn(2, 32, 6, 7, generator=made)
    for side in (3, 5):
        wanted = grad.conv2d_weight(maps, (32, 3, side, side), back, stride=2, padding=side // 2)  # type: ignore[no-untyped-call]
        if not torch.allclose(_gradient(kernels, maps, back, side, 2), wanted, rtol=1e-3, atol=1e-3):
            raise InputError("kernels of strided convolutions as built here do not compute their gradient")


_FUNCTIONS = {"strided_scratch_of": "llllllli", "strided_gradient": "ppplllllllip"}
KERNELS = Built("kernels of strided convolutions", Path(__file__).with_suffix(".cpp"), _FUNCTIONS, _require_right)


def _gradient(kernels: ctypes.CDLL, maps: Tensor, back: Tensor, side: int, stride: int) -> Tensor:
    maps, back = maps.contiguous(memory_format=_LAST), back.contiguous(memory_format=_LAST)
    images, into, height, width = maps.shape
    out = back.shape[1]
    made = torch.empty(out, into, side, side, memory_format=_LAST)
    about = images, height, width, into, out, side, stride, torch.get_num_threads()
    room = scratch(kernels.strided_scratch_of(*about))
    kernels.strided_gradient(maps.data_ptr(), back.data_ptr(), made.data_ptr(), *about, room)
    return made


def strided_gradient(maps: Tensor, back: Tensor, side: int, stride: int) -> Tensor:
    """The gradient of weights [out, in, side, side]: from maps [N, in, H, W], gradients [N, out, H / stride, …]."""
    return _gradient(KERNELS.library, maps, back, side, stride)


operator(
    "strided_gradient(Tensor maps, Tensor back, int side, int stride) -> Tensor",
    strided_gradient,
    lambda maps, back, side, _stride: torch.empty(
        back.shape[1], maps.shape[1], side, side, device=maps.device, memory_format=_LAST
    ),
)
