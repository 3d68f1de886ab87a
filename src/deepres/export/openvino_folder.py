"""OpenVINO's model.xml and model.bin, written through ONNX; 8 bits by NNCF.

Nothing is told to anybody: OpenVINO reads ONNX without its converter, and NNCF is told to send no telemetry.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.extras import need, quiet
from deepres.base.signal_stack import signal_stack_kept
from deepres.nn.onnx_graph import IMAGE
from deepres.predict.exported.bundle import Bundle
from deepres.predict.exported.names import GRAPH
from deepres.predict.exported.openvino_network import ROOM, core
from deepres.predict.exported.saturation import bits_of_openvino

_WHAT = "OpenVINO"


def converted(model: Any) -> Any:
    """An ONNX model (a ModelProto) as OpenVINO's."""
    return core(_WHAT).read_model(model.SerializeToString())


def write(folder: Path, model: Any, bundle: Bundle) -> Path:
    """Write both files, weights in the precision that they have, said with its bits, and give that of the graph."""
    openvino = need("openvino", _WHAT)
    for key, text in bundle.replace(weight_bits=bits_of_openvino(model)).to_texts().items():
        model.set_rt_info(text, [ROOM, key])
    openvino.save_model(model, str(folder / GRAPH), compress_to_fp16=False)
    return folder / GRAPH


def quantised(model: Any, images: Sequence[Tensor]) -> Any:
    """A float32 model of fitted pictures in 8 bits, per channel, by NNCF; `images` uint8 (C, H, W) calibrate it.

    NNCF keeps weights of the first layer to 7 bits, where sums of products that are cut do harm
    (predict/exported/saturation.py).
    """
    os.environ.setdefault("NNCF_CI", "1")  # no telemetry
    nncf = need("nncf", "int8 for OpenVINO")
    if not images:
        raise InputError("calibration: no pictures, so that ranges are not known; give 100 at least")
    dataset = nncf.Dataset(list(images), lambda image: {IMAGE: image[None].numpy()})
    how = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.FIRST_LAYER)
    with quiet(), signal_stack_kept():
        return nncf.quantize(model, dataset, subset_size=len(images), advanced_parameters=how)


def after(first: Any, second: Any) -> Any:
    """One model: what `first` gives is the picture that `second` takes."""
    openvino = need("openvino", _WHAT)
    (taken,) = second.get_parameters()
    (given,) = first.get_results()
    taken.output(0).replace(given.input_value(0))
    return openvino.Model(second.get_results(), first.get_parameters(), "deepres")
