"""The first lines of a run: what an engineer wants to know, in at most six lines; the rest by --verbose and in the log."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepres.cli.main import run


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name in ("cat", "dog", "emu", "fox", "gnu"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            picture = Image.fromarray(draw.integers(0, 255, (24, 24, 3), dtype=np.uint8))
            picture.save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "cat" / "notes.txt").write_text("cats")
    return tmp_path / "photos"


def _opening(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert run(["train", *words, "--device", "cpu"]) == 0
    said = capsys.readouterr().err.splitlines()
    return said[: next(number for number, line in enumerate(said) if line.startswith("epoch "))]


TINY = ("--batch-size", "8", "--set", "model.depths=1,1,1", "--set", "model.widths=16,16,16", "--set", "data.workers=0")


@pytest.mark.slow
def test_the_first_lines_say_what_for_how_long_and_where(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _opening(capsys, "photos", "--epochs", "2", "--output", "out", *TINY)
    text = "\n".join(lines)
    assert len(lines) <= 8  # six, what had to be chosen, and the rate that another batch size asks for
    assert sum("--lr sets another" in line for line in lines) == 1
    assert lines[0] == "chosen to suit: recipe small, network resnet20_cifar (others: --recipe, --model)"
    assert (
        lines[1]
        == "photos: 30 images to train on, 5 to choose the epoch, 5 for the test; 5 classes: cat, dog, emu, fox, …"
    )
    assert re.fullmatch(r"resnet20_cifar: [\d,]+ parameters, sees 24 x 24 px", lines[2])
    assert lines[3] == "2 epochs, 8 steps of 8 images, by recipe small"
    assert "assumed: of the training images 10 % for val and 15 % for test put aside (data.split_seed 0)" in lines
    assert any(line.startswith("images: ") and "1 file" in line for line in lines)
    assert lines[-1] == "report, when it is done: out/report.html"
    for engine in ("workers", "prefetch", "compil", "bfloat16", "float32", "channels last"):
        assert engine not in text


@pytest.mark.medium
def test_what_was_chosen_by_hand_is_not_called_assumed(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--recipe", "small", "--model", "resnet20_cifar", "--set", "data.val_fraction=0"]
    given += ["--set", "data.test_fraction=0"]
    lines = _opening(capsys, "photos", "--epochs", "1", "--output", "out", *TINY, *given)
    assert lines[0] == "photos: 40 images to train on; 5 classes: cat, dog, emu, fox, …"
    assert not any(line.startswith(("chosen", "assumed")) for line in lines)
    assert "1 epoch, 5 steps of 8 images, by recipe small" in lines


@pytest.mark.slow
def test_the_rest_is_said_on_request_and_always_kept(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "\n".join(_opening(capsys, "photos", "--epochs", "1", "--output", "out", *TINY, "--verbose"))
    assert re.search(r"float(16|32).* on cpu", asked)
    assert "plain steps: " in asked
    assert run(["train", "--resume", "out", "--epochs", "2", "--device", "cpu"]) == 0
    resumed = capsys.readouterr().err
    assert "goes on after step 4 of 8" in resumed
    assert "plain steps" not in resumed
    log = (photos.parent / "out" / "log.txt").read_text()
    assert log.count("plain steps: ") == 2
    assert "goes on after step 4 of 8" in log
    parts = [json.loads(line) for line in (photos.parent / "out" / "sessions.jsonl").read_text().splitlines()]
    assert [part["step"] for part in parts] == [0, 4]
    assert all(part["versions"]["torch"] and part["hardware"] and part["command"] for part in parts)
