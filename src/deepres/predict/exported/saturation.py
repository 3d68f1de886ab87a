"""Weights of 8 bits where a processor cuts sums of products at 16: how many bits a file's have, and what is said then.

255 (|w1| + |w2|) <= 2^15 - 1 holds of weights from -64 to 64, which 7 bits are; of larger ones two products of uint8
and int8 may sum to more, and x86 without VNNI and AMX cuts them (vpmaddubsw): in onnxruntime's kernels and OpenVINO's.
It matters in the first layer above all, whose pixels are large; NNCF keeps it to 7 bits (docs/decisions/0016).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from deepres.base.extras import need
from deepres.nn.hardware import saturates_int8
from deepres.nn.onnx_graph import graphs

LARGEST = 64
"""Of weights in 7 bits; two that no sum is cut of."""
CUT = (
    "weights of 8 bits, and this processor, which has neither VNNI nor AMX, cuts sums of their products, so that "
    "answers may be wrong; export RUN again on this machine (weights keep to 7 bits there), or without --int8"
)


def said(bits: int | None) -> str | None:
    """What has to be known of answers by weights of so many bits, on this machine; None: nothing."""
    return CUT if bits is not None and bits > 7 and saturates_int8() else None


def bits_of(weights: Iterable[Any]) -> int | None:
    """7 or 8, by the largest value of these arrays; only int8 of two dimensions or more are weights; None: no such."""
    eighths = [each for each in weights if each.dtype == np.int8 and each.ndim > 1 and each.size]
    if not eighths:
        return None
    return 8 if any(int(each.max()) > LARGEST or int(each.min()) < -LARGEST for each in eighths) else 7


def bits_of_onnx(model: Any) -> int | None:
    """`bits_of` a ModelProto's tensors: initialisers, and constants among its nodes."""
    onnx = need("onnx", "int8")
    bodies = graphs(model.graph)
    tensors = [tensor for graph in bodies for tensor in graph.initializer]
    tensors += [each.t for graph in bodies for node in graph.node for each in node.attribute if each.HasField("t")]
    eighths = [each for each in tensors if each.data_type == onnx.TensorProto.INT8 and len(each.dims) > 1]
    return bits_of(onnx.numpy_helper.to_array(each) for each in eighths)


def bits_of_openvino(model: Any) -> int | None:
    """`bits_of` an OpenVINO model's constants."""
    return bits_of(node.data for node in model.get_ops() if _is_eighth(node))


def bits_of_first(model: Any) -> int | None:
    """The same of the first layer of an OpenVINO model that has weights of 8 bits."""
    for node in model.get_ordered_ops():
        if node.get_type_name() in ("Convolution", "GroupConvolution", "MatMul"):
            above = node.input_value(1).get_node()
            while above.get_input_size():
                above = above.input_value(0).get_node()
            if _is_eighth(above) and (bits := bits_of([above.data])) is not None:
                return bits
    return None


def _is_eighth(node: Any) -> bool:
    return bool(node.get_type_name() == "Constant" and node.get_element_type().get_type_name() == "i8")
