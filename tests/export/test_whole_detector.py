"""A detector as one module answers as the detector; what a file says of boxes is asked and checked."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_run import SMALL, noise
from torchvision.ops import nms

from deepres.base.errors import InputError
from deepres.data.transforms.config import Preparation
from deepres.export import onnx_file, torch_program
from deepres.export.parity_boxes import matched, without
from deepres.export.suppression import greedy, one_by_one
from deepres.export.whole_detector import WholeDetector
from deepres.predict.exported.answerer import read_exported
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
    boxes, scores = map(torch.stack, zip(*(_random(number, seed) for seed in range(3)), strict=True))
    for stays in (greedy(boxes, overlap), one_by_one(boxes, scores, overlap)):
        for picture in range(3):
            assert torch.equal(stays[picture].nonzero()[:, 0], nms(boxes[picture], scores[picture], overlap))


@pytest.mark.medium
def test_a_chain_in_which_each_box_covers_the_next_keeps_every_second() -> None:
    left = torch.arange(60.0) * 2
    boxes = torch.stack([left, torch.zeros(60), left + 10, torch.full((60,), 10.0)], 1)
    assert greedy(boxes[None], 0.6).tolist() == [[True, False] * 30]


@pytest.mark.parametrize(("neck", "context"), [("fpn", False), ("c4", False), ("fpn", True), ("c4", True)])
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.medium
def test_the_module_answers_as_the_detector(neck: str, plain: bool, context: bool) -> None:
    ready = for_inference(tiny.network(neck, context=context).eval(), "cpu", precision="float32").network
    mean, std = torch.full((3, 1, 1), 0.4), torch.full((3, 1, 1), 0.2)
    whole = WholeDetector(ready, mean, std, 32, plain=plain).eval()
    for height, width in ((90, 120), (64, 64)):
        pictures = noise(3, height, width)
        x = torch.nn.functional.pad((pictures.float() / 255 - mean) / std, (0, -width % 32, 0, -height % 32))
        with torch.inference_mode():
            every = [ready(each[None], torch.tensor([[height, width]]))[0] for each in x]
            *parts, counts = whole(pictures)
        for wanted, boxes, labels, scores in zip(every, *(part.split(counts.tolist()) for part in parts), strict=True):
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


def _boxes_file(
    path: Path, labels: tuple[int, ...], scores: tuple[float, ...], corners: int = 4, count: int | None = None
) -> Path:
    """A file that finds the same boxes on every picture; how many depends on nothing."""
    from onnx import TensorProto, helper

    number = len(labels)
    told: dict[str, Any] = {
        "boxes": (TensorProto.FLOAT, [number, corners], [float(at) for at in range(number * corners)]),
        "labels": (TensorProto.INT64, [number], labels),
        "scores": (TensorProto.FLOAT, [number], scores),
        "counts": (TensorProto.INT64, [1], [number if count is None else count]),
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
    onnx_file.write(path, model, SMALL.replace(task=task, preparation=prepared.model_dump(mode="json")))
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
    ("labels", "scores", "corners", "count", "told"),
    [
        ((3,), (0.5,), 4, None, "labels beyond its 3 names"),
        ((-1,), (0.5,), 4, None, "labels beyond its 3 names"),
        ((0,), (0.5,), 3, None, "of other shapes"),
        ((0, 1), (0.5, 0.4), 4, 1, "of other shapes"),
    ],
)
def test_what_are_no_boxes_is_refused(
    labels: tuple[int, ...], scores: tuple[float, ...], corners: int, count: int | None, told: str, tmp_path: Path
) -> None:
    predictor = Predictor.load(_boxes_file(tmp_path / "x.onnx", labels, scores, corners, count))
    with pytest.raises(InputError, match=told):
        predictor.network(torch.zeros(1, 3, 32, 32))


@pytest.mark.long
@pytest.mark.parametrize(("name", "neck"), [("x.onnx", "fpn"), ("x.pt2", "fpn"), ("x.onnx", "c4"), ("x.pt2", "c4")])
def test_one_file_answers_any_number_of_pictures(name: str, neck: str, tmp_path: Path) -> None:
    prepared = Preparation(fit="sides", resize=64, longest=128)
    network = tiny.network(neck, context=neck == "c4").eval()
    told = SMALL.replace(
        task=Detection().model_dump(mode="json"), preparation=prepared.model_dump(mode="json"), shape=(3, 64, 64)
    )
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.25, 0.2, 0.3])
    ours: Any = SimpleNamespace(network=network, preparation=prepared, statistics=SimpleNamespace(mean=mean, std=std))
    if name.endswith("onnx"):
        model = onnx_file.fitted(ours, told)
        assert [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim] == [
            "batch",
            "",
            "height",
            "width",
        ]
        onnx_file.write(tmp_path / name, model, told)
        metadata = {each.key: each.value for each in model.metadata_props}
        assert list(json.loads(metadata["outputs"])) == ["boxes", "labels", "scores", "counts"]
    else:
        torch_program.write(tmp_path / name, torch_program.program(ours, told), told)
    answerer = read_exported(tmp_path / name)
    for height, width in ((64, 90), (100, 64)):
        pictures = noise(5, height, width)
        alone = [_answer(network, mean, std, prepared, each) for each in pictures]
        assert min(len(each.scores) for each in alone) > 10
        for number in (1, 2, 5):
            answers = answerer(pictures[:number] / 255)
            assert len(answers) == number
            for own, other in zip(alone, answers, strict=False):
                mine, theirs = matched(own, other)
                assert len(mine) >= 0.98 * max(len(own.scores), len(other.scores))
                torch.testing.assert_close(other.corners[theirs], own.corners[mine], rtol=0, atol=1e-2)
                torch.testing.assert_close(other.scores[theirs], own.scores[mine], rtol=0, atol=1e-3)
    sizes = torch.tensor([[64, 90], [50, 80], [64, 90]])
    mixed = answerer(noise(3, 64, 90) / 255, sizes)  # each cut out of its canvas
    for picture, (high, wide), found in zip(noise(3, 64, 90), sizes.tolist(), mixed, strict=True):
        own = _answer(network, mean, std, prepared, picture[:, :high, :wide])
        assert len(matched(own, found)[0]) >= 0.98 * len(own.scores)


def _answer(network: Any, mean: torch.Tensor, std: torch.Tensor, prepared: Preparation, picture: torch.Tensor) -> Found:
    """What the network itself finds on one picture, alone on its canvas."""
    high, wide = picture.shape[1:]
    x = (picture[None].float() / 255 - mean[:, None, None]) / std[:, None, None]
    with torch.inference_mode():
        padded = torch.nn.functional.pad(x, (0, -wide % prepared.edge, 0, -high % prepared.edge))
        found: list[Found] = network(padded, torch.tensor([[high, wide]]))
    return found[0]
