"""Trained, made slim, exported, measured and asked: from images to a file that answers as its run does."""

import json
from pathlib import Path

import pytest

import deepres
from deepres.cli.main import run

TINY = ("model.depths=2,2,1", "model.widths=4,6,8", "model.stem_width=4", "train.compile=off")


@pytest.mark.long
def test_digits_to_a_file_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    edits = [word for edit in TINY for word in ("--set", edit)]
    assert run(["train", "digits", "--epochs", "2", "--device", "cpu", *edits]) == 0
    sure = ["--max-loss", "100", "--accept-uncertain", "--finetune-epochs", "1", "--device", "cpu"]
    assert run(["slim", "runs/digits-1", "--output", "slim", "--drop-blocks", "1", *sure]) == 0
    assert run(["export", "slim", "--format", "onnx", "--output", "files/digits"]) == 0
    parity = json.loads(Path("files/digits/parity.json").read_text())
    assert parity["run"] == "slim"
    assert parity["agreement"] == 1
    capsys.readouterr()
    found = {}
    for word in ("slim", "files/digits/model.onnx"):
        assert run(["eval", word, "--json", *(["--device", "cpu"] if word == "slim" else [])]) == 0
        found[word] = json.loads(capsys.readouterr().out)
    whole, file = found.values()
    assert whole["num_images"] == file["num_images"] == 269
    assert file["num_wrong"] == whole["num_wrong"]
    assert file["cross_entropy"] == pytest.approx(whole["cross_entropy"], abs=1e-4)
    assert run(["compare", "slim", "files/digits/model.onnx"]) == 0
    Path("files").rename("moved")
    answer = deepres.Predictor.load("moved/digits/model.onnx")("slim/samples/0.png")
    assert [guess.name for guess in answer.guesses] == [
        guess.name for guess in deepres.Predictor.load("slim", "cpu")("slim/samples/0.png").guesses
    ]
