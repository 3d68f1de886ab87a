"""Per-class R-CNN: the regions that a per-class RPN proposes for a class, cut out, warped, judged and moved again.

He et al. 2015, appendix C. N pictures, P proposals of a class, C classes.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou, roi_align

from deepres.base.errors import InputError
from deepres.data.boxes import BoxTargets
from deepres.data.images import Batch
from deepres.data.rng import generator
from deepres.nn.build import ResidualNetwork
from deepres.nn.weights.hub import find_weights
from deepres.tasks.detection.asking import upright
from deepres.tasks.detection.coding import clip, decode, encode
from deepres.tasks.detection.proposals import exact
from deepres.tasks.localisation.measure import first_classes
from deepres.tasks.localisation.network import anchors_at, create, inside, load_weights, order_in, said
from deepres.tasks.losses import Counts, Forward, Loss
from deepres.tasks.task import read_in

if TYPE_CHECKING:
    from deepres.tasks.localisation.task import Localising

TERMS = ("scores", "boxes")
"""Of the loss, by name; each a mean over regions."""
_AT_ONCE = 64  # regions


@lru_cache(maxsize=1)
def proposer(weights: str) -> ResidualNetwork:
    """The per-class RPN of a run, which learns nothing, on the CPU until it is asked.

    Raises:
        InputError: weights of another kind of network.
    """
    stored = find_weights(weights)
    if stored.description is None or not is_proposer(weights):
        raise InputError(f"task.proposer={weights}: proposes nothing of classes; wanted the run of a per-class RPN")
    network = create(stored.description).requires_grad_(False).eval()  # type: ignore[arg-type]
    load_weights(network, stored)
    return network


def is_proposer(weights: str) -> bool:
    """Whether these are the weights of a network that has anchors at its places."""
    from deepres.arch.localiser import anchors_of

    return bool(anchors_of(find_weights(weights).description))


def among_proposals(task: "Localising", names: tuple[str, ...]) -> "Localising":
    """The task with what its proposer knows: anchors and, where none is named, who says which classes there are.

    Raises:
        InputError: it proposes nothing, or boxes of other classes.
    """
    from deepres.tasks.kinds import task_in  # which knows all tasks, and each of them its own files
    from deepres.tasks.localisation.partners import placed, require_there
    from deepres.tasks.localisation.task import Localising

    assert task.proposer is not None
    proposer(task.proposer)
    stored = find_weights(task.proposer)
    own = read_in(task_in(stored.task, f"{stored.where} task"), Path(stored.where))
    names = names or stored.classes
    if not isinstance(own, Localising) or stored.classes != names:
        raise InputError(f"task.proposer={task.proposer}: proposes boxes of other classes; train one on these images")
    found = task.classifier or own.classifier
    require_there("task.classifier", found, own.classifier_at if task.classifier is None else None)
    if found is None:
        return task.replace(anchors=own.anchors, order=())
    return task.replace(anchors=own.anchors, classifier=placed(found), order=order_in(found, names))


@torch.no_grad()
def proposed(task: "Localising", batch: Batch, classes: Tensor) -> Tensor:
    """The likeliest boxes of each of these classes (N, K): (N, K, P, 4), px of the batch's pictures, clipped to them.

    The `task.proposals` of the highest score, as many as there are, not thinned (ours).
    """
    assert task.proposer is not None
    targets = batch.targets
    assert isinstance(targets, BoxTargets)
    assert targets.where is not None
    height, width = batch.images.shape[-2:]
    network = proposer(task.proposer).to(batch.images.device)
    scores, offsets = said(network(batch.images.float()), task.anchors.number)
    every = anchors_at(task.anchors, (height, width), scores).reshape(-1, 4)
    sizes = targets.where.sizes
    scores = scores.masked_fill(~inside(sizes.to(scores.device), scores, (height, width)), -torch.inf)
    wanted = classes.to(scores.device)
    own = scores.transpose(1, 2).flatten(2).gather(1, wanted[:, :, None].expand(-1, -1, len(every)))
    moves = offsets.permute(0, 3, 2, 1, 4, 5).flatten(3)
    moves = moves.gather(1, wanted[:, :, None, None].expand(-1, -1, 4, len(every)))
    best = own.topk(min(task.proposals, int(own.isfinite().sum(2).min())), 2).indices
    moves = moves.gather(3, best[:, :, None].expand(-1, -1, 4, -1)).transpose(2, 3)
    corners = decode(moves.reshape(-1, 4), every[best].reshape(-1, 4)).view(*best.shape, 4)
    return torch.stack(
        [
            clip(boxes.reshape(-1, 4), (high, wide)).view(boxes.shape)
            for boxes, (high, wide) in zip(corners, sizes.tolist(), strict=True)
        ]
    )


def warped(images: Tensor, picture: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Regions (R, 4) of the pictures `picture` int64 (R,), each cut out and stretched to `side`: (R, C, side, side)."""
    least = torch.cat([boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)], 1)
    regions = torch.cat([picture[:, None].to(least), least], 1).to(images.dtype)
    found: Tensor = roi_align(images, regions, side, 1.0, -1, True)
    return found


