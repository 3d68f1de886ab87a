"""What docstrings say of shapes is so: each statement `(N, C, H, W) -> …` is called, and both sides compared."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from shapes import check, statements
from torch import Tensor, nn

from deepres.analyze import attribution, faithfulness
from deepres.arch import atoms, attention_atoms
from deepres.data.sources import arrays, labels, pixels
from deepres.data.transforms import per_batch
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.export import whole_detector
from deepres.nn import layers
from deepres.nn.create import create_model
from deepres.tasks.classification import ensemble
from deepres.tasks.detection import coding, proposals
from deepres.tasks.multilabel import metrics as multilabel
from deepres.tasks.multilabel.metrics import map_statistic

NET = create_model("resnet8_tiny", num_classes=5).eval()
X = torch.rand(3, 3, 32, 32)
PIXELS = torch.randint(0, 256, (3, 3, 8, 9), dtype=torch.uint8)
TARGETS = torch.tensor([[0, 1], [2, 3], [4, 0]])
STATISTICS = Statistics(torch.full((3,), 0.5), torch.ones(3), torch.ones(3), torch.eye(3), None, 0)
BOXES = torch.tensor([[0.0, 0, 4, 5], [1, 2, 9, 9]])
PREPARATION = Preparation(channels=3, normalise="per_channel")

Case = tuple[Callable[..., Any], tuple[Any, ...], dict[str, object]]


def _atom(atom: Any, given: tuple[int, ...]) -> Case:
    numbers = {name: value for name, value in atom.model_dump().items() if type(value) is int}
    return atom.output, (given,), numbers


def _layer(layer: nn.Module, x: Tensor, **numbers: object) -> Case:
    return layer.forward, (x,), numbers


C8 = torch.rand(2, 8, 7, 6)
CASES: dict[str, Case] = {
    "Identity.output": _atom(atoms.Identity(), (4, 5, 6)),
    "Conv.output": _atom(atoms.Conv(channels=8, kernel=3, stride=2, padding=1), (4, 7, 8)),
    "TransposedConv.output": _atom(atoms.TransposedConv(channels=8, kernel=2, stride=2), (4, 7, 8)),
    "ChannelConv.output": _atom(attention_atoms.ChannelConv(kernel=3), (4, 1, 1)),
    "GroupSum.output": _atom(attention_atoms.GroupSum(parts=2), (8, 7, 8)),
    "GroupSoftmax.output": _atom(attention_atoms.GroupSoftmax(parts=2, groups=2), (8, 1, 1)),
    "Norm.output": _atom(atoms.Norm(), (4, 7, 8)),
    "Activation.output": _atom(atoms.Activation(), (4,)),
    "MaxPool.output": _atom(atoms.MaxPool(kernel=3, stride=2, padding=1), (4, 7, 8)),
    "AvgPool.output": _atom(atoms.AvgPool(kernel=2, stride=2), (4, 7, 8)),
    "Blur.output": _atom(atoms.Blur(kernel=3, stride=2), (4, 7, 8)),
    "GlobalAveragePool.output": _atom(atoms.GlobalAveragePool(), (4, 7, 8)),
    "AdaptiveAvgPool.output": _atom(atoms.AdaptiveAvgPool(size=3), (4, 7, 8)),
    "ColumnMean.output": _atom(atoms.ColumnMean(columns=2), (8, 7, 8)),
    "PadChannels.output": _atom(atoms.PadChannels(channels=8, stride=2), (4, 7, 8)),
    "MaskChannels.output": _atom(atoms.MaskChannels(kept=2), (4, 7, 8)),
    "Scale.output": _atom(atoms.Scale(factor=0.5), (4, 7, 8)),
    "Dropout.output": _atom(atoms.Dropout(rate=0.5), (4,)),
    "DropPath.output": _atom(atoms.DropPath(rate=0.5), (4, 7, 8)),
    "Flatten.output": _atom(atoms.Flatten(), (4, 7, 8)),
    "Linear.output": _atom(atoms.Linear(features=5), (4,)),
    "Parallel.forward": _layer(
        layers.Parallel(nn.Identity(), OrderedDict(branch=nn.Conv2d(8, 4, 3)), "add", nn.Identity()), C8
    ),
    "SameConv2d.forward": _layer(layers.SameConv2d(8, 4, 3, stride=2), C8, stride=2),
    "ColumnMean.forward": _layer(layers.ColumnMean(2, 0.0, 0.0), C8, columns=2),
    "PadChannels.forward": _layer(layers.PadChannels(3, 2), C8, new_channels=3, stride=2),
    "MaskChannels.forward": _layer(layers.MaskChannels(3), C8),
    "Scale.forward": _layer(layers.Scale(2.0), C8),
    "ChannelConv.forward": _layer(layers.ChannelConv(3), torch.rand(2, 8, 1, 1)),
    "GroupSum.forward": _layer(layers.GroupSum(2), C8, parts=2),
    "GroupSoftmax.forward": _layer(layers.GroupSoftmax(2, 2), torch.rand(2, 8, 1, 1)),
    "Blur.forward": _layer(layers.Blur(8, 3, 2), C8, stride=2),
    "BatchDropPath.forward": _layer(layers.BatchDropPath(0.5), C8),
    "CountDropPath.forward": _layer(layers.CountDropPath(0.5), C8),
    "SampleDropPath.forward": _layer(layers.SampleDropPath(0.5), C8),
    "ResidualNetwork.forward": (NET.forward, (X,), {"classes": 5}),
    "ResidualNetwork.forward_features": (NET.forward_features, (X,), {}),
    "ResidualNetwork.forward_head": (NET.forward_head, (NET.forward_features(X),), {"classes": 5}),
    "top_classes": (lambda x: attribution.top_classes(NET, x, 2), (X,), {"k": 2}),
    "class_activation_maps": (lambda x, t: attribution.class_activation_maps(NET, x, t), (X, TARGETS), {}),
    "grad_cam": (lambda x, t: attribution.grad_cam(NET, x, t), (X, TARGETS), {}),
    "attribution_maps": (lambda x, t: attribution.attribution_maps(NET, x, t), (X, TARGETS), {}),
    "upsampled": (lambda maps: attribution.upsampled(maps, (20, 30)), (torch.rand(3, 2, 4, 5),), {"H": 20, "W": 30}),
    "overlay": (attribution.overlay, (PIXELS[0], torch.rand(8, 9)), {}),
    "bare_images": (lambda x: faithfulness.bare_images(x, "mean"), (X,), {}),
    "one_hot": (labels.one_hot, (torch.eye(4).numpy(),), {}),
    "to_uint8": (lambda x: pixels.to_uint8(x, "x", "where")[0], (PIXELS[:, 0].numpy(),), {"C": 1}),
    "with_channels": (lambda x: arrays.with_channels(x, 1), (PIXELS,), {"channels": 1}),
    "normalise": (lambda x: per_batch.normalise(x, PREPARATION, STATISTICS), (PIXELS,), {}),
    "as_seen": (lambda x: per_batch.as_seen(x, PREPARATION, STATISTICS), (X,), {}),
    "map_statistic": (map_statistic(torch.eye(4), torch.rand(4, 4)), (np.ones((7, 4)),), {}),
    "encode": (coding.encode, (BOXES, BOXES + 1), {}),
    "decode": (coding.decode, (BOXES, BOXES), {}),
    "clip": (lambda x: coding.clip(x, (4, 5)), (BOXES,), {}),
    "_rows": (whole_detector._rows, (torch.rand(2, 5, 4), torch.tensor([[0, 4, 2], [1, 1, 3]])), {}),
    "by_place": (lambda x: proposals.by_place(x, 4), (C8,), {"each": 4}),
    "vote": (lambda x: ensemble.vote(x, 4), (torch.randint(0, 4, (5, 7)),), {}),
}
WITHOUT_A_SHAPE = ("to_uint8", "with_channels", "normalise", "as_seen")
"""Behind their arrow stands a type, or the change in words."""
OTHERWISE = {
    "as_picture": "gives a picture, tests/data/test_decode.py",
    "moved_boxes": "at most so many, tests/tasks/detection/test_looking.py",
    "Answerer": "a class, tests/export/test_answerer.py",
    "Answerer.forward": "of a file, tests/export/test_answerer.py",
    "FeatureNetwork.forward": "several tensors, tests/nn/test_like_timm.py",
    "FitGraph": "a class, tests/export/test_fit_graph.py",
    "FitGraph.forward": "compared with fit, tests/export/test_fit_graph.py",
    "Loaded": "a class, tests/export/test_torch_program.py",
    "OnnxSession": "of a file, tests/export/test_onnx_file.py",
    "OpenVinoNetwork": "of a folder, tests/export/test_openvino_folder.py",
    "Program": "a class, tests/export/test_torch_program.py",
    "InPlace": "a class, tests/predict/test_backends.py",
    "WholeDetector": "a class, tests/export/test_whole_detector.py",
    "Whole": "a class, tests/export/test_onnx_file.py",
    "Whole.forward": "compared with predict, tests/export/test_onnx_file.py",
    "Sides": "a class, tests/data/test_sides.py",
    "Figures.statistic": "of matches, tests/tasks/detection/test_average_precision.py",
    "statistic": "of matches, tests/tasks/detection/test_average_precision.py",
    "_precisions": "private",
    "outlined": "gives HTML, tests/report/test_boxes.py",
    "upright": "of placed pictures, tests/journey/test_boxes.py",
    "DetectorNetwork.forward": "boxes of each picture, tests/tasks/detection/test_detector.py",
    "DetectorNetwork.features": "several maps, tests/parity/test_torchvision_detection.py",
    "DetectorNetwork.levels": "several maps, tests/parity/test_torchvision_detection.py",
    "_Rows": "private",
    "wanted": "of masks, tests/tasks/detection/test_masks.py",
    "pasted": "of a picture's size, tests/tasks/detection/test_masks.py",
    "MaskBranch.forward": "of a head, tests/tasks/detection/test_mask_head.py",
    "FastDetector": "a class, tests/tasks/detection/test_inference.py",
    "RegionHead.forward": "two tensors, tests/parity/test_torchvision_detection.py",
    "Geometry.points": "tests/data/test_geometry.py",
    "said": "two tensors, tests/tasks/localisation/test_localiser.py",
    "thumbnail": "gives bytes, tests/data/test_alike.py",
    "_ranks": "private",
    "box_of": "gives a box, no tensor",
    "BatchStage": "a class: what its call does, compared with slow loops in tests/data/test_per_batch.py",
    "Views.pictures": "several tensors, tests/data/test_views.py",
    "ResidualNetwork.features": "several tensors, tests/nn/test_build.py",
    "Inference": "a class, tests/nn/test_inference.py",
    "_Answering.forward": "private",
    "Predictor.probabilities": "of a run, tests/predict/test_predictor.py",
    "Teacher.logits": "of a run, tests/runs/test_teacher.py",
    "Teacher.of_pixels": "of a run, tests/runs/test_teacher.py",
    "Compared": "a class; its statistics are those of the tasks, such as map_statistic",
    "Teachers": "of a run, tests/runs/test_teacher.py",
}


def _shape(x: Any) -> tuple[int, ...]:
    return x if isinstance(x, tuple) else tuple(x.shape)


@pytest.mark.medium
def test_every_statement_of_shapes_is_called_or_says_where_it_is_tested() -> None:
    assert {*statements()} == {*CASES, *OTHERWISE}


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT_A_SHAPE])
def test_shapes_are_as_stated(name: str) -> None:
    function, given, numbers = CASES[name]
    stating: Any = function if function.__doc__ else _named(name)
    result = function(*given)
    check(stating.__doc__, [_shape(x) for x in given], _shape(result), numbers)


@pytest.mark.parametrize("name", WITHOUT_A_SHAPE)
def test_a_change_of_type_alone_keeps_the_shape(name: str) -> None:
    function, given, _ = CASES[name]
    result = function(*given)
    wanted = {"to_uint8": (3, 1, 8, 9), "with_channels": (3, 1, 8, 9)}
    assert _shape(result) == wanted.get(name, tuple(given[0].shape))


def _named(name: str) -> Any:
    rooms = (attribution, faithfulness, labels, pixels, arrays, per_batch, ensemble, multilabel, coding, proposals)
    return next(getattr(room, name) for room in rooms if hasattr(room, name))


@pytest.mark.parametrize(
    ("docstring", "given", "gives"),
    [
        ("(N, C) -> (N, C)", [(2, 3)], (2, 4)),
        ("(N, C) -> the same", [(2, 3)], (3, 3)),
        ("(N, C), (C,) -> (N,)", [(2, 3), (4,)], (2,)),
        ("(C, H, W) -> (C, ceil(H / 2), ceil(W / 2))", [(2, 5, 5)], (2, 2, 3)),
        ("(2 C, H) -> (C, H)", [(6, 4)], (4, 4)),
        ("(C, H, W) -> (C, H)", [(2, 5, 5)], (2, 5, 5)),
    ],
)
def test_a_false_statement_is_found(docstring: str, given: list[tuple[int, ...]], gives: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError):
        check(docstring, given, gives, {})
