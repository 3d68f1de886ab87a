from pathlib import Path

import pytest
import torch
from torch import nn

from deepres.base.errors import InputError
from deepres.tasks.validation import by_error
from deepres.train.checkpoint import load_best, load_newest, save_best, save_state
from deepres.train.config import SgdConfig
from deepres.train.state import Best, State


def _state(value: float, step: int) -> State:
    state = State(nn.Linear(3, 2), SgdConfig(), averaged=True)
    for tensor in (*state.network.parameters(), *state.average.parameters(), *state.optimiser.velocities):
        tensor.data.fill_(value)
    state.progress = state.progress.replace(step=step, recent_error=1 / 3)
    return state


def test_what_is_saved_comes_back_bitwise(tmp_path: Path) -> None:
    saved, loaded = _state(0.1, 7), _state(9, 0)
    save_state(saved, tmp_path)
    assert load_newest(loaded, tmp_path) == []
    assert loaded.progress == saved.progress
    assert torch.equal(loaded.network.weight, saved.network.weight)
    assert torch.equal(loaded.average.weight, saved.average.weight)
    assert torch.equal(loaded.optimiser.velocities[0], saved.optimiser.velocities[0])


def test_two_states_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_state(_state(0, step), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000002", "step-000000003"]


@pytest.mark.parametrize("name", ["weights.safetensors", "optimiser.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["truncate", "remove", "flip"])
def test_a_damaged_state_is_passed_over_and_said(tmp_path: Path, name: str, damage: str) -> None:
    save_state(_state(1, 1), tmp_path)
    newest = save_state(_state(2, 2), tmp_path) / name
    content = newest.read_bytes()
    if damage == "truncate":
        newest.write_bytes(content[: len(content) // 2])
    elif damage == "remove":
        newest.unlink()
    else:
        newest.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    state = _state(9, 0)
    (said,) = load_newest(state, tmp_path)
    assert "step-000000002: " in said
    assert state.progress.step == 1
    assert (state.network.weight == 1).all()


def test_the_next_state_does_not_drop_the_good_one_beside_a_damaged_one(tmp_path: Path) -> None:
    save_state(_state(1, 1), tmp_path)
    (save_state(_state(2, 2), tmp_path) / "state.json").write_text("{")
    save_state(_state(3, 3), tmp_path)
    assert len(list(tmp_path.glob("step-*"))) == 3


def test_nothing_whole_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to resume from \(no state was saved there\); start the run anew"):
        load_newest(_state(0, 0), tmp_path)
    (save_state(_state(1, 1), tmp_path) / "weights.safetensors").unlink()
    with pytest.raises(InputError, match=r"weights\.safetensors is missing"):
        load_newest(_state(0, 0), tmp_path)


def test_best_weights_stay_while_a_state_refers_to_them(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    nn.init.constant_(network.weight, 4)
    save_best(network, tmp_path, step=1)
    state = _state(0, 1)
    state.progress = state.progress.replace(best=Best.of(1, 1, by_error(0.1, 1)))
    for step in (1, 2, 3):
        state.progress = state.progress.replace(step=step)
        save_state(state, tmp_path)
    restored = nn.Linear(3, 2)
    load_best(restored, tmp_path, step=1)
    assert (restored.weight == 4).all()
    save_best(network, tmp_path, step=4)
    state.progress = state.progress.replace(best=Best.of(2, 4, by_error(0.05, 1)))
    for step in (4, 5):
        state.progress = state.progress.replace(step=step)
        save_state(state, tmp_path)
    assert [path.name for path in tmp_path.glob("best-*")] == ["best-000000004.safetensors"]


def test_the_best_and_the_kept_epoch_stay_both(tmp_path: Path) -> None:
    state = _state(0, 1)
    for step, best, kept in ((1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 1, 4)):
        if step in (best, kept):
            save_best(nn.Linear(3, 2), tmp_path, step)
        epochs = {
            "best": Best.of(best, best, by_error(0.1, 1)),
            "kept": Best.of(kept, kept, by_error(0.1, 1)),
        }
        state.progress = state.progress.replace(step=step, **epochs)
        save_state(state, tmp_path)
    files = {int(path.stem.removeprefix("best-")) for path in tmp_path.glob("best-*")}
    assert files == {1, 3, 4}  # the newest two states, and all that they refer to
    loaded = _state(9, 0)
    assert load_newest(loaded, tmp_path) == []
    assert loaded.progress == state.progress


def test_a_missing_best_makes_the_state_damaged(tmp_path: Path) -> None:
    save_state(_state(1, 1), tmp_path)
    save_best(nn.Linear(3, 2), tmp_path, step=2)
    state = _state(2, 2)
    state.progress = state.progress.replace(best=Best.of(1, 2, by_error(0.1, 1)))
    save_state(state, tmp_path)
    next(tmp_path.glob("best-*")).unlink()
    (said,) = load_newest(_state(0, 0), tmp_path)
    assert "best-000000002.safetensors is missing" in said
