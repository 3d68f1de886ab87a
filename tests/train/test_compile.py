import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from deepres.nn.create import create_model
from deepres.nn.hardware import cannot_compile
from deepres.nn.kernels.step import version
from deepres.nn.timing import timed
from deepres.train import compile
from deepres.train.compile import CompilePlan, CompileTimes, choose_compile_mode, decide
from deepres.train.precision import Precision, choose
from deepres.train.replay import WARM_UP
from deepres.train.timing import passes

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("DEEPRES_CACHE", str(tmp_path))
    monkeypatch.setattr(compile, "lacks", lambda *asked: "not asked for")
    monkeypatch.setattr(compile, "lacks_norms", lambda *asked: "not asked for")
    return tmp_path / "steps"


@pytest.mark.parametrize(
    ("measured", "steps", "compiled", "reason"),
    [
        (CompileTimes(plain=0.1), 5_999, None, "about 10 min in all, too short"),
        (CompileTimes(plain=0.1, compiled=0.05, compiling=40), 5_999, None, "too short"),
        (
            CompileTimes(plain=0.1, compiled=0.05, compiling=40),
            6_001,
            "default",
            r"a step takes 0\.50 of a plain one's time",
        ),
        (
            CompileTimes(plain=0.1, compiled=0.098, compiling=1),
            100_000,
            None,
            r"a compiled step takes 0\.98 of a plain",
        ),
        (CompileTimes(plain=0.1, compiled=0.12, compiling=1), 100_000, None, r"a compiled step takes 1\.20 of a plain"),
        (
            CompileTimes(plain=0.1, compiled=0.096, compiling=60),
            10_000,
            None,
            "compiling takes 60 s, more than it would save",
        ),
        (CompileTimes(plain=0.1, compiled=0.096, compiling=60), 20_000, "default", r"0\.96 of"),
        (CompileTimes(plain=0.1, failed="no compiler"), 10_000, None, r"compiling failed \(no compiler\)"),
    ],
)
def test_compiling_must_pay_for_itself_within_the_run(
    measured: CompileTimes, steps: int, compiled: str | None, reason: str
) -> None:
    found = decide(measured, steps, "default", 600)
    assert found.compiled == compiled
    assert re.search(reason, found.reason)


def test_a_short_run_measures_nothing(cache: Path) -> None:
    net = create_model("resnet20_cifar")
    found = choose_compile_mode("auto", net, choose("float32", CPU), 16, 20)
    assert (found.compiled, found.reason) == (None, "a short run")
    assert not cache.exists()


@pytest.mark.parametrize(("parts", "compiled"), [(1, "max-autotune"), (2, "default")])
def test_gradients_of_several_parts_add_up_outside_cuda_graphs(
    parts: int, compiled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile, "cannot_compile", lambda device: None)
    precision = Precision(torch.device("cuda"), torch.float32, channels_last=True)
    found = choose_compile_mode("max", create_model("resnet20_cifar"), precision, 16, 20, parts)
    assert found.compiled == compiled


@pytest.mark.parametrize(
    ("choice", "dtype", "whole", "mode", "captured"),
    [
        ("max", torch.bfloat16, True, "max-autotune-no-cudagraphs", True),
        ("max", torch.float16, True, "default", False),
        ("max", torch.bfloat16, False, "default", False),
        ("off", torch.bfloat16, True, None, False),
    ],
)
def test_a_step_that_can_be_taken_whole_is_one_graph_on_a_gpu(
    choice: str, dtype: torch.dtype, whole: bool, mode: str | None, captured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile, "cannot_compile", lambda device: None)
    precision = Precision(torch.device("cuda"), dtype, channels_last=True)
    net = create_model("resnet20_cifar")
    found = choose_compile_mode(choice, net, precision, 64, 20, 2, whole=whole)  # type: ignore[arg-type]
    assert (found.compiled, found.captured) == (mode, captured)
    assert ("one CUDA graph each" in str(found)) == captured
    on_cpu = choose_compile_mode(choice, net, choose("float32", CPU), 64, 20, whole=whole)  # type: ignore[arg-type]
    assert not on_cpu.captured
    assert on_cpu.capture is None


