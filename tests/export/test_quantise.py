from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from small_run import noise

from deepres.base.errors import InputError
from deepres.export.quantise import layer_errors, quantised
from deepres.nn.hardware import saturates_int8
from deepres.predict.exported.onnx_session import read, session
from deepres.predict.predictor import Predictor

Made = Callable[..., tuple[Predictor, Path]]


@pytest.mark.slow
def test_eight_bits_answer_nearly_the_same_by_plain_operators(made: Made, tmp_path: Path) -> None:
    file = made()[1]
    quantised(file, tmp_path / "int8.onnx", noise(100))
    asked = session(tmp_path / "int8.onnx")
    assert asked.bundle == session(file).bundle.replace(precision="int8", weight_bits=7 if saturates_int8() else 8)
    assert (asked(noise(16)) - session(file)(noise(16))).abs().max() < 0.05
    model = onnx.load(tmp_path / "int8.onnx")
    assert [each.domain for each in model.opset_import] == [""]
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("DequantizeLinear") > 10
    weights = {each.name: each for each in model.graph.initializer}
    scales = [weights[name].dims for name in weights if "conv" in name and "weight_scale" in name]
    assert scales, "weights in 8 bits"
    assert all(next(iter(dims)) > 1 for dims in scales), "a scale for each channel"
    errors = layer_errors(read(file)[0], model, list(noise(4)))
    assert errors == sorted(errors, key=lambda each: -each[1])
    assert 0 < errors[0][1] < 0.2


@pytest.mark.medium
def test_calibration_without_pictures_or_with_others_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="calibration: no pictures"):
        quantised(small, tmp_path / "x.onnx", [])
    with pytest.raises(InputError, match=r"calibration: a picture of .*wanted fitted ones"):
        quantised(small, tmp_path / "x.onnx", [torch.zeros(3, 4, 4, dtype=torch.uint8)])
    assert not (tmp_path / "x.onnx").exists()
