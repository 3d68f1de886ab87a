"""`deepres export --int8`: calibrated, judged on held-out images and timed, or not there."""

import json
from pathlib import Path
from typing import Any

import pytest

from deepres.cli.main import run as deepres
from deepres.predict.predictor import Predictor
from deepres.slim import exporting
from small_slim import pictures, train

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("reduced", [pytest.param(True, marks=pytest.mark.long), False])
def test_a_file_in_8_bits_is_judged_timed_and_keeps_to_the_bits_of_this_processor(
    reduced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for library in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(library)
    monkeypatch.setattr("deepres.export.quantise.saturates_int8", lambda: reduced)
    monkeypatch.setattr("deepres.predict.exported.saturation.saturates_int8", lambda: True)
    run, out = train(pictures(tmp_path / "more.npz", 240), tmp_path / "more"), tmp_path / "eight"
    words = ["export", str(run), "--format", "onnx", "--int8", "--input", "fitted", "--output", str(out)]
    measured, timed = exporting._milliseconds, [2.0, 1.0]

    def fast(asked: Any, shape: Any) -> list[float]:
        assert all(one > 0 for one in measured(asked, shape))
        return timed

    monkeypatch.setattr(exporting, "_milliseconds", fast)
    if reduced:
        assert deepres(words) == 1
        assert "not shown" in capsys.readouterr().err
        timed.reverse()
        assert deepres([*words, "--max-loss", "100", "--accept-uncertain"]) == 1
        assert "int8: slower than float32 on this machine: 2 ms an image here, 1 ms" in capsys.readouterr().err
        timed.reverse()
        assert not out.exists()
    assert deepres([*words, "--max-loss", "100", "--accept-uncertain"]) == 0
    assert json.loads((out / "parity.json").read_text())["images"] >= 64
    file = Predictor.load(out / "model.onnx").network
    assert (file.bundle.precision, file.bundle.weight_bits) == ("int8", 7 if reduced else 8)
    assert (file.note is None) == reduced, "made where sums are not cut, read where they are"
