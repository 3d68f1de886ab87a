"""Runs that go wrong: what is lost is never written, what was good stays to the bit, and advice works when followed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from deepres.base.files import digest
from deepres.cli.main import run
from deepres.train.checkpoint import drop_newest, load_newest, save_best, save_state
from deepres.train.config import SgdConfig
from deepres.train.health import DivergedError, fault, lost
from deepres.train.state import State

LOST = [float("nan"), float("inf"), -float("inf"), 1e27, -1e13]
PLACES: dict[str, Callable[[State], Tensor]] = {
    "weight": lambda state: state.network[0].weight.data,
    "norm's mean": lambda state: state.network[1].running_mean,
    "norm's variance": lambda state: state.network[1].running_var,
    "velocity": lambda state: state.optimiser.velocities[1],
    "average": lambda state: state.average[0].bias.data,
    "average's variance": lambda state: state.average[1].running_var,
}
SHORT = ["--batch-size", "16", "--set", "train.epochs=none", "--set", "train.save_every_seconds=0.001"]


def _state(step: int) -> State:
    torch.manual_seed(step)
    state = State(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)), SgdConfig(), averaged=True)
    state.progress = state.progress.replace(step=step)
    return state


def _bits(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): digest(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("value", LOST)
@pytest.mark.parametrize("place", PLACES)
def test_no_state_with_a_lost_tensor_is_written(tmp_path: Path, place: str, value: float) -> None:
    save_state(_state(1), tmp_path)
    before = _bits(tmp_path)
    state = _state(2)
    PLACES[place](state).view(-1)[-1] = value
    with pytest.raises(DivergedError, match=r"the state after step 2: \S+ is (not finite|as large as 1e\+)"):
        save_state(state, tmp_path)
    assert _bits(tmp_path) == before


@pytest.mark.parametrize("value", LOST)
def test_no_best_weights_with_a_lost_tensor_are_written(tmp_path: Path, value: float) -> None:
    network = _state(1).network
    network[1].running_var[0] = value
    with pytest.raises(DivergedError, match=r"the weights after step 3: 1\.running_var is"):
        save_best(network, tmp_path / "state", 3)
    assert not (tmp_path / "state").exists()


@pytest.mark.medium
@pytest.mark.parametrize("value", LOST)
@pytest.mark.parametrize("place", PLACES)
def test_a_lost_state_on_the_disk_is_passed_over_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, value: float
) -> None:
    good = _state(1)
    save_state(good, tmp_path)
    spoilt = _state(2)
    PLACES[place](spoilt).view(-1)[0] = value
    with monkeypatch.context() as patched:  # as versions before this one wrote it
        patched.setattr("deepres.train.checkpoint.fault", lambda tensors: None)
        save_state(spoilt, tmp_path)
    loaded = _state(9)
    (said,) = load_newest(loaded, tmp_path)
    assert re.search(r"step-000000002: (weights|optimiser|average)\.safetensors: \S+ is (not finite|as large)", said)
    assert loaded.progress.step == 1
    assert all(map(torch.equal, loaded.network.state_dict().values(), good.network.state_dict().values()))


def test_the_last_state_and_one_that_ended_a_run_are_not_dropped(tmp_path: Path) -> None:
    for step in (1, 2):
        save_state(_state(step), tmp_path)
    assert drop_newest(tmp_path)
    assert not drop_newest(tmp_path)
    ended = _state(3)
    ended.progress = ended.progress.replace(finished=True)
    save_state(ended, tmp_path)
    assert not drop_newest(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-000000001", "step-000000003"]


@pytest.mark.parametrize(("value", "gone"), [(0.0, False), (2.3, False), (700.0, False), (2e4, True), (1e30, True)])
def test_a_loss_that_cannot_be_learnt_from(value: float, gone: bool) -> None:
    assert lost(value) is gone
    assert lost(float("nan"))
    assert lost(float("inf"))


def test_counters_and_empty_tensors_are_sound() -> None:
    assert fault({"count": torch.tensor(10**15), "none": torch.empty(0), "flag": torch.tensor([True])}) is None


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    assert run(["train", "digits", *SHORT, "--set", "train.iterations=6", "--output", str(folder)]) == 0
    return folder


SPIKE = "--set train.schedule.warmup_lr=0.05 --set train.schedule.warmup_steps={0} --set train.schedule.lr={1}"


@pytest.mark.slow
@pytest.mark.parametrize("lr", ["1e38", "1e25", "1e9"])
def test_an_extension_that_is_lost_in_its_last_step_leaves_the_model_as_it_was(
    finished: Path, lr: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ("model.safetensors", "config.json", "test.json", "summary.json", "report.html", "predictions.npz")
    before = {name: digest(finished / name) for name in kept}
    spike = SPIKE.format(8, lr).split()
    code = run(["train", "--resume", str(finished), "--set", "train.iterations=9", *spike])
    said = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    assert said.startswith("deepres: after step 9: ") or "the state after step 9" in said, said
    assert {name: digest(finished / name) for name in kept} == before
    for path in (finished / "state").glob("step-*"):  # every state that is left is sound
        assert [fault(load_file(file)) for file in path.glob("*.safetensors")] == [None, None]
    assert not (finished / "state" / "step-000000009").exists()


LOW = "--set train.schedule.warmup_lr=1e5"


@pytest.mark.long
@pytest.mark.parametrize(
    ("lr", "besides"),
    [
        ("1000", ""),
        ("1e30", ""),
        # the rate behind the low one, met after the steps that are tried, is lowered too
        ("1e6", f"{LOW} --set train.schedule.warmup_steps=12"),
        ("1e6", f"{LOW} --set train.schedule.warmup_until_error=0.5"),
    ],
)
def test_what_is_advised_after_a_loss_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lr: str, besides: str
) -> None:
    folder = tmp_path / "run"
    length = ["--set", "train.iterations=20", *besides.split()]
    assert run(["train", "digits", *SHORT, *length, "--lr", lr, "--output", str(folder)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    advised = re.search(r"which was tried for some steps: deepres (.*)$", said)
    assert advised is not None, said
    assert run(advised[1].split()) == 0
    assert "test error" in capsys.readouterr().out


@pytest.mark.slow
def test_where_no_state_leads_anywhere_a_new_run_is_advised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    length, out = ["--set", "train.iterations=12"], ["--output", str(tmp_path / "run")]
    monkeypatch.setattr("deepres.runs.rescue._works", lambda *asked: False)
    assert run(["train", "digits", *SHORT, *length, "--lr", "1e5", *out]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    advised = re.search(r"begin anew in another --output with (--lr \S+)$", said)
    assert advised is not None, said
    again = ["--output", str(tmp_path / "again")]
    assert run(["train", "digits", *SHORT, *length, *advised[1].split(), *again]) == 0


@pytest.mark.medium
def test_a_network_that_is_lost_before_the_first_step_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepres.train.loop.lost", lambda loss: True)
    assert run(["train", "digits", *SHORT, "--set", "train.iterations=3", "--output", str(tmp_path / "run")]) == 2
    assert "before anything was learnt; begin anew with other weights" in capsys.readouterr().err.splitlines()[-1]
