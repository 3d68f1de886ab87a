"""A detector as one module that a graph can hold: a picture in, boxes out, non-maximum suppression included.

What is left out on the way keeps its place, with a score of -1, so that sizes follow from the picture's alone until the
end. Boxes of one level, or of one class, are thinned among themselves.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import nms, roi_align, roi_pool

from deepres.base.errors import InputError
from deepres.predict.predictor import Predictor
from deepres.tasks.detection.coding import clip, decode, large_enough
from deepres.tasks.detection.detector import DetectorNetwork
from deepres.tasks.detection.inference import for_inference
from deepres.tasks.detection.pooling import align
from deepres.tasks.detection.regions import level_of

OF_BOXES = (192, 256)
"""(height, width) of the picture that a detector is traced on."""


class WholeDetector(nn.Module):
    """uint8 (1, 3, H, W) -> boxes (M, 4) in px of it, labels int64 (M,), scores (M,), the likeliest first.

    The picture has been resized as the preparation says; it is normalised and set upon a canvas here. `plain`: by
    torch's own operators alone, none of torchvision's.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: DetectorNetwork, mean: Tensor, std: Tensor, multiple: int, *, plain: bool) -> None:
        super().__init__()
        self.network, self.multiple, self.plain = network, multiple, plain
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        height, width = image.shape[-2:]
        x = (image.to(torch.float32) / 255 - self.mean) / self.std
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
        levels = self.network.levels(x)
        boxes, likely = self._proposed(levels, x, (height, width))
        features = self.network.described(self._pooled(levels, boxes))
        if self.network.description.context:
            picture = boxes.new_tensor([[0, 0, width, height]])
            whole = self.network.described(self._pooled(levels, picture))
            features = torch.cat([features, whole.expand(features.shape[0], -1)], 1)
        scores, offsets = self.network.regions(features)
        chances = torch.where(likely[:, None] >= 0, scores.softmax(1)[:, 1:], 0.0)
        return self._answered(chances, offsets, boxes, (height, width))

    def _proposed(self, levels: list[Tensor], x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """`Proposing.proposed` of one picture: boxes (P, 4), and how likely they are, (P,)."""
        config, found, likely = self.network.proposals.config, [], []
        for anchors, objectness, offsets in zip(*self.network.proposals(levels, x.shape[-2:]), strict=True):
            values, places = objectness[0].topk(torch.sym_min(config.before_test, objectness.shape[1]))
            corners = clip(decode(offsets[0, places], anchors[places]), size)
            chances = torch.where(large_enough(corners, config.least_px), values.sigmoid(), -1.0)
            chances, order = chances.topk(chances.shape[0])
            corners = corners[order]
            likely.append(torch.where(self._stays(corners, chances, config.overlap), chances, -1.0))
            found.append(corners)
        boxes, chances = torch.cat(found), torch.cat(likely)
        chances, order = chances.topk(torch.sym_min(config.after_test, chances.shape[0]))
        return boxes[order], chances

    def _stays(self, boxes: Tensor, chances: Tensor, overlap: float) -> Tensor:
        """Which boxes, the likeliest first, no likelier one that stays overlaps by more: bool (B,)."""
        if not self.plain:
            stays = torch.zeros_like(chances, dtype=torch.bool)
            return stays.index_fill(0, nms(boxes, chances, overlap), True)
        return greedy(boxes, overlap)

    def _pooled(self, levels: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """`RegionHead.pooled` of one picture."""
        head = self.network.regions
        config, strides = head.config, head.strides
        level = level_of(boxes, strides)
        regions = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], 1)
        if self.plain:
            shift = 0.5 if config.aligned else 0.0
            return align(levels[: len(strides)], regions, level, strides, config.pool, config.samples, shift)
        pooled = regions.new_zeros(regions.shape[0], levels[0].shape[1], config.pool, config.pool)
        for place, stride in enumerate(strides):
            chosen = (level == place).nonzero()[:, 0]
            if config.pooled == "max":
                part = roi_pool(levels[place], regions[chosen], config.pool, 1 / stride)
            else:
                samples = config.samples or -1
                part = roi_align(levels[place], regions[chosen], config.pool, 1 / stride, samples, config.aligned)
            pooled = pooled.index_copy(0, chosen, part)
        return pooled

    def _answered(
        self, chances: Tensor, offsets: Tensor, boxes: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`RegionHead.answered` of one picture."""
        config = self.network.regions.config
        place, classes = (chances > config.score_above).nonzero().unbind(1)
        corners = clip(decode(offsets[place, classes + 1], boxes[place], config.deviations), size)
        likely = torch.where(large_enough(corners, config.least_px), chances[place, classes], -1.0)
        likely, order = likely.topk(likely.shape[0])
        corners, classes = corners[order], classes[order]
        apart = corners + (classes * (1 + torch.cat([corners.flatten(), corners.new_zeros(1)]).max()))[:, None]
        stays = self._stays(apart, likely, config.overlap) & (likely >= 0)
        kept = stays.nonzero()[: config.most, 0]
        return corners[kept], classes[kept], likely[kept]


def greedy(boxes: Tensor, overlap: float) -> Tensor:
    """Non-maximum suppression of boxes (B, 4), the likeliest first: which stay, bool (B,).

    What overlaps a likelier box that stays by more than `overlap` goes. Found in rounds: what holds of the first boxes
    in one round does not change in the next, so that as many rounds as boxes are enough, and a few are needed.
    """
    upper, lower = torch.maximum(boxes[:, None, :2], boxes[:, :2]), torch.minimum(boxes[:, None, 2:], boxes[:, 2:])
    common = (lower - upper).clamp(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    number = torch.arange(boxes.shape[0], device=boxes.device)
    likelier = number[:, None] < number
    covers = ((common > overlap * (area[:, None] + area - common)) & likelier).to(boxes.dtype)

    def unsettled(now: Tensor, before: Tensor) -> Tensor:
        return (now != before).any()

    def once_more(now: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        return (now @ covers == 0).to(boxes.dtype), now.clone()

    start = torch.ones_like(area)
    first = (start @ covers == 0).to(boxes.dtype)
    found: Tensor = torch.while_loop(unsettled, once_more, (first, start))[0]  # type: ignore[no-untyped-call]
    return found > 0


def whole_detector(predictor: Predictor, *, plain: bool) -> WholeDetector:
    """All that a predictor does to a resized picture, on the CPU, to rounding.

    Raises:
        InputError: `plain`, and regions that are pooled in a way that torch alone does not know.
    """
    if predictor.network.description.masks is not None:
        raise InputError(
            f"{predictor.network.description.name}: draws masks, and exported files answer boxes alone; serve the run, "
            "or train one with --recipe boxes"
        )
    regions = predictor.network.description.regions
    if plain and (regions.pooled != "align" or not regions.samples):
        raise InputError(
            f"{predictor.network.description.name}: pools regions as torch alone cannot (pooled {regions.pooled}, "
            f"samples {regions.samples}); wanted --format onnx"
        )
    network, preparation, statistics = predictor.network, predictor.preparation, predictor.statistics
    mean, std = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    if preparation.normalise == "per_channel":
        mean, std = (values.detach().cpu().float()[:, None, None] for values in (statistics.mean, statistics.std))
    ready = for_inference(network, "cpu", precision="float32").network
    return WholeDetector(ready, mean.clone(), std.clone(), preparation.edge, plain=plain).eval()
