"""Arguments that mean nothing, of every verb: the cheap ones of `arguments.py`; all of them are a drill."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from arguments import RIGHT, Trial, commands, prepared, trials, tried
from writers import home_in

from deepres.cli.main import run

DEAR = ("train", "eval", "analyze", "predict", "bench", "doctor", "data show", "compare", "slim")
"""Verbs that compute: of these fewer."""


def test_each_verb_has_a_command_that_is_right() -> None:
    assert {verb for verb, _ in commands()} == set(RIGHT)


@pytest.mark.parametrize("verb", [verb for verb, _ in commands()], ids=" ".join)
def test_an_empty_argument_is_refused_behind_each_flag_and_in_each_place(
    verb: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for trial in trials(tmp_path, {"nothing": "", "blanks": " "}, [verb]):
        code = run(trial.words)
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("deepres: ")]
        assert (code, len(lines)) == (2, 1), (trial, lines)
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_what_no_argument_means_is_refused_in_one_line_or_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = prepared(home_in(tmp_path / "home"))
    monkeypatch.chdir(home)
    wrong: list[tuple[Trial, str]] = []
    for number, trial in enumerate(trials(home)):
        if number % (29 if trial.name.startswith(DEAR) else 5):
            continue
        if told := tried(trial, home):
            wrong.append((trial, told))
    assert not wrong, "\n".join(map(str, wrong))
