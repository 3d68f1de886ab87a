"""Empty arguments, and an environment that tells of half of the processes: refused aloud, with what is wrong."""

from pathlib import Path

import pytest

from deepres.base.events import LAUNCHED, speaks
from deepres.cli.main import run

EMPTY = [
    (["train", ""], "deepres train ''"),
    (["train", "  "], "deepres train '  '"),
    (["train", "\t"], r"deepres train '\u0009'"),
    (["train", "digits", "--output", ""], "digits --output ''"),
    (["train", "digits", "--output="], "--output= ''"),
    (["train", "digits", "--smoke", ""], "digits --smoke ''"),
    (["train", "--resume", ""], "train --resume ''"),
    (["train", "digits", "--weights", ""], "digits --weights ''"),
    (["train", "digits", "--model", ""], "digits --model ''"),
    (["train", "digits", "--set", ""], "digits --set ''"),
    (["eval", ""], "deepres eval ''"),
    (["eval", "run", ""], "eval run ''"),
    (["eval", "run", "--report", ""], "run --report ''"),
    (["compare", "a", ""], "compare a ''"),
    (["predict", "", "x.png"], "deepres predict ''"),
    (["predict", "run", "x.png", "--csv", ""], "x.png --csv ''"),
    (["predict", "run", "x.png", "--cam= "], "--cam= ' '"),
    (["analyze", "lesion", ""], "analyze lesion ''"),
    (["describe", ""], "deepres describe ''"),
    (["models", ""], "deepres models ''"),
    (["weights", "inspect", ""], "weights inspect ''"),
    (["weights", "convert", "x", ""], "convert x ''"),
    (["data", "split", ""], "data split ''"),
    (["data", "pack", "x", ""], "pack x ''"),
    (["data", "show", "--output", ""], "show --output ''"),
    (["bench", "x", "--data", ""], "x --data ''"),
    (["reproduce", "--output", ""], "reproduce --output ''"),
    ([""], "deepres ''"),
]


@pytest.mark.parametrize(("words", "said"), EMPTY)
def test_an_empty_argument_is_a_mistake(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    line = capsys.readouterr().err
    assert line == f"deepres: {said}: an empty argument (a variable that is not set?); leave it out\n"
    assert not list(tmp_path.iterdir())


def test_what_is_empty_within_an_assignment_is_the_fields_own_matter(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "digits", "--dry-run", "--set", "data.root="]) in (0, 2)
    assert "an empty argument" not in capsys.readouterr().err


WHOLE = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29501"}
BROKEN = [
    ({"RANK": "1"}, "RANK set, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT not"),
    ({"WORLD_SIZE": "2"}, "WORLD_SIZE set, RANK"),
    ({"RANK": ""}, "nothing set, RANK"),
    *[({name: value for name, value in WHOLE.items() if name != left}, f" set, {left} not") for left in WHOLE],
    *[({**WHOLE, left: ""}, f" set, {left} not") for left in LAUNCHED],
    ({**WHOLE, "RANK": "one"}, "RANK 'one', wanted a number"),
    ({**WHOLE, "RANK": "-1"}, "RANK '-1', wanted a number"),
    ({**WHOLE, "RANK": "²"}, "RANK '²', wanted a number"),
    ({**WHOLE, "RANK": "5"}, "RANK 5 of WORLD_SIZE 2"),
    ({**WHOLE, "WORLD_SIZE": "0"}, "RANK 1 of WORLD_SIZE 0"),
    ({**WHOLE, "LOCAL_WORLD_SIZE": "0"}, "LOCAL_RANK 1 of LOCAL_WORLD_SIZE 0"),
    ({**WHOLE, "RANK": "0", "LOCAL_WORLD_SIZE": "1"}, "LOCAL_RANK 1 of LOCAL_WORLD_SIZE 1"),
]


@pytest.mark.parametrize(("environment", "said"), BROKEN)
def test_half_a_world_is_refused_aloud(
    environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (*LAUNCHED, "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code = run(["train", "digits", "--smoke"])
    line = capsys.readouterr().err
    assert code == 2
    if speaks(environment):
        assert said in line
        assert line.startswith("deepres: environment: ")
        assert line.count("\n") == 1
    else:  # the first process says it
        assert environment["RANK"] == "1"
        assert {**WHOLE, **environment}["LOCAL_WORLD_SIZE"] == "0"


@pytest.mark.parametrize("words", [["describe", "nothing"], ["train", "--epoch"], ["models", "nothing"]])
def test_errors_are_heard_where_a_cluster_sets_a_rank_alone(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "3")
    assert run(words) == 2
    assert capsys.readouterr().err.startswith("deepres: ")


def test_of_a_whole_world_the_first_speaks() -> None:
    assert [speaks({**WHOLE, "RANK": rank}) for rank in ("0", "1")] == [True, False]
    assert speaks({})
