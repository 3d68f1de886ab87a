"""A float32 ONNX file of fitted pictures -> the same network in 8 bits: static, per channel, by onnxruntime (QDQ).

Activations are uint8 and weights int8, ranges those that calibration pictures reach. What makes pixels into the
network's input, and what its last layer gives, stays in float32.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.extras import need, quiet
from deepres.export.onnx_file import write
from deepres.nn.hardware import saturates_int8
from deepres.nn.onnx_graph import IMAGE, plain
from deepres.predict.exported.bundle import Bundle
from deepres.predict.exported.onnx_session import read

_WEIGHING = ("Conv", "Gemm", "MatMul")
_LAYERS = (
    "Conv",
    "Gemm",
    "MatMul",
    "Add",
    "Mul",
    "Relu",
    "Clip",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Concat",
)


def quantised(source: Path, target: Path, images: Iterable[Tensor], *, reduced: bool | None = None) -> None:
    """Write at `target` what `source`, a float32 file of fitted pictures, becomes.

    `images` are calibration pictures, uint8 (C, H, W). `reduced` keeps weights to 7 bits; None: where this processor
    cuts sums of products of larger ones (predict/exported/saturation.py).

    Raises:
        InputError: no pictures, a file of pictures of any size, or one in 8 bits already.
    """
    model, _, bundle = read(source)
    if bundle.input != "fitted" or bundle.precision != "float32":
        raise InputError(
            f"{source}: takes {bundle.input}, is in {bundle.precision}; wanted a float32 file of fitted pictures"
        )
    write(
        target,
        quantised_model(model, bundle, images, reduced=reduced),
        bundle.replace(precision="int8", parity="unchecked"),
    )


def quantised_model(model: Any, bundle: Bundle, images: Iterable[Tensor], *, reduced: bool | None = None) -> Any:
    """The same of a ModelProto, which stays as it is."""
    quantization = need("onnxruntime.quantization", "int8")
    onnx = need("onnx", "int8")
    left = _one_by_one(images, bundle)
    reader: Any = type("Pictures", (quantization.CalibrationDataReader,), {"get_next": lambda _: next(left, None)})

    with tempfile.TemporaryDirectory(prefix="deepres-int8-") as folder, quiet():
        file = Path(folder) / "int8.onnx"
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        quantization.quantize_static(
            copy,
            file,
            reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(_LAYERS),
            per_channel=True,
            reduce_range=saturates_int8() if reduced is None else reduced,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=_around(model.graph),
        )
        found = onnx.load(file)
    plain(found)
    return found


def layer_errors(whole: Any, eighth: Any, images: Sequence[Tensor]) -> list[tuple[str, float]]:
    """|y - y8| / |y| of what each layer gives, the worst first, by the layer's name; y in float32, y8 in 8 bits.

    `whole` and `eighth` are ModelProtos of one network, `images` a few fitted pictures.
    """
    runtime, onnx = need("onnxruntime", "int8"), need("onnx", "int8")
    given = {name: node.name for node in eighth.graph.node for name in node.output}
    layers = {node.output[0]: _called(node) for node in whole.graph.node if node.op_type in _WEIGHING}
    shared = [name for name in layers if name in given]
    found: list[list[Any]] = []
    for model in (whole, eighth):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in shared)
        run = runtime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
        found.append(run.run(shared, {IMAGE: torch.stack(list(images)).numpy()}))
    errors = [
        (layers[name], float(np.linalg.norm(y - y8)) / max(float(np.linalg.norm(y)), 1e-30))
        for name, y, y8 in zip(shared, *found, strict=True)
    ]
    return sorted(errors, key=lambda each: -each[1])


def _called(node: Any) -> str:
    """The layer's dotted name, as its weight has it; the node's, where it has none."""
    weight = next((name for name in node.input if name.endswith(".weight")), "")
    return weight.removeprefix("network.").removesuffix(".weight") or str(node.name)


def _one_by_one(images: Iterable[Tensor], bundle: Bundle) -> Iterator[dict[str, Any]]:
    count = 0
    for count, image in enumerate(images, 1):  # noqa: B007
        if tuple(image.shape) != bundle.shape:
            raise InputError(f"calibration: a picture of {tuple(image.shape)}, wanted fitted ones of {bundle.shape}")
        yield {IMAGE: image[None].numpy()}
    if not count:
        raise InputError("calibration: no pictures, so that ranges are not known; give 100 at least")


def _around(graph: Any) -> list[str]:
    """The nodes before the first layer and behind the last: by name."""
    kinds = [node.op_type for node in graph.node]
    weighing = [place for place, kind in enumerate(kinds) if kind in _WEIGHING]
    first, last = (weighing[0], weighing[-1]) if weighing else (len(kinds), -1)
    return [node.name for place, node in enumerate(graph.node) if place < first or place > last]
