"""A terminal that is closed while a run goes on, and a compiler that is there and does not work."""

import os
import signal

import pytest
import torch

import deepres
from deepres.base.errors import InputError
from deepres.nn.inference import Inference, for_inference
from deepres.runs.lock import asked_to_stop


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop_and_ends_nothing(number: signal.Signals) -> None:
    ours = signal.signal(number, signal.default_int_handler)  # where tests run under nohup, SIGHUP is passed over
    try:
        with asked_to_stop() as asked:
            os.kill(os.getpid(), number)
            assert asked == [number]
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, ours)


def test_what_nohup_passes_over_is_passed_over() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked_to_stop() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not asked
    finally:
        signal.signal(signal.SIGHUP, before)


def _broken(monkeypatch: pytest.MonkeyPatch, compiled: str) -> tuple[Inference, torch.Tensor]:
    def failing(module: torch.nn.Module, **_: object) -> torch.nn.Module:
        class Failing(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self._orig_mod = module

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                raise RuntimeError("CppCompileError: C++ compile error\ncommand: g++ …")

        return Failing()

    monkeypatch.setattr(torch, "compile", failing)
    monkeypatch.setattr("deepres.nn.inference.cannot_compile", lambda _: None)
    monkeypatch.setattr("deepres.nn.inference.compiling_pays", lambda *_: True)
    network = deepres.create_model("resnet20_cifar", num_classes=3).eval()
    ready = for_inference(network, "cpu", precision="float32", compiled=compiled)  # type: ignore[arg-type]
    return ready, network(torch.ones(2, 3, 32, 32)).detach()


@pytest.mark.medium
def test_a_compiler_that_fails_is_done_without_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, expected = _broken(monkeypatch, "auto")
    assert ready.compiled
    with pytest.warns(UserWarning, match=r"compiling fails \(CppCompileError: C\+\+ compile error\); answered without"):
        answers = ready(torch.ones(2, 3, 32, 32))
    assert torch.allclose(answers, expected, atol=1e-4)
    assert torch.allclose(ready(torch.ones(1, 3, 32, 32)), expected[:1], atol=1e-4)  # and is warned of once
    assert "compiling failed: CppCompileError" in str(ready)


@pytest.mark.medium
def test_a_compiler_that_was_asked_for_and_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, _ = _broken(monkeypatch, "yes")
    with pytest.raises(InputError, match=r"compiling asked for, and it fails \(CppCompileError: C\+\+ compile error\)"):
        ready(torch.ones(2, 3, 32, 32))
