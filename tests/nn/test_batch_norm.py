"""Batch norm by kernels of ours is torch's: in double precision, bit for bit whatever the threads, and compiled."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._inductor.compile_fx import compile_fx
from torch.nn import functional

from deepres.nn.kernels import batch_norm
from deepres.nn.kernels.step import ByKernels, by_kernels

needs_kernels = pytest.mark.usefixtures("built_kernels")


SHAPES = [(3, 16, 9, 7), (1, 8, 2, 1), (2, 2048, 3, 3), (5, 24, 32, 32), (2, 264, 7, 5), (1, 56, 1, 1031)]
Norm = Callable[..., Tensor]


def _drawn(shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    made = torch.Generator().manual_seed(1)
    channels = shape[1]
    maps = torch.randn(shape, generator=made) + 10 * torch.randn(channels, 1, 1, generator=made)
    return maps, *(torch.randn(channels, generator=made) for _ in "wb"), torch.randn(shape, generator=made)


def _passes(norm: Norm, *drawn: Tensor) -> list[Tensor]:
    """What comes out, all gradients, both running statistics."""
    *into, back = drawn
    into = [tensor.clone().requires_grad_() for tensor in into]
    running = torch.zeros_like(drawn[1]), torch.ones_like(drawn[1])
    made = norm(into[0], *running, *into[1:], training=True, momentum=0.3, eps=1e-3)
    return [made.detach(), *torch.autograd.grad(made, into, back), *running]


def _error(found: Tensor, exact: Tensor) -> float:
    return float(((found - exact).square().mean() / exact.square().mean()).sqrt())


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES)
def test_all_that_it_gives_is_torchs_in_double_precision_whatever_the_threads(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = _drawn(shape)
    exact = _passes(functional.batch_norm, *(tensor.double() for tensor in drawn))
    torchs = _passes(functional.batch_norm, *drawn)
    found = _passes(batch_norm.batch_norm, *drawn)
    for ours, theirs, wanted in zip(found, torchs, exact, strict=True):
        assert ours.shape == wanted.shape
        assert _error(ours, wanted) < max(1e-6, 10 * _error(theirs, wanted))
    for threads in (1, 3, 7):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        again = _passes(batch_norm.batch_norm, *drawn)
        assert all(torch.equal(*pair) for pair in zip(again, found, strict=True))


@needs_kernels
def test_a_variance_beside_a_great_mean_is_right() -> None:
    maps = torch.randn(2, 8, 40, 40, generator=torch.Generator().manual_seed(0)) + 4000
    maps[0, :, 0, 0] = -9000.0  # the first pixel is far from all others
    mean, variance = batch_norm.moments(maps)
    over = (0, 2, 3)
    assert torch.allclose(mean.double(), maps.double().mean(over), rtol=1e-6)
    assert torch.allclose(variance.double(), maps.double().var(over, correction=0), rtol=1e-5)


@needs_kernels
def test_without_weights_or_statistics_of_its_own_it_is_torchs_too() -> None:
    maps = _drawn((2, 16, 5, 5))[0]
    with ByKernels(norms=True):
        found = functional.batch_norm(maps, None, None, training=True)
    assert torch.allclose(found, functional.batch_norm(maps, None, None, training=True), atol=1e-5)


@needs_kernels
def test_a_value_that_is_no_number_stays_one() -> None:
    maps = _drawn((2, 16, 5, 5))[0]
    maps[0, 3, 2, 2] = float("nan")
    mean, variance = batch_norm.moments(maps)
    assert [int(one.isnan().nonzero()) for one in (mean, variance)] == [3, 3]


@pytest.mark.parametrize(
    "asked",
    [
        lambda x: functional.batch_norm(x, torch.zeros(16), torch.ones(16)),
        lambda x: functional.batch_norm(x, torch.zeros(16), torch.ones(16), None, None, False),
        lambda x: functional.batch_norm(x[:, :12], None, None, training=True),
        lambda x: functional.batch_norm(x.double(), None, None, training=True),
        lambda x: functional.batch_norm(x.flatten(2), None, None, training=True),
    ],
)
def test_what_does_not_fit_is_left_to_torch(asked: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    maps = _drawn((2, 16, 4, 4))[0]
    wanted = asked(maps)
    monkeypatch.setattr(batch_norm, "batch_norm", None)
    with ByKernels(norms=True):
        assert torch.equal(asked(maps), wanted)


def test_one_value_a_channel_is_refused_in_torchs_words() -> None:
    with ByKernels(norms=True), pytest.raises(ValueError, match="more than 1 value per channel"):
        functional.batch_norm(torch.ones(1, 16, 1, 1), None, None, training=True)


@pytest.mark.slow
@needs_kernels
def test_a_compiled_step_differs_by_rounding_and_repeats_bitwise() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)),
    )  # what is compiled for the first time takes seconds a layer
    images = torch.randn(4, 3, 16, 16)
    calls = list[str]()

    def counted(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        calls.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return compile_fx(graph, inputs)

    def after(step: Callable[[nn.Module], Callable[[Tensor], Tensor]]) -> list[Tensor]:
        twin = copy.deepcopy(network)
        functional.cross_entropy(step(twin)(images), torch.tensor([0, 1, 2, 0])).backward()
        return [*(value.grad for value in twin.parameters() if value.grad is not None), *twin.buffers()]

    def compiled(twin: nn.Module) -> Callable[[Tensor], Tensor]:
        return torch.compile(by_kernels(twin, norms=True), fullgraph=True, backend=counted)

    ours, again, torchs = after(compiled), after(compiled), after(lambda twin: twin)
    assert calls.count("autograd_function_apply") == 2  # the norm and the convolution that fits, in one graph
    assert all(torch.equal(*pair) for pair in zip(ours, again, strict=True))
    assert all(torch.allclose(*pair, rtol=1e-2, atol=1e-4) for pair in zip(ours, torchs, strict=True))
