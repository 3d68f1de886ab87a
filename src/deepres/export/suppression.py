"""Non-maximum suppression that a graph can hold, of boxes that are sorted, each picture's apart: in torch, in ONNX.

N pictures, B boxes a picture, the likeliest first.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import nms

from deepres.base.extras import need

_WHAT = "writing ONNX"
_ALL = 2**62
"""Boxes that ONNX's operator keeps at most, of a picture."""
_BOOL = 9
"""What ONNX calls the type of truth values."""


def greedy(boxes: Tensor, overlap: float) -> Tensor:
    """Which boxes (N, B, 4) stay, bool (N, B), by torch's own operators.

    What overlaps a likelier box that stays by more than `overlap` goes. Found in rounds: what holds of the first boxes
    in one round does not change in the next, so that as many rounds as boxes are enough, and a few are needed.
    """
    one, other = boxes[:, :, None], boxes[:, None]
    upper, lower = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    common = (lower - upper).clamp(min=0).prod(3)
    area = (boxes[:, :, 2:] - boxes[:, :, :2]).prod(2)
    number = torch.arange(boxes.shape[1], device=boxes.device)
    likelier = number[:, None] < number
    covers = ((common > overlap * (area[:, :, None] + area[:, None] - common)) & likelier).to(boxes.dtype)

    def unsettled(now: Tensor, before: Tensor) -> Tensor:
        return (now != before).any()

    def once_more(now: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        return ((now[:, None] @ covers)[:, 0] == 0).to(boxes.dtype), now.clone()

    start = torch.ones_like(area)
    first = ((start[:, None] @ covers)[:, 0] == 0).to(boxes.dtype)
    found: Tensor = torch.while_loop(unsettled, once_more, (first, start))[0]  # type: ignore[no-untyped-call]
    return found > 0


def one_by_one(boxes: Tensor, chances: Tensor, overlap: float) -> Tensor:
    """The same of boxes and their chances (N, B), by torchvision; in ONNX one operator (`in_onnx`)."""
    found: Tensor = _operator()(boxes, chances, overlap)
    return found


def in_onnx() -> dict[Any, Any]:
    """How torch.onnx writes `one_by_one`: its `custom_translation_table`."""
    op, make_tensor = need("onnxscript", _WHAT).opset20, need("onnx.helper", _WHAT).make_tensor
    no, yes = (make_tensor("value", _BOOL, [1], [value]) for value in (False, True))

    def written(boxes: Any, chances: Any, overlap: float) -> Any:
        limits = op.Constant(value_int=_ALL), op.Constant(value_float=overlap)
        chosen = op.NonMaxSuppression(boxes, op.Unsqueeze(chances, op.Constant(value_ints=[1])), *limits)
        places = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)  # picture, box
        none = op.ConstantOfShape(op.Shape(chances), value=no)
        return op.ScatterND(none, places, op.ConstantOfShape(op.Shape(places, end=1), value=yes))

    _operator()
    return {torch.ops.deepres.stays.default: written}


@cache
def _operator() -> Any:
    """`one_by_one` as one operator of a graph."""

    @torch.library.custom_op("deepres::stays", mutates_args=())
    def stays(boxes: Tensor, chances: Tensor, overlap: float) -> Tensor:
        found = torch.zeros_like(chances, dtype=torch.bool)
        for picture, (own, likely) in enumerate(zip(boxes, chances, strict=True)):
            found[picture, nms(own, likely, overlap)] = True
        return found

    @stays.register_fake
    def _(_boxes: Tensor, chances: Tensor, _overlap: float) -> Tensor:
        return torch.empty_like(chances, dtype=torch.bool)

    return stays
