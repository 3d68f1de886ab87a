import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from small_run import eighth_onnx, noise

from deepres.cli.main import run
from deepres.export import openvino_folder
from deepres.nn.hardware import saturates_int8
from deepres.predict.exported import openvino_network, saturation
from deepres.predict.exported.onnx_session import read, session
from deepres.predict.exported.saturation import bits_of

TOLD = r"weights of 8 bits, and this processor, which has neither VNNI nor AMX, cuts sums .*export RUN again"


@pytest.fixture(params=[True, False], ids=["cuts", "is exact"])
def cuts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(saturation, "saturates_int8", lambda: request.param)
    return bool(request.param)


def _white() -> torch.Tensor:
    return torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)


def _exactly(file: Path) -> torch.Tensor:
    """What the file's own arithmetic gives of white pictures, in the middle of which no edge is."""
    model = onnx.load(file)
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    rows = np.convolve(np.ones(16), np.ones(3), "same")
    sums = 255.0 * np.outer(rows, rows) * 3 * weights["w"][:, 0, 0, 0, None, None] * weights["w_scale"][:, None, None]
    z = np.clip(np.rint(sums), 0, 255).mean((1, 2)) * weights["small"]
    return torch.from_numpy(z).softmax(0)[None].float()


@pytest.mark.medium
@pytest.mark.parametrize("runtime", ["onnxruntime", "OpenVINO"])
def test_sums_of_products_are_cut_where_the_hardware_is_said_to(runtime: str, tmp_path: Path) -> None:
    def asked(file: Path) -> torch.Tensor:
        if runtime == "onnxruntime":
            return session(file)(_white())
        pytest.importorskip("openvino")
        model, _, bundle = read(file)
        return openvino_network.compiled(openvino_folder.converted(model), bundle, "x")(_white())

    seven, eight = (eighth_onnx(tmp_path / f"{largest}.onnx", largest) for largest in (64, 127))
    assert (asked(seven) - _exactly(seven)).abs().max() < 0.01, "7 bits are exact everywhere"
    assert ((asked(eight) - _exactly(eight)).abs().max() > 0.02) == saturates_int8()


@pytest.mark.parametrize(("largest", "said"), [(127, None), (127, 7), (65, None), (64, None), (64, 8), (-128, None)])
def test_a_files_weights_say_whether_they_are_cut_whatever_it_says_itself(
    largest: int, said: int | None, tmp_path: Path, cuts: bool
) -> None:
    asked = session(eighth_onnx(tmp_path / "a.onnx", largest, said=said))
    assert asked.bundle.weight_bits == (said or (7 if abs(largest) <= 64 else 8))
    assert (asked.note is not None) == (cuts and abs(largest) > 64)
    assert asked.note is None or re.match(TOLD, asked.note)


def test_files_of_before_and_without_8_bits_are_asked_too(small: Path, tmp_path: Path, cuts: bool) -> None:
    file = eighth_onnx(tmp_path / "a.onnx", 127)
    model = onnx.load(file)
    left = [each for each in model.metadata_props if each.key != "weight_bits"]
    del model.metadata_props[:]
    model.metadata_props.extend(left)
    file.write_bytes(model.SerializeToString())
    assert session(file).bundle.weight_bits is None
    assert (session(file).note is not None) == cuts
    assert (session(small).note, session(small).bundle.weight_bits) == (None, None)


def test_weights_are_told_from_zeros_and_from_other_types() -> None:
    assert bits_of([]) is None
    assert bits_of([np.full(9, 127, np.int8), np.full((2, 2), 127, np.uint8), np.zeros((0, 2), np.int8)]) is None
    assert bits_of([np.full((2, 2), 64, np.int8), np.full((2, 2), -64, np.int8)]) == 7
    assert bits_of([np.full((2, 2), 64, np.int8), np.full((2, 2), -65, np.int8)]) == 8


@pytest.mark.medium
def test_openvinos_folder_says_and_is_asked_the_same(tmp_path: Path, cuts: bool) -> None:
    pytest.importorskip("openvino")
    for largest, bits in ((64, 7), (127, 8)):
        model, _, bundle = read(eighth_onnx(tmp_path / f"{bits}.onnx", largest))
        (tmp_path / str(bits)).mkdir()
        openvino_folder.write(tmp_path / str(bits), openvino_folder.converted(model), bundle.replace(weight_bits=None))
        asked = openvino_network.read(tmp_path / str(bits))
        assert asked.bundle.weight_bits == bits
        assert (asked.note is not None) == (cuts and bits == 8)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures of each class, in folders; a file in 8 bits beside them."""
    for number, image in enumerate(noise(6)):
        place = tmp_path / "photos" / ("ant", "bee", "cat")[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return eighth_onnx(tmp_path / "eighth.onnx", 127)


@pytest.mark.medium
def test_predict_eval_and_serve_say_it(pictures: Path, cuts: bool, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> Any:
        assert run([*words]) == 0
        return capsys.readouterr()

    told = said("predict", "eighth.onnx", "photos/ant/0.png")
    assert bool(re.search(f"^eighth.onnx: {TOLD}", told.err, re.MULTILINE)) == cuts
    assert bool(re.search(f"note: {TOLD}", said("eval", "eighth.onnx", "photos").out)) == cuts
    notes = json.loads(said("eval", "eighth.onnx", "photos", "--json").out)["notes"]
    assert [bool(re.match(TOLD, note)) for note in notes] == [True] * cuts
    pytest.importorskip("fastapi")
    from deepres.serve.served import Served

    assert bool(re.search(TOLD, Served.load("a", "eighth.onnx", None, "auto").facts()["note"])) == cuts
