"""A detector as one module that a graph can hold: pictures in, boxes out, non-maximum suppression included.

What is left out on the way keeps its place, with a score of -1, so that sizes follow from the pictures' alone until the
end. Boxes of one level, or of one class, are thinned among themselves, each picture's apart. N pictures, P proposals a
picture, K classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align, roi_pool

from deepres.base.errors import InputError
from deepres.export.suppression import greedy, one_by_one
from deepres.predict.predictor import Predictor
from deepres.tasks.detection.coding import FURTHEST
from deepres.tasks.detection.detector import DetectorNetwork
from deepres.tasks.detection.inference import for_inference
from deepres.tasks.detection.pooling import align
from deepres.tasks.detection.regions import level_of

OF_BOXES = (192, 256)
"""(height, width) of the pictures that a detector is traced on."""
_NEVER = -1e30
"""The objectness of what is no anchor."""
_FAR = 1e6
"""Beyond every picture, px."""


class WholeDetector(nn.Module):
    """uint8 (N, 3, H, W) -> boxes (M, 4) in px, labels int64 (M,), scores (M,), counts int64 (N,).

    The M boxes lie picture by picture, the likeliest of each first, `counts` of each. The pictures have been resized as
    the preparation says, and are of one size; they are normalised and set upon a canvas here. `plain`: by torch's own
    operators alone, none of torchvision's.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: DetectorNetwork, mean: Tensor, std: Tensor, multiple: int, *, plain: bool) -> None:
        super().__init__()
        self.network, self.multiple, self.plain = network, multiple, plain
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        height, width = image.shape[-2:]
        x = (image.to(torch.float32) / 255 - self.mean) / self.std
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
        levels = self.network.levels(x)
        boxes, likely = self._proposed(levels, x, (height, width))
        features = self.network.described(self._pooled(levels, boxes))
        if self.network.description.context:
            picture = _within(boxes.new_tensor([0, 0, _FAR, _FAR]).expand(boxes.shape[0], 1, 4), (height, width))
            whole = self.network.described(self._pooled(levels, picture))
            of_each = whole[:, None].expand(-1, boxes.shape[1], -1).flatten(0, 1)
            features = torch.cat([features, of_each], 1)
        scores, offsets = self.network.regions(features)
        chances = scores.softmax(1)[:, 1:].reshape(*likely.shape, -1)
        chances = torch.where(likely[:, :, None] >= 0, chances, 0.0)
        return self._answered(chances, offsets.reshape(*likely.shape, -1, 4), boxes, (height, width))

    def _proposed(self, levels: list[Tensor], x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """`Proposing.proposed`: boxes (N, P, 4), and how likely they are, (N, P).

        Levels of fewer anchors than are looked at are filled up with such as are none, so that P is a number, whatever
        the pictures' size.
        """
        config, found, likely = self.network.proposals.config, [], []
        most = config.before_test
        for anchors, objectness, offsets in zip(*self.network.proposals(levels, x.shape[-2:]), strict=True):
            values, places = F.pad(objectness, (0, most), value=_NEVER).topk(most, dim=1)
            own = F.pad(anchors, (0, 0, 0, most))[places]
            corners = _decoded(_rows(F.pad(offsets, (0, 0, 0, most)), places), own, size)
            there = (values > _NEVER) & _large(corners, config.least_px)
            chances, order = torch.where(there, values.sigmoid(), -1.0).topk(most, dim=1)
            corners = _rows(corners, order)
            likely.append(torch.where(self._stays(corners, chances, config.overlap), chances, -1.0))
            found.append(corners)
        boxes, chances = torch.cat(found, 1), torch.cat(likely, 1)
        chances, order = chances.topk(min(config.after_test, most * len(found)), dim=1)
        return _rows(boxes, order), chances

    def _stays(self, boxes: Tensor, chances: Tensor, overlap: float) -> Tensor:
        """Which boxes, the likeliest first, no likelier one that stays overlaps by more: bool (N, B)."""
        return greedy(boxes, overlap) if self.plain else one_by_one(boxes, chances, overlap)

    def _pooled(self, levels: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """`RegionHead.pooled` of boxes (N, P, 4): (N P, C, pool, pool)."""
        head = self.network.regions
        config, strides = head.config, head.strides
        number = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
        regions = torch.cat([number[:, None, None].expand(-1, boxes.shape[1], 1), boxes], 2).flatten(0, 1)
        level = level_of(regions[:, 1:], strides)
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
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`RegionHead.answered` of chances (N, P, K), offsets (N, P, 1 + K, 4), boxes (N, P, 4)."""
        config, classes = self.network.regions.config, chances.shape[2]
        every = chances.flatten(1)
        most: Any = (every > config.score_above).sum(1).amax(0).clamp(min=1).item()  # of any of the pictures
        torch._check(most >= 1)
        torch._check(most <= every.shape[1])
        values, places = every.topk(most, dim=1)
        place, labels = places // classes, places % classes
        moved = _rows(offsets.flatten(1, 2), place * (classes + 1) + labels + 1)
        corners = _decoded(moved, _rows(boxes, place), size, config.deviations)
        likely = torch.where((values > config.score_above) & _large(corners, config.least_px), values, -1.0)
        likely, order = likely.topk(likely.shape[1], dim=1)
        corners, labels = _rows(corners, order), labels.gather(1, order)
        beside = 1 + corners.flatten(1).amax(1)
        apart = corners + (labels * beside[:, None])[:, :, None]
        stays = self._stays(apart, likely, config.overlap) & (likely >= 0)
        kept = stays & (stays.cumsum(1) <= config.most)
        picture, row = kept.nonzero().unbind(1)
        return corners[picture, row], labels[picture, row], likely[picture, row], kept.sum(1)


def _rows(values: Tensor, places: Tensor) -> Tensor:
    """Of each picture the rows at its places: (N, A, 4), (N, B) -> (N, B, 4)."""
    return values.gather(1, places[:, :, None].expand(-1, -1, 4))


def _decoded(
    offsets: Tensor, references: Tensor, size: tuple[int, int], deviations: Sequence[float] = (1, 1, 1, 1)
) -> Tensor:
    """Offsets (N, B, 4) from references (N, B, 4) as boxes within the pictures: `coding.decode`, then `coding.clip`."""
    sides = references[..., 2:] - references[..., :2]
    scale = offsets.new_tensor(deviations)
    moved = offsets[..., :2] / scale[:2] * sides + references[..., :2] + 0.5 * sides
    half = 0.5 * (torch.exp((offsets[..., 2:] / scale[2:]).clamp(max=FURTHEST)) * sides)
    return _within(torch.cat([moved - half, moved + half], dim=2), size)


def _within(corners: Tensor, size: tuple[int, int]) -> Tensor:
    """`coding.clip` of (N, B, 4)."""
    height, width = size
    x, y = corners[..., 0::2].clamp(0, width), corners[..., 1::2].clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=2)


def _large(boxes: Tensor, least_px: float) -> Tensor:
    """`coding.large_enough` of (N, B, 4): bool (N, B)."""
    return (boxes[..., 2:] - boxes[..., :2] >= least_px).all(2)


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
