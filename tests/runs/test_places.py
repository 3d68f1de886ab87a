"""What `--resume` names: a run, a state of it, a file in one, or nothing that goes on."""

from pathlib import Path

import pytest

from deepres.base.errors import InputError
from deepres.runs.places import begun_in


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs" / "one"
    for step in (5, 12):
        (folder / "state" / f"step-{step:09d}").mkdir(parents=True)
        (folder / "state" / f"step-{step:09d}" / "weights.safetensors").touch()
    for name in ("run.json", "model.safetensors"):
        (folder / name).touch()
    (tmp_path / "other.pth").touch()
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(
    "named",
    [
        "",
        "auto",
        "runs/one",
        "runs/one/run.json",
        "runs/one/model.safetensors",
        "runs/one/state",
        "runs/one/state/step-000000012",
        "runs/one/state/step-000000012/weights.safetensors",
    ],
)
def test_a_run_is_known_by_its_states(named: str, run: Path) -> None:
    assert begun_in(named).resolve() == run


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            "runs/one/state/step-000000005",
            "step-000000012 is newer, and a run goes on from its newest state: --resume runs/one",
        ),
        ("other.pth", "no state of a run of deepres; to begin a new run with its weights: --weights other.pth"),
    ],
)
def test_what_no_run_goes_on_from(named: str, message: str, run: Path) -> None:
    with pytest.raises(InputError, match=message):
        begun_in(named)


def test_a_run_that_is_not_there_is_told_of_by_its_reader(run: Path) -> None:
    assert begun_in("runs/two") == Path("runs/two")
