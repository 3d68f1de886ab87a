import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import noise, run_folder

from deepres.cli.main import run
from deepres.predict.predictor import Predictor


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run, and photos to compare on, of several sizes."""
    run_folder(tmp_path / "run")
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(noise(66, 40, 30)):
        shown = image if number % 2 else image[:, :25]
        Image.fromarray(shown.permute(1, 2, 0).numpy()).save(tmp_path / "photos" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _export(*words: str) -> int:
    return run(["export", "run", *words])


@pytest.mark.slow
def test_an_exported_file_answers_as_its_run_and_says_how_it_compares(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _export("--format", "onnx", "--check-images", "photos") == 0
    told = capsys.readouterr().out
    assert re.search(
        r"run-onnx/model.onnx: tiny, .*takes uint8 \(N, 3, H, W\); 66 images, max difference \S+e-\d+,", told
    )
    assert sorted(path.name for path in (home / "run-onnx").iterdir()) == ["model.onnx", "parity.json"]
    parity = json.loads((home / "run-onnx" / "parity.json").read_text())
    assert parity["images"] == 66
    assert parity["agreement"] == 1
    assert str(home) not in (home / "run-onnx" / "parity.json").read_text()
    assert str(home).encode() not in (home / "run-onnx" / "model.onnx").read_bytes()
    predictor, file = Predictor.load("run", "cpu"), Predictor.load("run-onnx/model.onnx")
    assert file.network.bundle.parity.startswith("66 images, max difference")
    assert file.task == predictor.task
    paths = sorted((home / "photos").iterdir())
    for one, other in zip(predictor.answers(paths), file.answers(paths), strict=True):
        assert [guess.name for guess in one.guesses] == [guess.name for guess in other.guesses]
        for ours, theirs in zip(one.guesses, other.guesses, strict=True):
            assert ours.probability == pytest.approx(theirs.probability, abs=0.005)
    capsys.readouterr()
    words = ["photos/0.png", "photos/1.png", "--json"]
    assert run(["predict", "run", *words, "--device", "cpu"]) == 0
    mine = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert run(["predict", "run-onnx/model.onnx", *words]) == 0
    said = capsys.readouterr()
    assert [each["guesses"][0]["name"] for each in map(json.loads, said.out.splitlines())] == [
        each["guesses"][0]["name"] for each in mine
    ]
    assert "probabilities at temperature 0.70" in said.err
    assert "onnxruntime" in said.err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--format", "onnx"], 2, "weights without images of their own to compare the file on.*--no-check"),
        (["--format", "onnx", "--check-images", "few"], 2, "3 images to compare the file on, wanted 64"),
        (["--format", "onnx", "--check-images", "photos", "--no-check"], 2, "leave one out"),
        (["--format", "onnx", "--no-check", "--output", "model.onnx"], 2, "wanted a folder"),
        (["--format", "onnx", "--no-check", "--output", "photos"], 2, "is there already"),
        (["--format", "onnx", "--no-check", "--output", "photos", "--overwrite"], 2, r"holds 0\.png, which no export"),
        (["--format", "onnx", "--no-check", "--output", "run", "--overwrite"], 2, "holds statistics.safetensors"),
        (["--format", "timm"], 2, "network of timm 'tiny': unknown"),
        (["--format", "pt2", "--int8"], 2, "--int8 with --format pt2: is for onnx, openvino and browser"),
    ],
)
@pytest.mark.medium
@pytest.mark.medium
def test_what_cannot_be_is_refused_and_leaves_nothing(
    home: Path, words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "few").mkdir()
    for number in range(3):
        os.link(home / "photos" / f"{number}.png", home / "few" / f"{number}.png")
    before = sorted(path.relative_to(home) for path in home.rglob("*"))
    assert _export(*words) == code
    said = capsys.readouterr().err
    assert re.search(told, said), said
    assert len(said.splitlines()) == 1
    assert sorted(path.relative_to(home) for path in home.rglob("*")) == before


@pytest.mark.slow
def test_a_file_that_answers_otherwise_is_not_there(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deepres.export import whole

    real = whole.Whole.__init__

    def wrong(self: Any, network: Any, task: Any, mean: torch.Tensor, std: torch.Tensor) -> None:
        real(self, network, task, mean + 0.2, std)

    monkeypatch.setattr(whole.Whole, "__init__", wrong)
    assert _export("--format", "onnx", "--input", "fitted", "--check-images", "photos") == 1
    assert "the file answers otherwise than its network" in capsys.readouterr().err
    assert not (home / "run-onnx").exists()


@pytest.mark.slow
def test_an_export_is_replaced_only_where_that_is_asked_for(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--format", "onnx", "--input", "fitted", "--no-check"]
    assert _export(*words) == 0
    first = (home / "run-onnx" / "model.onnx").read_bytes()
    assert _export(*words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert _export(*words, "--overwrite") == 0
    assert (home / "run-onnx" / "model.onnx").read_bytes() == first, "the same run, the same bytes"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["predict", "FILE", "photos/0.png", "--cam", "maps"],
            "--cam with .*an exported file answers as it was written",
        ),
        (["predict", "FILE", "photos/0.png", "--device", "cuda"], "--device cuda with .*answers on the CPU"),
        (["predict", "FILE", "photos/0.png", "--precision", "bfloat16"], "--precision with"),
        (["predict", "FILE", "photos/0.png", "--mean", "0.5", "--std", "0.5"], "--mean with"),
        (["predict", "gone.onnx", "photos/0.png"], r"gone\.onnx: cannot be read"),
        (["eval", "FILE"], "of no run, so without images of its own; name a SOURCE"),
        (["eval", "FILE", "photos", "--protocol", "flip"], "--protocol flip with"),
        (["eval", "FILE", "photos", "--precision", "bfloat16"], "--precision bfloat16 with"),
        (["eval", "FILE", "photos", "--calibrate"], "--calibrate with"),
        (["analyze", "FILE"], "an exported file, which eval, predict and compare take"),
    ],
)
@pytest.mark.medium
@pytest.mark.medium
def test_what_a_file_cannot_do_is_said(
    home: Path, small: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([word.replace("FILE", str(small)) for word in words]) == 2
    said = capsys.readouterr().err
    assert re.search(told, said), said


@pytest.mark.long
def test_eval_and_compare_take_a_file_as_they_take_a_run(
    home: Path, capsys: pytest.CaptureFixture[str], class_folders: Callable[..., Path]
) -> None:
    source = class_folders("pets", {"ant": 7, "bee": 8, "cat": 9}, (30, 40))
    assert _export("--format", "onnx", "--no-check") == 0
    capsys.readouterr()
    for name, answerer in (("run", "run"), ("file", "run-onnx/model.onnx")):
        cpu = ["--device", "cpu"] if name == "run" else []
        words = ["eval", answerer, str(source), "--json", "--predictions", f"{name}.npz", *cpu]
        assert run(words) == 0
        result = json.loads(capsys.readouterr().out)
        if name == "run":
            error = result["error"]
        else:
            assert result["error"] == pytest.approx(error, abs=1 / 24)
            assert result["provenance"]["precision"].startswith("onnxruntime")
    ours, theirs = (np.load(f"{name}.npz") for name in ("run", "file"))
    assert np.abs(ours["probability"] - theirs["probability"]).max() < 0.01
    assert run(["compare", "run.npz", "file.npz", "--force"]) == 0
    capsys.readouterr()
    assert run(["eval", "run", "run-onnx/model.onnx", str(source), "--json", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["model"] == "ensemble of 2 x tiny"
