"""One .onnx file, written with what it says of itself."""

from pathlib import Path
from typing import Any

import torch

from deepres.base.errors import InputError
from deepres.base.files import write_atomic
from deepres.data.transforms.config import Preparation
from deepres.export.fit_graph import FitGraph
from deepres.export.suppression import in_onnx
from deepres.export.whole import whole
from deepres.export.whole_detector import OF_BOXES, whole_detector
from deepres.nn.onnx_graph import BATCH, after, traced
from deepres.predict.exported.bundle import Bundle
from deepres.predict.exported.onnx_session import MOST_BYTES, require_plain
from deepres.predict.exported.saturation import bits_of_onnx
from deepres.predict.predictor import Predictor


def fitted(predictor: Predictor, bundle: Bundle) -> Any:
    """The ONNX model (a ModelProto) of pictures that have the network's size, uint8 (batch, C, H, W).

    Of a detector's (batch, C, height, width), resized as its preparation says.
    """
    if bundle.finds_boxes:
        pictures = torch.zeros(2, bundle.shape[0], *OF_BOXES, dtype=torch.uint8)
        finder, sides = whole_detector(predictor, plain=False), {0: BATCH, 2: "height", 3: "width"}
        return traced(finder, pictures, [*bundle.outputs], sides, related=True, operators=in_onnx())
    module, shape = whole(predictor), bundle.shape
    example = torch.zeros(2, *shape, dtype=torch.uint8)
    return traced(module, example, bundle.answers, {0: BATCH})


def fit_alone(preparation: Preparation, bundle: Bundle) -> Any:
    """The ONNX model of what happens to a picture of any size: uint8 in, uint8 of the network's size out."""
    example = torch.zeros(2, bundle.shape[0], 5, 7, dtype=torch.uint8)
    return traced(FitGraph(preparation), example, "fitted", {0: BATCH, 2: "height", 3: "width"})


def fitting(network: Any, preparation: Preparation, bundle: Bundle) -> Any:
    """The model of fitted pictures as one that takes what `bundle.input` says."""
    return after(fit_alone(preparation, bundle), network, bundle.answers) if bundle.any_size else network


def write_fitted(path: Path, predictor: Predictor, bundle: Bundle) -> None:
    """Write the file of `fitted`, whole or not at all."""
    write(path, fitted(predictor, bundle), bundle)


def write(path: Path, model: Any, bundle: Bundle) -> None:
    """Write the model with what it says of itself, and how many bits its weights have.

    Raises:
        InputError: it is too large for one file, or has operators of other domains.
    """
    del model.metadata_props[:]
    for key, text in bundle.replace(weight_bits=bits_of_onnx(model)).to_texts().items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    require_plain(model, str(path))
    if model.ByteSize() > MOST_BYTES:
        raise InputError(
            f"{path}: {model.ByteSize():,} bytes do not fit into one ONNX file of 2 GiB; wanted a smaller network"
        )
    write_atomic(path, model.SerializeToString(deterministic=True))
