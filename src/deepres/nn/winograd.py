"""3x3 convolutions of a training step on a CPU by Winograd's F(4x4, 3x3), built here by the machine's compiler.

A quarter of the products of the sums that define a convolution; what comes out differs from them by rounding alone,
a few times as much as two orders of summation do. The kernels are in `winograd.cpp`.
"""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional, grad
from torch.overrides import TorchFunctionMode

from deepres.base.errors import InputError
from deepres.base.files import cache_folder, read_bytes, write_atomic
from deepres.nn.environment import hardware

SOURCE = Path(__file__).with_suffix(".cpp")
PANEL = 16
"""Channels come in whole panels of so many."""

FEWER = 1.5
"""A map is taken where the sums have that many times the products at least: small ones do not fill tiles of 4x4."""

_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
_LAST = torch.channels_last


class ByWinograd(TorchFunctionMode):
    """Within it every convolution that `fits` is carried out by Winograd's algorithm, and so are its gradients."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is torch.conv2d and len(args) > 1 and fits(*args, **kwargs):
            made = convolve(args[0], args[1], False)
            bias = args[2] if len(args) > 2 else kwargs.get("bias")
            return made if bias is None else made + bias[:, None, None]
        return function(*args, **kwargs)


def by_winograd(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same pass, its convolutions by Winograd's algorithm where they fit."""

    def passed(images: Tensor) -> Tensor:
        with ByWinograd():
            return forward(images)

    return passed


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


def lacks(network: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why no step of the network can be taken by these kernels here, None where it can; first asked, it builds them."""
    if device.type != "cpu" or dtype != torch.float32:
        return "only in float32 on a CPU"
    layers = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    if not any(layer.kernel_size == (3, 3) and not layer.in_channels % PANEL for layer in layers):
        return "no layer that fits"
    try:
        _kernels()
    except InputError as cause:
        return str(cause)
    return None


def version() -> str:
    """Digest of the kernels' source and of how it is built."""
    return sha256(read_bytes(SOURCE) + " ".join(_FLAGS).encode()).hexdigest()[:16]


@cache
def _kernels() -> ctypes.CDLL:
    """The kernels, built for this processor once and kept below `cache_folder()`.

    Raises:
        InputError: they cannot be built here, or do not compute what a convolution is.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise InputError("Winograd's kernels are for Linux on x86-64 alone")
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise InputError("no C++ compiler on this machine")
    about = "\0".join((version(), compiler, hardware(torch.device("cpu"))))
    place = cache_folder() / "kernels" / f"{sha256(about.encode()).hexdigest()[:24]}.so"
    try:
        if place.is_file() and _is_whole(read_bytes(place)):
            return _loaded(place)
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "winograd.so"
            subprocess.run([compiler, *_FLAGS, str(SOURCE), "-o", str(made)], check=True, capture_output=True)
            found = _loaded(made)
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place, _sealed(read_bytes(made)))
            return found
    except (OSError, subprocess.CalledProcessError) as cause:
        raise InputError(f"Winograd's kernels cannot be built here ({compiler}: {cause})") from cause


def _sealed(built: bytes) -> bytes:
    """With its digest at the end, which a loader does not look at: one that is cut would end the process."""
    return built + sha256(built).digest()


def _is_whole(kept: bytes) -> bool:
    return kept == _sealed(kept[: -sha256().digest_size])


def _loaded(place: Path) -> ctypes.CDLL:
    found = ctypes.CDLL(str(place))
    found.scratch_of.restype = ctypes.c_long
    _require_right(found)
    return found


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


def _convolved(kernels: ctypes.CDLL, maps: Tensor, weights: Tensor, turned: bool) -> Tensor:
    maps, weights = maps.contiguous(memory_format=_LAST), weights.contiguous(memory_format=_LAST)
    images, into, height, width = maps.shape
    out, threads = weights.shape[1 if turned else 0], torch.get_num_threads()
    ready = torch.empty(36 * into * out)
    kernels.weights_to(_at(weights), *_longs(into, out), int(turned), threads, _at(ready))
    made = torch.empty(images, out, height, width, memory_format=_LAST)
    shape = _longs(images, height, width, into, out)
    scratch = _scratch(kernels.scratch_of(*shape, threads))
    kernels.convolve(_at(maps), _at(ready), _at(made), *shape, threads, _at(scratch))
    return made


def _gradient(kernels: ctypes.CDLL, maps: Tensor, back: Tensor) -> Tensor:
    maps, back = maps.contiguous(memory_format=_LAST), back.contiguous(memory_format=_LAST)
    images, into, height, width = maps.shape
    out, threads = back.shape[1], torch.get_num_threads()
    made = torch.empty(out, into, 3, 3, memory_format=_LAST)
    shape = _longs(images, height, width, into, out)
    scratch = _scratch(kernels.scratch_of(*shape, threads))
    kernels.weight_gradient(_at(maps), _at(back), _at(made), *shape, threads, _at(scratch))
    return made


_kept = threading.local()


def _scratch(floats: int) -> Tensor:
    """Room for what lies between, kept for the next layer: pages that are new to a process cost more than sums."""
    if getattr(_kept, "room", None) is None or len(_kept.room) < floats:
        _kept.room = torch.empty(floats)
    room: Tensor = _kept.room
    return room


def _at(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _longs(*numbers: int) -> tuple[ctypes.c_long, ...]:
    return tuple(ctypes.c_long(number) for number in numbers)


@torch.library.custom_op("deepres::convolve", mutates_args=())
def convolve(maps: Tensor, weights: Tensor, turned: bool) -> Tensor:
    """`conv2d(maps, weights, padding=1)` [N, out, H, W]; `turned`: its transpose, from gradients back to maps."""
    return _convolved(_kernels(), maps, weights, turned)


@torch.library.custom_op("deepres::weight_gradient", mutates_args=())
def weight_gradient(maps: Tensor, back: Tensor) -> Tensor:
    """The gradient of weights [out, in, 3, 3]: from maps [N, in, H, W], and gradients [N, out, H, W] behind them."""
    return _gradient(_kernels(), maps, back)


@convolve.register_fake
def _(maps: Tensor, weights: Tensor, turned: bool) -> Tensor:
    out = weights.shape[1 if turned else 0]
    return torch.empty(maps.shape[0], out, *maps.shape[2:], device=maps.device, memory_format=_LAST)


@weight_gradient.register_fake
def _(maps: Tensor, back: Tensor) -> Tensor:
    return torch.empty(back.shape[1], maps.shape[1], 3, 3, device=maps.device, memory_format=_LAST)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:2])


def _back(context: Any, back: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    maps, weights = context.saved_tensors
    wanted = context.needs_input_grad
    return (
        convolve(back, weights, True) if wanted[0] else None,
        weight_gradient(maps, back) if wanted[1] else None,
        None,
    )


convolve.register_autograd(_back, setup_context=_keep)