@pytest.mark.medium
def test_timed_steps_are_replayed_after_those_that_warm_up() -> None:
    net, precision = create_model("resnet20_cifar", num_classes=3), choose("float32", CPU)
    done = []
    loss = compile.noise_loss((3, 8, 8), 2, 3, precision)
    work = passes(net, precision, loss, lambda twin: twin, capture=lambda work: lambda: done.append(1))
    assert len(timed(work, CPU, 60.0, calls=8)) == 8
    assert len(done) == 8 - WARM_UP


def test_what_was_measured_is_remembered_and_the_network_left_as_it_was(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str | None, ...]] = []

    def share(network: object, precision: object, loss: object, *ways: CompilePlan) -> tuple[float, float]:
        calls.append(tuple(way.compiled for way in ways))
        return 30.0, 0.8

    monkeypatch.setattr(compile, "_seconds", lambda *_: calls.append(()) or 0.5)
    monkeypatch.setattr(compile, "_share", share)
    monkeypatch.setattr(compile, "cannot_compile", lambda device: None)
    net, precision = create_model("resnet20_cifar"), choose("float32", CPU)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert choose_compile_mode("auto", net, precision, 128, 1_000).compiled is None
    assert calls == [()]
    assert choose_compile_mode("auto", net, precision, 128, 100_000).compiled == "default"
    assert choose_compile_mode("auto", net, precision, 128, 90_000).compiled == "default"
    assert calls == [(), (None, "default")]
    (place,) = cache.iterdir()
    assert json.loads(place.read_text()) == {
        "plain": 0.5,
        "winograd": None,
        "compiled": 0.4,
        "compiling": 30.0,
        "failed": None,
    }
    assert (
        choose_compile_mode("auto", net, precision, 64, 100_000).compiled == "default"
    )  # another batch is another measurement
    assert len(list(cache.iterdir())) == 2
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_kernels_are_tried_before_compiling_which_is_then_measured_with_them(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[tuple[bool, bool, str | None]]] = []

    def share(network: object, precision: object, loss: object, *ways: CompilePlan) -> tuple[float, float]:
        calls.append([(way.winograd, way.norms, way.compiled) for way in ways])
        return (30.0, 0.5) if ways[1].compiled else (0.6, 0.6)

    monkeypatch.setattr(compile, "_seconds", lambda *_: 0.5)
    monkeypatch.setattr(compile, "_share", share)
    monkeypatch.setattr(compile, "cannot_compile", lambda device: None)
    monkeypatch.setattr(compile, "lacks", lambda *asked: None)
    monkeypatch.setattr(compile, "lacks_norms", lambda *asked: None)
    net, precision = create_model("resnet20_cifar"), choose("float32", CPU)
    found = choose_compile_mode("auto", net, precision, 128, 1_000)
    assert (found.winograd, found.norms, found.compiled) == (True, False, None)
    assert found.kernels == version()
    assert "Winograd" in str(found)
    assert "0.60 of the time with torch's own" in found.reason
    found = choose_compile_mode("auto", net, precision, 128, 100_000)
    assert (found.winograd, found.norms, found.compiled) == (True, True, "default")
    assert found.kernels == version(norms=True)
    assert "norms' sums by our kernels" in str(found)
    assert "a step takes 0.30 of a plain one's time" in found.reason
    plain, kernels = (False, False, None), (True, False, None)
    assert calls == [[plain, kernels], [kernels, (True, True, "default")]]


@pytest.mark.parametrize(("winograd_too", "kept"), [(0.49, False), (0.4, True)])
def test_kernels_that_save_nothing_are_not_taken(winograd_too: float, kept: bool) -> None:
    found = decide(CompileTimes(plain=0.5, winograd=winograd_too), 100, "default", 600)
    assert found.winograd == kept
    assert "too short for compiling" in found.reason


