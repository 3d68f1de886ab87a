"""A tiny network for each task, in a folder as its run leaves it; pictures that it answers differently."""

import json
from pathlib import Path
from typing import Any

import torch

from deepres.arch.families.resnet import ResNetConfig
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network
from deepres.predict.exported.bundle import Bundle
from deepres.tasks.classification.task import Classification, Temperature
from deepres.tasks.multilabel.task import Multilabel, Thresholds
from deepres.tasks.regression.task import Bounds, Regression

NAMES = ("ant", "bee", "cat")
SIDE = 16
TASKS: dict[str, Any] = {
    "classification": Classification(temperature=Temperature(value=0.7, low=0.6, high=0.8, found_on="val", images=90)),
    "multilabel": Multilabel(thresholds=Thresholds(values=(0.4, 0.5, 0.6), chosen=2, found_on="val", images=90)),
    "regression": Regression(
        mean=(3.0, -20.0, 0.5),
        std=(2.0, 5.0, 0.1),
        bounds=Bounds(values=(1.0, None, 0.2), coverage=0.9, found_on="val", images=90),
    ),
}


SMALL = Bundle(
    input="fitted",
    names=NAMES,
    task=TASKS["classification"].model_dump(mode="json"),
    preparation=Preparation(fit="crop", resize=20, crop=SIDE).model_dump(mode="json"),
    network="small",
    shape=(3, SIDE, SIDE),
)


def run_folder(folder: Path, task: str = "classification", preparation: Preparation | None = None) -> Path:
    """Weights of seed 0 as a run leaves them, norms with statistics of their own."""
    preparation = preparation or Preparation(fit="crop", resize=20, crop=SIDE)
    channels = preparation.channels
    side = preparation.size or SIDE
    config = ResNetConfig(
        name="tiny",
        input=(channels, side, side),
        num_classes=3,
        stem="cifar",
        stem_width=8,
        depths=(1, 1),
        widths=(8, 16),
    )
    network = create_model(config.architecture(), seed=0)
    draw = torch.Generator().manual_seed(1)
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=draw) + 0.5)
        elif name.endswith("running_mean"):
            buffer.copy_(torch.rand(buffer.shape, generator=draw) - 0.5)
    folder.mkdir(parents=True, exist_ok=True)
    facts = preparation.model_dump(mode="json")
    save_network(folder, network, NAMES, facts, task=TASKS[task].model_dump(mode="json"))
    Statistics(
        mean=torch.tensor([0.5, 0.4, 0.3][:channels]),
        std=torch.tensor([0.25, 0.2, 0.3][:channels]),
        eigenvalues=torch.zeros(channels),
        eigenvectors=torch.eye(channels),
        mean_image=torch.rand(channels, side, side, generator=draw),
        count=9,
    ).save(folder / "statistics.safetensors")
    return folder


def noise(number: int, height: int = SIDE, width: int = SIDE, channels: int = 3) -> torch.Tensor:
    """Pictures of noise with a slope, so that answers differ: uint8 (N, C, H, W)."""
    draw = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 128, (number, channels, height, width), dtype=torch.uint8, generator=draw)
    return pixels + (torch.arange(number) * 127 // max(1, number - 1)).to(torch.uint8)[:, None, None, None]


def small_onnx(path: Path) -> Path:
    """A file that takes and says what a true one does, made by hand: softmax of each channel's mean."""
    from onnx import TensorProto, helper

    from deepres.export.onnx_file import write

    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0),
        helper.make_node("Mul", ["m", "scale"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 3, SIDE, SIDE])
    answers = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
        helper.make_tensor("scale", TensorProto.FLOAT, [3], [0.1, 0.2, 0.3]),
    ]
    graph = helper.make_graph(nodes, "small", [image], [answers], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    write(path, model, SMALL)
    return path


def eighth_onnx(path: Path, largest: int, *, said: int | None = None) -> Path:
    """A file of one convolution in 8 bits whose weights are all `largest`, made by hand; `said` of their bits."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from deepres.export.onnx_file import write

    def eighth(name: str, scale: float) -> list[Any]:
        given, scales = [f"{name}_scale", f"{name}_zero"], {f"{name}_scale": np.float32(scale)}
        values.update({**scales, f"{name}_zero": np.uint8(0)})
        return [
            helper.make_node("QuantizeLinear", [name, *given], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", *given], [f"{name}_d"]),
        ]

    weights = np.full((3, 3, 3, 3), largest, np.int8)
    values: dict[str, Any] = {"w": weights, "w_scale": np.float32([1, 2, 3]) / 6400, "w_zero": np.zeros(3, np.int8)}
    values["axes"] = np.int64([2, 3])
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
        *eighth("x", 1.0),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["weights"], axis=0),
        helper.make_node("Conv", ["x_d", "weights"], ["y"], pads=[1, 1, 1, 1]),
        *eighth("y", 1.0),
        helper.make_node("ReduceMean", ["y_d", "axes"], ["z"], keepdims=0),
        helper.make_node("Mul", ["z", "small"], ["s"]),
        helper.make_node("Softmax", ["s"], ["probabilities"], axis=1),
    ]
    values["small"] = np.float32(0.05)
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 3, SIDE, SIDE])
    answers = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "eighth", [image], [answers], constants),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    write(path, model, SMALL.replace(precision="int8"))
    if said is not None:
        import onnx

        model = onnx.load(path)
        next(each for each in model.metadata_props if each.key == "weight_bits").value = json.dumps(said)
        path.write_bytes(model.SerializeToString())
    return path
