import _ctypes
import copy
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepres.base.errors import InputError
from deepres.nn import winograd
from deepres.nn.create import create_model

CPU = torch.device("cpu")
needs_kernels = pytest.mark.usefixtures("_kernels")


@pytest.fixture
def _kernels() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64" or shutil.which("g++") is None:
        pytest.skip("Winograd's kernels want Linux on x86-64, and g++")
    assert winograd.lacks(nn.Conv2d(16, 16, 3), CPU, torch.float32) is None


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
    with winograd.ByWinograd():
        found = _passes(*drawn)
    assert all(0 < _error(*pair) < 4e-6 for pair in zip(found, exact, strict=True))
    assert all(ours.shape == theirs.shape for ours, theirs in zip(found, exact, strict=True))


@pytest.mark.slow
@needs_kernels
def test_fewer_threads_than_asked_for_compute_all_of_it() -> None:
    """OpenMP may give fewer: a limit on threads, a region within another."""
    program = """
import torch
from deepres.nn import winograd
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
    with winograd.ByWinograd():
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
    with winograd.ByWinograd():
        assert functional.conv2d(maps, weights, padding=1).isnan().any()


@needs_kernels
def test_subnormal_numbers_stay_what_they_are_in_this_process() -> None:
    winograd.lacks(nn.Conv2d(16, 16, 3), CPU, torch.float32)
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
    with winograd.ByWinograd():
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
        gradients(winograd.by_winograd),
        gradients(winograd.by_winograd),
    )
    assert all(torch.equal(*pair) for pair in zip(ours, again, strict=True))
    assert not all(torch.equal(*pair) for pair in zip(ours, torch_alone, strict=True))
    assert all(torch.allclose(*pair, rtol=1e-2, atol=1e-4) for pair in zip(ours, torch_alone, strict=True))


def test_why_a_step_is_not_taken_by_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    layer = nn.Conv2d(16, 16, 3)
    assert winograd.lacks(layer, torch.device("cuda"), torch.float32) == "only in float32 on a CPU"
    assert winograd.lacks(layer, CPU, torch.bfloat16) == "only in float32 on a CPU"
    assert winograd.lacks(nn.Conv2d(16, 16, 1), CPU, torch.float32) == "no layer that fits"
    monkeypatch.setattr(winograd, "_kernels", winograd._kernels.__wrapped__)
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    assert winograd.lacks(layer, CPU, torch.float32) is not None
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path / "cache"))
    assert "kernels" in str(winograd.lacks(layer, CPU, torch.float32))


@pytest.mark.medium
@needs_kernels
def test_a_cache_that_cannot_be_written_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(winograd, "_kernels", winograd._kernels.__wrapped__)
    assert "cannot be built here" in str(winograd.lacks(nn.Conv2d(16, 16, 3), CPU, torch.float32))


@needs_kernels
def test_kernels_may_first_be_asked_for_within_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "_kernels", winograd._kernels.__wrapped__)
    drawn = _drawn((2, 16, 16, 8, 8))
    with winograd.ByWinograd():
        found = _passes(*drawn)
    assert all(torch.allclose(*pair, atol=1e-3) for pair in zip(found, _passes(*drawn), strict=True))


@pytest.mark.medium
@needs_kernels
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_kernels_that_compute_something_else_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = tmp_path / "winograd.cpp"
    wrong.write_text(winograd.SOURCE.read_text().replace("4.f * d[0] - 5.f * d[2]", "4.f * d[0] - 4.f * d[2]"))
    monkeypatch.setattr(winograd, "SOURCE", wrong)
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="do not compute a convolution"):
        winograd._kernels.__wrapped__()


@pytest.mark.medium
@needs_kernels
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
@pytest.mark.parametrize("damage", ["cut", "of something else"])
def test_kernels_that_are_damaged_in_the_cache_are_built_anew(
    damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path / "first"))
    winograd._kernels.__wrapped__()
    (whole,) = (tmp_path / "first/kernels").iterdir()
    damaged = whole.read_bytes()[:1000] if damage == "cut" else Path(_ctypes.__file__).read_bytes()
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path / "second"))
    kept = tmp_path / "second/kernels" / whole.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(damaged)
    assert winograd._kernels.__wrapped__().scratch_of is not None
    assert kept.read_bytes() != damaged
