"""Where objects may be: every anchor judged, the best of them as proposals (Ren et al. 2015, section 3)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from deepres.arch.detector import Detector
from deepres.nn.build import modules
from deepres.tasks.detection.anchors import anchors
from deepres.tasks.detection.coding import clip, decode, large_enough


class Judged(NamedTuple):
    """Of each level: anchors (n, 4) in px, and for N pictures their objectness (N, n) and offsets (N, n, 4)."""

    anchors: list[Tensor]
    objectness: list[Tensor]
    offsets: list[Tensor]


class Proposing(nn.Module):
    """One 3x3 and two 1x1 that slide over all levels: for each anchor whether it is an object, and offsets to it."""

    def __init__(self, description: Detector) -> None:
        super().__init__()
        self.config, self.anchors = description.proposals, description.anchors
        level = description.levels[0]
        places = {place.name.removeprefix("proposals."): place for place in description.places}
        for name, node in description.proposal_parts.items():
            self.add_module(name, modules(node, level if name == "conv" else places[name].given[0]))

    def forward(self, levels: list[Tensor], padded: tuple[int, int]) -> Judged:
        """The maps of the levels -> what is said of each anchor, float32 at least; `padded` is the batch's (H, W)."""
        objectness, offsets = [], []
        for level in levels:
            seen = self.get_submodule("conv")(level)
            objectness.append(by_place(self.get_submodule("objectness")(seen), 1).squeeze(2))
            offsets.append(by_place(self.get_submodule("deltas")(seen), 4))
        return Judged(anchors(self.anchors, padded, [exact(level[:1, :1]) for level in levels]), objectness, offsets)

    @torch.no_grad()
    def proposed(self, judged: Judged, sizes: list[tuple[int, int]], *, training: bool) -> list[Tensor]:
        """Of each picture the boxes to look at, the likeliest first: (P, 4); `sizes` are the pictures' own (H, W)."""
        config = self.config
        most = config.before_train if training else config.before_test
        left = config.after_train if training else config.after_test
        scores, boxes, level = [], [], []
        for number, (own, likely, offsets) in enumerate(zip(*judged, strict=True)):
            values, places = likely.topk(min(most, likely.shape[1]), dim=1)
            chosen = offsets.gather(1, places[:, :, None].expand(-1, -1, 4))
            boxes.append(decode(chosen.reshape(-1, 4), own[places].reshape(-1, 4)).view(*places.shape, 4))
            scores.append(values.sigmoid())
            level.append(torch.full_like(places[0], number))
        levels = torch.cat(level)
        found = []
        for corners, chances, size in zip(torch.cat(boxes, 1), torch.cat(scores, 1), sizes, strict=True):
            corners = clip(corners, size)
            kept = large_enough(corners, config.least_px)
            corners, chances = corners[kept], chances[kept]
            found.append(corners[batched_nms(corners, chances, levels[kept], config.overlap)[:left]])
        return found


def by_place(x: Tensor, each: int) -> Tensor:
    """(N, C, h, w) -> (N, h w C / each, each), float32 at least: as anchors lie."""
    number, channels, *_ = x.shape
    return exact(x).permute(0, 2, 3, 1).reshape(number, -1, channels // each, each).flatten(1, 2)


def exact(x: Tensor) -> Tensor:
    """The same, in float32 where it has less: what lower precision gives is chosen and measured by in float32."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
