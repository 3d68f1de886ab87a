"""Convolutions that skip pixels: their gradients are those of double precision, whatever the shape and the threads."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deepres.nn.kernels import strided
from deepres.nn.kernels.step import ByKernels

needs_kernels = pytest.mark.usefixtures("built_kernels")


SHAPES = [(3, 16, 32, 9, 7, 3, 2), (2, 3, 64, 23, 18, 7, 2), (1, 5, 16, 1, 1, 3, 2), (2, 144, 48, 16, 16, 3, 2)]
SHAPES += [(2, 7, 16, 2, 3, 5, 2), (1, 16, 16, 40, 40, 3, 3), (5, 3, 16, 13, 13, 11, 4)]


def _drawn(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    images, into, out, height, width, side, stride = shape
    made = torch.Generator().manual_seed(1)
    maps = torch.randn(images, into, height, width, generator=made)
    weights = torch.randn(out, into, side, side, generator=made) / (side * into**0.5)
    rows, columns = ((along - 1) // stride + 1 for along in (height, width))
    return maps, weights, torch.randn(images, out, rows, columns, generator=made)


def _passes(maps: Tensor, weights: Tensor, back: Tensor, stride: Any, bias: Tensor | None = None) -> list[Tensor]:
    maps, weights = maps.clone().requires_grad_(), weights.clone().requires_grad_()
    made = functional.conv2d(maps, weights, bias, stride, weights.shape[2] // 2)
    return [made.detach(), *torch.autograd.grad(made, (maps, weights), back)]


def _error(found: Tensor, exact: Tensor) -> float:
    return float(((found - exact).square().mean() / exact.square().mean()).sqrt())


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_all_three_passes_are_the_sums_in_double_precision(
    shape: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    drawn, stride = _drawn(shape), shape[-1]
    exact = _passes(*(tensor.double() for tensor in drawn), stride)
    calls = []
    monkeypatch.setattr(
        strided.KERNELS, "library", _counted(strided.KERNELS.library, calls)
    )  # the sums are ours, and not torch's again
    with ByKernels():
        found = _passes(*drawn, stride)
    assert calls == ["strided_gradient"]
    assert all(_error(*pair) < 1e-6 for pair in zip(found, exact, strict=True))
    assert all(ours.shape == theirs.shape for ours, theirs in zip(found, exact, strict=True))


def _counted(library: object, calls: list[str]) -> object:
    class Counted:
        def __getattr__(self, name: str) -> object:
            if not name.endswith("_of"):
                calls.append(name)
            return getattr(library, name)

    return Counted()


@needs_kernels
def test_layout_and_bias_change_nothing() -> None:
    maps, weights, back = _drawn((2, 16, 32, 8, 8, 3, 2))
    bias = torch.arange(32.0)
    with ByKernels():
        plain = _passes(maps, weights, back, 2, bias)
        last = _passes(maps.contiguous(memory_format=torch.channels_last), weights, back, 2, bias)
        one = _passes(maps, weights, back, (2,), bias)
    assert torch.equal(plain[2], last[2])
    assert torch.equal(plain[2], one[2])
    assert torch.allclose(plain[0], functional.conv2d(maps, weights, bias, 2, 1), atol=1e-5)


@pytest.mark.parametrize(
    "asked",
    [
        lambda x, w: functional.conv2d(x, w, stride=2),
        lambda x, w: functional.conv2d(x, w, stride=(2, 1), padding=1),
        lambda x, w: functional.conv2d(x, w, stride=2, padding=2, dilation=2),
        lambda x, w: functional.conv2d(x, w, stride=1, padding="same"),
        lambda x, w: functional.conv2d(x, w[:, :8], stride=2, padding=1, groups=2),
        lambda x, w: functional.conv2d(x, w[:12], stride=2, padding=1),
        lambda x, w: functional.conv2d(x, w[:, :, :1, :1], stride=2),
        lambda x, w: functional.conv2d(x, w[:, :, :2, :2], stride=2, padding=1),
        lambda x, w: functional.conv2d(x.double(), w.double(), stride=2, padding=1),
        lambda x, w: functional.conv2d(x[:0], w, stride=2, padding=1),
        lambda x, w: functional.conv2d(x[0], w, stride=2, padding=1),
    ],
)
def test_what_does_not_fit_is_left_to_torch(
    asked: Callable[[Tensor, Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, weights, _ = _drawn((2, 16, 16, 8, 8, 3, 2))
    wanted = asked(maps, weights)
    monkeypatch.setattr(strided, "conv2d", None)
    with ByKernels():
        assert torch.equal(asked(maps, weights), wanted)


@needs_kernels
def test_a_value_that_is_no_number_stays_one() -> None:
    maps, weights, back = _drawn((2, 16, 16, 8, 8, 3, 2))
    back[0, 3, 2, 2] = float("nan")
    with ByKernels():
        assert _passes(maps, weights, back, 2)[2].isnan().flatten(1).any(1).nonzero().flatten().tolist() == [3]