def of_regions(task: "Localising") -> Loss:
    """The loss of a task that looks at regions: of each picture one of the proposals of its class, drawn by its seed.

    Binary cross-entropy of each class's score, summed over classes: 1 of the picture's class where the region has an
    IoU of `task.region_above` or more with one of its boxes, else 0; smooth L1 of that class's offsets to that box.
    Both are means over the regions. A picture without an object has none.
    """

    def loss(network: Forward, batch: Batch) -> tuple[Tensor, Counts]:
        targets = batch.targets
        assert isinstance(targets, BoxTargets)
        assert targets.where is not None
        device = batch.images.device
        first = first_classes(targets)
        there, labels = (first >= 0).nonzero()[:, 0], first.clamp(min=0)
        boxes = proposed(task, batch, labels[:, None])[:, 0]
        dice = [generator(seed, "region") for seed in targets.where.seeds.tolist()]
        picks = torch.stack([torch.randint(boxes.shape[1], (), generator=each) for each in dice]).to(device)
        drawn = boxes[torch.arange(len(picks), device=device), picks]
        crops = warped(batch.images, torch.arange(len(picks), device=device), drawn, task.side)
        every = judged(network, crops)
        known = [targets[place].to(device) for place in range(len(targets))]
        wanted, aims, positive = torch.zeros_like(every[:, 0]), [], []
        for row, own in enumerate(known):
            of_class = own.corners[(own.classes == labels[row].to(device)) & ~own.ignored].to(drawn.dtype)
            overlaps = box_iou(drawn[row : row + 1], of_class)[0]
            if len(overlaps) and float(overlaps.max()) >= task.region_above:
                positive.append(row)
                aims.append(of_class[overlaps.argmax()])
                wanted[row, labels[row]] = 1.0
        left = torch.zeros(len(picks), device=device).index_fill(0, there.to(device), 1.0)
        scores = F.binary_cross_entropy_with_logits(every[:, 0], wanted, reduction="none").sum(1) * left
        far = every.new_zeros(len(picks))
        if positive:
            rows = torch.tensor(positive, device=device)
            moves = every[rows, 1:, labels[positive].to(device)]
            given = torch.cat([drawn[rows, :2], torch.maximum(drawn[rows, 2:], drawn[rows, :2] + 1)], 1)
            aim = encode(torch.stack(aims), given, DEVIATIONS)
            far = far.index_add(0, rows, F.smooth_l1_loss(moves, aim, reduction="none", beta=task.knee).sum(1))
        counts = {name: term.detach().sum() for name, term in zip(TERMS, (scores, far), strict=True)}
        return (scores + far).mean(), counts

    return loss


DEVIATIONS = (10.0, 10.0, 5.0, 5.0)
"""Offsets of regions are times these, as Fast R-CNN's (Girshick 2015)."""


def judged(network: Forward, crops: Tensor) -> Tensor:
    """What is said of regions: scores and four offsets of each class, (R, 5, C), in float32 at least."""
    return exact(network(crops)).view(len(crops), 5, -1)


@torch.inference_mode()
def looked_at(task: "Localising", network: nn.Module, batch: Batch, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Of each of these classes (N, K) the box of the highest score once its proposals are judged and moved again.

    (N, K, 4), float64, px of the upright pictures; and the scores (N, K).
    """
    targets = batch.targets
    assert isinstance(targets, BoxTargets)
    assert targets.where is not None
    boxes = proposed(task, batch, classes)
    number = boxes.shape[2]
    flat = boxes.reshape(-1, 4)
    device = flat.device
    picture = torch.arange(len(boxes), device=device).repeat_interleave(classes.shape[1] * number)
    label = classes.to(device).flatten().repeat_interleave(number)
    parts = []
    for rows in torch.split(torch.arange(len(flat), device=device), _AT_ONCE):
        said_of = judged(network, warped(batch.images, picture[rows], flat[rows], task.side))
        parts.append(said_of[torch.arange(len(rows), device=device), :, label[rows]])
    said_of = torch.cat(parts).view(*boxes.shape[:3], 5)
    best = said_of[..., 0].argmax(2)
    chosen = boxes.gather(2, best[:, :, None, None].expand(-1, -1, 1, 4))[:, :, 0]
    moves = said_of[..., 1:].gather(2, best[:, :, None, None].expand(-1, -1, 1, 4))[:, :, 0]
    given = torch.cat([chosen[..., :2], torch.maximum(chosen[..., 2:], chosen[..., :2] + 1)], -1)
    corners = decode(moves.reshape(-1, 4), given.reshape(-1, 4), DEVIATIONS).view(chosen.shape)
    sizes = targets.where.sizes.tolist()
    corners = torch.stack([clip(own, (high, wide)) for own, (high, wide) in zip(corners, sizes, strict=True)])
    image = torch.arange(len(corners)).repeat_interleave(classes.shape[1])
    whole = upright(corners.cpu().reshape(-1, 4), image, targets.where).view(corners.shape)
    return whole.to(device), said_of[..., 0].amax(2)