def test_a_compiler_that_fails_is_said_and_not_tried_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def share(network: object, precision: object, loss: object, *ways: CompilePlan) -> tuple[float, float]:
        if ways[1].compiled:
            raise RuntimeError("unsupported\nwith a wall of text")
        return 0.6, 1.0

    monkeypatch.setattr(compile, "_seconds", lambda *_: 0.5)
    monkeypatch.setattr(compile, "_share", share)
    monkeypatch.setattr(compile, "cannot_compile", lambda device: None)
    for _ in range(2):
        found = choose_compile_mode("auto", create_model("resnet20_cifar"), choose("float32", CPU), 128, 100_000)
        assert (found.compiled, found.reason) == (None, "compiling failed (unsupported)")


def test_without_a_compiler_steps_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert cannot_compile(CPU) == "no C++ compiler on this machine"
    assert choose_compile_mode("max", create_model("resnet20_cifar"), choose("float32", CPU), 16, 20).compiled is None


@pytest.mark.medium
def test_timing_leaves_the_random_state_and_the_network_alone() -> None:
    net, precision = create_model("resnet20_cifar", num_classes=3), choose("float32", CPU)
    state, before = torch.get_rng_state(), net.stem.get_parameter("conv.weight").clone()
    loss = compile.noise_loss((3, 8, 8), 2, 3, precision)
    assert compile._seconds(net, precision, loss) > 0
    first, share = compile._share(net, precision, loss, CompilePlan(), CompilePlan())
    assert first > 0
    assert 1 / 50 < share < 50
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(net.stem.get_parameter("conv.weight"), before)
    assert net.stem.get_parameter("conv.weight").grad is None


def test_on_a_processor_the_share_is_that_of_steps_taken_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    faster_at_last = [9.0, 9.0, 2.0, 2.0, 2.0, 1.0, 1.0], [30.0, 9.0, 1.6, 1.6, 1.6, 0.8, 0.8]
    monkeypatch.setattr(compile, "timed_in_turns", lambda works, device, calls: faster_at_last)
    net, precision = create_model("resnet20_cifar", num_classes=3), choose("float32", CPU)
    loss = compile.noise_loss((3, 8, 8), 2, 3, precision)
    assert compile._share(net, precision, loss, CompilePlan(), CompilePlan()) == (30.0, pytest.approx(0.8))


@pytest.mark.skipif(cannot_compile(CPU) is not None, reason="no compiler on this machine")
@pytest.mark.long
def test_a_compiled_step_has_the_plain_steps_gradients_but_for_rounding() -> None:
    net = create_model("resnet20_cifar+depths=1,1,1").double().to(memory_format=torch.channels_last).train()
    x, y = torch.randn(8, 3, 32, 32, dtype=torch.float64), torch.arange(8)
    gradients = []
    for forward in (CompilePlan().forward(net), CompilePlan(compiled="default").forward(net)):
        torch.nn.functional.cross_entropy(forward(x), y).backward()
        gradients.append([parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None])
        net.zero_grad()
    for plain, compiled in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, compiled, rtol=1e-6, atol=1e-9)


def test_a_run_that_is_short_by_steps_timed_before_is_not_timed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile, "_seconds", lambda *_: pytest.fail("timed again"))
    found = choose_compile_mode(
        "auto", create_model("resnet20_cifar"), choose("float32", CPU), 128, 100_000, about=0.002
    )
    assert found.compiled is None
    assert "too short for compiling to pay" in found.reason


@pytest.mark.parametrize(("winograd", "norms", "lost"), [(1, 1, "a"), (0, 1, "b"), (1, 0, "a"), (0, 0, None)])
def test_kernels_that_cannot_be_had_any_more_are_said(
    winograd: int, norms: int, lost: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile, "lacks", lambda *asked: "a")
    monkeypatch.setattr(compile, "lacks_norms", lambda *asked: "b")
    plan = CompilePlan(winograd=bool(winograd), norms=bool(norms))
    assert plan.lacking(nn.Identity(), choose("float32", CPU)) == lost
