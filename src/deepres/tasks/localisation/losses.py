"""What a per-class RPN minimises: of some anchors of each picture whether each class is there, and where exactly."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.images import Batch
from deepres.tasks.detection.coding import encode
from deepres.tasks.detection.matching import draw, match
from deepres.tasks.localisation.network import anchors_at, said
from deepres.tasks.losses import Counts, Forward, Loss

if TYPE_CHECKING:
    from deepres.tasks.localisation.task import Localising

TERMS = ("scores", "boxes")
"""Of the loss, by name; each a mean over what was drawn of a picture, and then over pictures."""


def of_anchors(task: "Localising") -> Loss:
    """The loss of a task that looks at anchors.

    Of `task.sampled` anchors of a picture, drawn by its seed, the binary cross-entropy of each class's score, summed
    over classes: 1 of the class of the object that the anchor stands for (matching.py), else 0. Of the positive ones
    smooth L1 of the offsets in that class's column, summed and divided by all that were drawn.
    """

    def loss(network: Forward, batch: Batch) -> tuple[Tensor, Counts]:
        targets = batch.targets
        assert isinstance(targets, BoxTargets)
        assert targets.where is not None
        scores, offsets = said(network(batch.images), task.anchors.number)
        number, width = scores.shape[1], scores.shape[-1]
        every = anchors_at(task.anchors, (batch.images.shape[-2], batch.images.shape[-1]), scores)
        flat = every.permute(1, 2, 0, 3).reshape(-1, 4)  # as matching draws: place by place
        pairs = zip(targets, targets.where.seeds.tolist(), strict=True)
        drawn = [_drawn(task, flat, boxes.to(flat.device), seed) for boxes, seed in pairs]
        counted = torch.tensor([len(places) for places, *_ in drawn], device=flat.device)
        picture = torch.arange(len(drawn), device=flat.device).repeat_interleave(counted)
        places, labels, corners = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        anchor, column = places % number, places // number
        row, column = column // width, column % width
        own = scores[picture, anchor, :, row, column]
        wanted = torch.zeros_like(own)
        positive = (labels >= 0).nonzero()[:, 0]
        wanted[positive, labels[positive]] = 1.0
        first = F.binary_cross_entropy_with_logits(own, wanted, reduction="none").sum(1)
        moves = offsets[picture, anchor, :, :, row, column][positive, :, labels[positive]]
        aims = encode(corners[positive], flat[places[positive]])
        far = F.smooth_l1_loss(moves, aims, reduction="none", beta=task.knee).sum(1)
        second = far.new_zeros(len(own)).index_add(0, positive, far)
        shares = 1 / counted.clamp(min=1).to(first.dtype)
        terms = [first.new_zeros(len(drawn)).index_add(0, picture, each) * shares for each in (first, second)]
        counts = {name: term.detach().sum() for name, term in zip(TERMS, terms, strict=True)}
        return (terms[0] + terms[1]).mean(), counts

    return loss


@torch.no_grad()
def _drawn(task: "Localising", anchors: Tensor, boxes: Boxes, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of one picture the places of drawn anchors (D,), the class of each (-1: none), its object's corners (D, 4)."""
    corners = boxes.corners.to(anchors.dtype)
    learnt = ~boxes.ignored & (corners[:, 2:] > corners[:, :2]).all(1)
    below = (0.0, task.negative_below)
    matched = match(anchors, corners[learnt], corners[~learnt], task.positive_above, below)
    places = draw(matched, task.sampled, task.positive_share, seed, "anchors")
    found = matched[places]
    labels, own = torch.full_like(places, -1), anchors[places].clone()
    positive = found >= 0
    labels[positive] = boxes.classes[learnt][found[positive]]
    own[positive] = corners[learnt][found[positive]]
    return places, labels, own
