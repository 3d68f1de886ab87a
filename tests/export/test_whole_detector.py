"""A detector as one module answers as the detector; what a file says of boxes is asked and checked."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import SMALL, noise
from torchvision.ops import nms

from deepres.base.errors import InputError
from deepres.data.transforms.config import Preparation
from deepres.export.onnx_file import write
from deepres.export.parity_boxes import matched, without
from deepres.export.whole_detector import WholeDetector, greedy
from deepres.predict.predictor import Predictor
from deepres.tasks.detection.inference import for_inference
from deepres.tasks.detection.regions import Found
from deepres.tasks.detection.task import Detection

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks" / "detection"))
import tiny


def _random(number: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    corner, sides = 100 * torch.rand(number, 2, generator=draw), 5 + 40 * torch.rand(number, 2, generator=draw)
    scores = torch.rand(number, generator=draw).sort(descending=True).values
    return torch.cat([corner, corner + sides], 1), scores


@pytest.mark.parametrize("number", [0, 1, 2, 200])
@pytest.mark.parametrize("overlap", [0.3, 0.7])
@pytest.mark.medium
def test_rounds_keep_what_one_after_the_other_keeps(number: int, overlap: float) -> None:
    for seed in range(3):
        boxes, scores = _random(number, seed)
        assert torch.equal(greedy(boxes, overlap).nonzero()[:, 0], nms(boxes, scores, overlap))


@pytest.mark.medium
def test_a_chain_in_which_each_box_covers_the_next_keeps_every_second() -> None:
    left = torch.arange(60.0) * 2
    boxes = torch.stack([left, torch.zeros(60), left + 10, torch.full((60,), 10.0)], 1)
    assert greedy(boxes, 0.6).tolist() == [True, False] * 30


@pytest.mark.parametrize(("neck", "context"), [("fpn", False), ("c4", False), ("fpn", True), ("c4", True)])
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.medium
def test_the_module_answers_as_the_detector(neck: str, plain: bool, context: bool) -> None:
    ready = for_inference(tiny.network(neck, context=context).eval(), "cpu", precision="float32").network
    mean, std = torch.full((3, 1, 1), 0.4), torch.full((3, 1, 1), 0.2)
    whole = WholeDetector(ready, mean, std, 32, plain=plain).eval()
    for height, width in ((90, 120), (64, 64)):
        picture = noise(3, height, width)[1:2]
        x = torch.nn.functional.pad((picture.float() / 255 - mean) / std, (0, -width % 32, 0, -height % 32))
        with torch.inference_mode():
            (wanted,) = ready(x, torch.tensor([[height, width]]))
            boxes, labels, scores = whole(picture)
        assert len(wanted.scores) > 10
        mine, theirs = matched(wanted, Found(boxes, labels, scores))
        assert len(mine) >= 0.98 * max(len(wanted.scores), len(scores))
        torch.testing.assert_close(boxes[theirs], wanted.corners[mine], rtol=0, atol=1e-3)
        torch.testing.assert_close(scores[theirs], wanted.scores[mine], rtol=0, atol=1e-4)


def test_boxes_are_matched_once_and_within_their_class() -> None:
    corners = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]])
    one = Found(corners, torch.tensor([0, 1, 2]), torch.tensor([0.9, 0.8, 0.7]))
    other = Found(corners[[2, 0, 0]] + 0.1, torch.tensor([2, 0, 0]), torch.tensor([0.7, 0.6, 0.5]))
    mine, theirs = matched(one, other)
    assert sorted(zip(mine.tolist(), theirs.tolist(), strict=True)) == [(0, 1), (2, 0)]
    assert without(one, mine).classes.tolist() == [1]
    none = Found(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    assert [len(each) for each in matched(one, none)] == [0, 0]


def _boxes_file(path: Path, labels: tuple[int, ...], scores: tuple[float, ...], corners: int = 4) -> Path:
    """A file that finds the same boxes on every picture; how many depends on nothing."""
    from onnx import TensorProto, helper

    number = len(labels)
    told: dict[str, Any] = {
        "boxes": (TensorProto.FLOAT, [number, corners], [float(at) for at in range(number * corners)]),
        "labels": (TensorProto.INT64, [number], labels),
        "scores": (TensorProto.FLOAT, [number], scores),
    }
    nodes = [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, shape, values))
        for name, (kind, shape, values) in told.items()
    ]
    outputs = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape, _) in told.items()]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 3, "height", "width"])
    model = helper.make_model(
        helper.make_graph(nodes, "boxes", [image], outputs),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    prepared = Preparation(fit="sides", resize=32, longest=64)
    task = Detection().model_dump(mode="json")
    write(path, model, SMALL.replace(task=task, preparation=prepared.model_dump(mode="json")))
    return path


def test_a_file_of_boxes_is_asked_and_put_back_into_the_picture(tmp_path: Path) -> None:
    from PIL import Image

    predictor = Predictor.load(_boxes_file(tmp_path / "x.onnx", (0, 2), (0.9, 0.2)))
    Image.new("RGB", (64, 48)).save(tmp_path / "0.png")
    answer: Any = predictor(tmp_path / "0.png")
    assert [(box.name, round(box.score, 3)) for box in answer.boxes] == [("ant", 0.9)]
    assert answer.boxes[0].corners == pytest.approx((0, 1.5, 2.98, 4.5), abs=0.05), "the short side is 32 of 48 px"
    assert answer.hidden == 1


@pytest.mark.parametrize(
    ("labels", "scores", "corners", "told"),
    [
        ((3,), (0.5,), 4, "labels beyond its 3 names"),
        ((-1,), (0.5,), 4, "labels beyond its 3 names"),
        ((0,), (0.5,), 3, "of other shapes"),
    ],
)
def test_what_are_no_boxes_is_refused(
    labels: tuple[int, ...], scores: tuple[float, ...], corners: int, told: str, tmp_path: Path
) -> None:
    predictor = Predictor.load(_boxes_file(tmp_path / "x.onnx", labels, scores, corners))
    with pytest.raises(InputError, match=told):
        predictor.network(torch.zeros(1, 3, 32, 32))
