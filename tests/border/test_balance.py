"""Classes of unequal size, as a user meets them: what is said of them, what --balance does, what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deepres.cli.main import run

TINY = ("--recipe", "small", "--batch-size", "8", "--set", "model.depths=1,1,1", "--set", "model.widths=16,16,16")
TINY += ("--set", "data.workers=0", "--compile", "off", "--device", "cpu", "--epochs", "1")


@pytest.fixture
def photos(class_folders: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return class_folders("photos", {"cat": 60, "dog": 6}, (16, 16))


@pytest.mark.medium
@pytest.mark.parametrize(
    ("balance", "said"),
    [
        (None, "classes from 4 to 45 images (11.2 to 1): --balance loss or sampler weighs them alike"),
        (
            "loss",
            "classes from 4 to 45 images (11.2 to 1): weights of 0.544 to 6.12 in the loss (train.balance=loss); "
            "the held-out error is the mean over classes, as sure as of 3 images",
        ),
        (
            "sampler",
            "classes from 4 to 45 images (11.2 to 1): images of each class drawn equally often "
            "(train.balance=sampler); the held-out error is the mean over classes, as sure as of 3 images",
        ),
    ],
)
def test_what_is_said_and_done(
    photos: Path, balance: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = () if balance is None else ("--balance", balance)
    assert run(["train", "photos", "--output", "out", *TINY, *asked]) == 0
    told = capsys.readouterr()
    assert said in told.err.splitlines()
    assert "balanced error" in told.out
    result = json.loads((photos.parent / "out" / "test.json").read_text())
    recalls = [one["recall"] for one in result["per_class"]]
    assert result["balanced_error"] == pytest.approx(1 - sum(recalls) / len(recalls))
    assert "balanced error" in (photos.parent / "out" / "report.html").read_text()
    planned = json.loads((photos.parent / "out" / "run.json").read_text())
    assert planned["train"]["balance"] == (balance or "none")
    epoch = json.loads((photos.parent / "out" / "history.jsonl").read_text().splitlines()[0])
    if balance is not None:  # of the held-out images 6 are cats and 1 is a dog
        assert epoch["val_error"] * 12 == pytest.approx(round(epoch["val_error"] * 12))


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--balance", "weights"], "'weights' is not one of 'none', 'loss', 'sampler'"),
        (["--set", "train.balance=class"], "train.balance"),
    ],
)
def test_other_words_are_refused(
    photos: Path, words: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", str(photos), *TINY, *words]) == 2
    refusal = capsys.readouterr().err
    assert wanted in refusal
    assert refusal.count("\n") == 1


@pytest.mark.medium
def test_a_run_keeps_its_balance(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", str(photos), "--output", "out", *TINY, "--balance", "loss"]) == 0
    capsys.readouterr()
    assert run(["train", "--resume", "out", "--balance", "sampler", "--device", "cpu"]) == 2
    assert "a run keeps what it began with" in capsys.readouterr().err


@pytest.mark.medium
def test_checking_says_it_too(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", str(photos)]) == 0
    assert "(11.2 to 1): read the error per class; train --balance loss or sampler" in capsys.readouterr().out
