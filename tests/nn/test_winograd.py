import copy
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deepres.nn.create import create_model
from deepres.nn.kernels import winograd
from deepres.nn.kernels.step import ByKernels, by_kernels

needs_kernels = pytest.mark.usefixtures("built_kernels")


SHAPES = [(3, 16, 32, 9, 7), (1, 32, 16, 4, 5), (2, 160, 144, 6, 11), (1, 256, 128, 7, 7), (5, 16, 16, 32, 32)]


def _drawn(shape: tuple[int, int, int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    images, into, out, height, width = shape
    made = torch.Generator().manual_seed(1)
    maps = torch.randn(images, into, height, width, generator=made)
    weights = torch.randn(out, into, 3, 3, generator=made) / (3 * into**0.5)
    return maps, weights, torch.randn(images, out, height, width, generator=made)


def _passes(maps: Tensor, weights: Tensor, back: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    maps, weights = maps.clone().requires_grad_(), weights.clone().requires_grad_()
    made = functional.conv2d(maps, weights, bias, padding=1)
    return made.detach(), *torch.autograd.grad(made, (maps, weights), back)


def _error(found: Tensor, exact: Tensor) -> float:
    return float(((found - exact).square().mean() / exact.square().mean()).sqrt())


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_all_three_passes_are_the_sums_in_double_precision(
    shape: tuple[int, int, int, int, int], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    drawn = _drawn(shape)
    exact = _passes(*(tensor.double() for tensor in drawn))
    with ByKernels():
        found = _passes(*drawn)
    assert all(0 < _error(*pair) < 4e-6 for pair in zip(found, exact, strict=True))
    assert all(ours.shape == theirs.shape for ours, theirs in zip(found, exact, strict=True))


@pytest.mark.slow
@needs_kernels
def test_fewer_threads_than_asked_for_compute_all_of_it() -> None:
    """OpenMP may give fewer: a limit on threads, a region within another."""
    program = """
import torch
from deepres.nn.kernels import winograd
torch.get_num_threads = lambda: 3
draw = lambda *shape: torch.randn(shape, generator=torch.Generator().manual_seed(0))
for channels in (16, 144):  # blocks of a thread's own, blocks that all share
    maps, weights, back = draw(2, channels, 9, 8), draw(channels, channels, 3, 3), draw(2, channels, 9, 8)
    wanted = torch.nn.functional.conv2d(maps, weights, padding=1), torch.nn.grad.conv2d_weight(
        maps, weights.shape, back, padding=1
    )
    found = winograd.convolve(maps, weights, False), winograd.weight_gradient(maps, back)
    assert all(torch.allclose(*pair, rtol=1e-3, atol=1e-2) for pair in zip(found, wanted, strict=True))
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "OMP_THREAD_LIMIT": "1"})


@needs_kernels
def test_layout_and_bias_change_nothing() -> None:
    maps, weights, back = _drawn((2, 16, 32, 8, 8))
    bias = torch.arange(32.0)
    with ByKernels():
        plain = _passes(maps, weights, back, bias)
        last = _passes(maps.contiguous(memory_format=torch.channels_last), weights, back, bias)
        cut = _passes(torch.cat([maps, maps])[::2][:1].expand(2, -1, -1, -1), weights, back, bias)
    assert all(torch.equal(*pair) for pair in zip(plain, last, strict=True))
    assert torch.equal(cut[0][0], cut[0][1])
    assert torch.allclose(plain[0].mean((0, 2, 3)), functional.conv2d(maps, weights, bias, padding=1).mean((0, 2, 3)))


@needs_kernels
def test_a_value_that_is_no_number_stays_one() -> None:
    maps, weights, _ = _drawn((1, 16, 16, 8, 8))
    maps[0, 3, 2, 2] = float("nan")
    with ByKernels():
        assert functional.conv2d(maps, weights, padding=1).isnan().any()


@needs_kernels
def test_subnormal_numbers_stay_what_they_are_in_this_process() -> None:
    winograd.KERNELS.lacking()
    assert float(torch.tensor(1e-40) * 1) > 0


@pytest.mark.parametrize(
    "asked",
    [
        lambda x, w: functional.conv2d(x, w),
        lambda x, w: functional.conv2d(x, w, stride=2, padding=1),
        lambda x, w: functional.conv2d(x, w, padding=2, dilation=2),
        lambda x, w: functional.conv2d(x, w, padding="same"),
        lambda x, w: functional.conv2d(x[:, :8], w[:, :8], padding=1),
        lambda x, w: functional.conv2d(x, w[:, :8], padding=1, groups=2),
        lambda x, w: functional.conv2d(x, w[:, :, :1, :1], padding=1),
        lambda x, w: functional.conv2d(x.double(), w.double(), padding=1),
        lambda x, w: functional.conv2d(x[:, :, :2, :2], w, padding=1),
        lambda x, w: functional.conv2d(x[:0], w, padding=1),
        lambda x, w: functional.conv2d(x[0], w, padding=1),
    ],
)
def test_what_does_not_fit_is_left_to_torch(asked: Callable[[Tensor, Tensor], Tensor]) -> None:
    maps, weights, _ = _drawn((2, 16, 16, 8, 8))
    wanted = asked(maps, weights)
    with ByKernels():
        assert torch.equal(asked(maps, weights), wanted)


@needs_kernels
def test_a_step_differs_by_rounding_and_repeats_bitwise() -> None:
    network = create_model("resnet20_cifar", num_classes=3).train()
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def gradients(take: Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]) -> list[Tensor]:
        twin = copy.deepcopy(network)
        functional.cross_entropy(take(twin)(images), torch.tensor([0, 1, 2, 0])).backward()
        return [value.grad for value in twin.parameters() if value.grad is not None]

    torch_alone, ours, again = (
        gradients(lambda net: net),
        gradients(by_kernels),
        gradients(by_kernels),
    )
    assert all(torch.equal(*pair) for pair in zip(ours, again, strict=True))
    assert not all(torch.equal(*pair) for pair in zip(ours, torch_alone, strict=True))
    assert all(torch.allclose(*pair, rtol=1e-2, atol=1e-4) for pair in zip(ours, torch_alone, strict=True))


@needs_kernels
def test_kernels_may_first_be_asked_for_within_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(winograd.KERNELS, "library")
    drawn = _drawn((2, 16, 16, 8, 8))
    with ByKernels():
        found = _passes(*drawn)
    assert all(torch.allclose(*pair, atol=1e-3) for pair in zip(found, _passes(*drawn), strict=True))
