"""What a detector minimises: four terms over boxes that are drawn anew for each picture (Ren et al. 2015, eq. 1).

Of one that draws masks there is a fifth (He et al. 2017, section 3).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from deepres.base.errors import InputError
from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.images import Batch
from deepres.data.masks import Masks
from deepres.tasks.detection.coding import clip, encode
from deepres.tasks.detection.detector import DetectorNetwork, own_sizes
from deepres.tasks.detection.mask_head import mask_loss
from deepres.tasks.detection.masks import wanted
from deepres.tasks.detection.matching import NEITHER, draw, match
from deepres.tasks.detection.proposals import Judged
from deepres.tasks.losses import Counts

TERMS = ("objectness", "proposal_boxes", "classes", "region_boxes")
"""Of the loss, by name; each a mean over what was drawn of a picture, and then over pictures."""
MASKS = "masks"
"""The term of a detector that draws masks: a mean over the positive regions of a picture, and then over pictures."""


class Objects(NamedTuple):
    """What is on one picture: corners (K, 4), classes (K,), masks of its objects, corners (I, 4) that are ignored."""

    corners: Tensor
    classes: Tensor
    ignored: Tensor
    masks: Masks | None = None


class Drawn(NamedTuple):
    """Of one picture: places of the boxes that are learnt from, and which object each stands for (matching.py)."""

    places: Tensor
    matched: Tensor


def loss(
    network: DetectorNetwork, batch: Batch, learns: str = "all", proposer: DetectorNetwork | None = None
) -> tuple[Tensor, Counts]:
    """Sum of the `TERMS`, masks too, mean over pictures; sums of each, and of `region_error`, the share of wrong ones.

    Cross-entropy whether an anchor is an object, smooth L1 of its offsets; cross-entropy of a region's class, smooth L1
    of the offsets in its class's column. Both smooth L1 are summed over positives and divided by all that were drawn.
    Means are formed picture by picture, so that parts and processes add up; torchvision divides by what was drawn of
    the whole batch, which is the same where each picture gives equally many. A picture without objects has negatives
    only and no term of boxes. `region_error`: of the positive regions those of which another class is likeliest.

    Where "proposals" or "regions" alone learn it is the sum of the first two terms or of the last two; the regions are
    then among what `proposer` proposes, which learns nothing (None: the network itself).
    """
    targets = batch.targets
    assert isinstance(targets, BoxTargets)
    assert targets.where is not None
    sizes, seeds = own_sizes(batch.images, targets.where.sizes), targets.where.seeds.tolist()
    device = batch.images.device
    levels = network.levels(batch.images)
    if learns == "regions":
        judged = _judged(network if proposer is None else proposer, network, levels, batch.images)
    else:
        judged = network.proposals(levels, batch.images.shape[-2:])
    dtype = judged.objectness[0].dtype
    objects = [_objects(boxes.to(device), dtype) for boxes in targets]
    terms: dict[str, Tensor] = {}
    wrong: Counts = {}
    if learns != "regions":
        terms |= zip(TERMS[:2], _of_anchors(network, judged, objects, sizes, seeds), strict=True)
    if learns != "proposals":
        asked = network if proposer is None else proposer
        proposed = asked.proposals.proposed(judged, sizes, training=True)
        scores, offsets, boxes, drawn = _of_regions(network, levels, proposed, objects, sizes, seeds)
        terms |= zip(TERMS[2:], _region_terms(network, scores, offsets, boxes, drawn, objects), strict=True)
        if network.masks is not None:
            terms[MASKS] = _of_masks(network, levels, boxes, drawn, objects, sizes)
        wrong = {"region_error": _wrong(scores.detach(), drawn, objects)}
    counts = {name: each.detach().sum() for name, each in terms.items()} | wrong
    total = torch.stack(list(terms.values())).sum(0).mean()
    return total, counts


@torch.no_grad()
def _judged(proposer: DetectorNetwork, network: DetectorNetwork, levels: list[Tensor], images: Tensor) -> Judged:
    """What a detector says of every anchor, which is not learnt; `levels` are the maps of the network."""
    own = levels if proposer is network else proposer.levels(images)
    judged: Judged = proposer.proposals(own, images.shape[-2:])
    return judged


def _objects(boxes: Boxes, dtype: torch.dtype) -> Objects:
    corners = boxes.corners.to(dtype)
    learnt = ~boxes.ignored & (corners[:, 2:] > corners[:, :2]).all(1)
    masks = None if boxes.masks is None else boxes.masks[learnt]
    return Objects(corners[learnt], boxes.classes[learnt], corners[~learnt], masks)


def _of_anchors(
    network: DetectorNetwork, judged: Judged, objects: Sequence[Objects], sizes: list[tuple[int, int]], seeds: list[int]
) -> tuple[Tensor, Tensor]:
    """Objectness and offsets of drawn anchors: two terms (N,)."""
    anchors = torch.cat(judged.anchors)
    drawn = [anchors_drawn(network, anchors, *each) for each in zip(objects, sizes, seeds, strict=True)]
    objectness, offsets = torch.cat(judged.objectness, 1), torch.cat(judged.offsets, 1)
    likely = torch.cat([own[each.places] for own, each in zip(objectness, drawn, strict=True)])
    picture, matched = _pictures(drawn), torch.cat([each.matched for each in drawn])
    first = F.binary_cross_entropy_with_logits(likely, (matched >= 0).to(likely.dtype), reduction="none")
    given = torch.cat([own[each.places] for own, each in zip(offsets, drawn, strict=True)])
    references = torch.cat([anchors[each.places] for each in drawn])
    second = _offset_loss(given, references, drawn, objects, (1, 1, 1, 1), network.description.proposals.knee)
    number = len(drawn)
    return _means(first, picture, drawn, number), _means(second, picture, drawn, number)


@torch.no_grad()
def anchors_drawn(
    network: DetectorNetwork, anchors: Tensor, objects: Objects, size: tuple[int, int], seed: int
) -> Drawn:
    """The anchors of one picture that are learnt from; with border "inside" none that crosses the picture's own."""
    config = network.description.proposals
    if config.border == "inside":
        inside = (clip(anchors, size) == anchors).all(1)
        matched = torch.full_like(inside, NEITHER, dtype=torch.int64)
        matched[inside] = match(anchors[inside], objects.corners, objects.ignored, *_thresholds(network))
    else:
        matched = match(anchors, objects.corners, objects.ignored, *_thresholds(network))
    places = draw(matched, config.sampled, config.positive_share, seed, "anchors")
    return Drawn(places, matched[places])


def _thresholds(network: DetectorNetwork) -> tuple[float, tuple[float, float]]:
    config = network.description.proposals
    return config.positive_above, (0.0, config.negative_below)


@torch.no_grad()
def regions_drawn(network: DetectorNetwork, boxes: Tensor, objects: Objects, seed: int) -> Drawn:
    """The regions of one picture that are learnt from, its objects' own boxes among `boxes`."""
    config = network.description.regions
    matched = match(boxes, objects.corners, objects.ignored, config.positive_above, config.negative)
    places = draw(matched, config.sampled, config.positive_share, seed, "regions")
    return Drawn(places, matched[places])


def _of_regions(
    network: DetectorNetwork,
    levels: Sequence[Tensor],
    proposed: Sequence[Tensor],
    objects: Sequence[Objects],
    sizes: list[tuple[int, int]],
    seeds: list[int],
) -> tuple[Tensor, Tensor, list[Tensor], list[Drawn]]:
    """What is said of the drawn regions of all pictures, their boxes, and which they are."""
    offered = [torch.cat([boxes, own.corners]) for boxes, own in zip(proposed, objects, strict=True)]
    drawn = [regions_drawn(network, *each) for each in zip(offered, objects, seeds, strict=True)]
    boxes = [own[each.places] for own, each in zip(offered, drawn, strict=True)]
    scores, offsets = network.looked_at(levels, boxes, sizes)
    return scores, offsets, boxes, drawn


def _region_terms(
    network: DetectorNetwork,
    scores: Tensor,
    offsets: Tensor,
    boxes: Sequence[Tensor],
    drawn: Sequence[Drawn],
    objects: Sequence[Objects],
) -> tuple[Tensor, Tensor]:
    """Classes and offsets of drawn regions: two terms (N,)."""
    config = network.description.regions
    columns, picture = _columns(drawn, objects), _pictures(drawn)
    first = F.cross_entropy(scores, columns, reduction="none")
    own = offsets[torch.arange(len(columns), device=columns.device), columns]
    second = _offset_loss(own, torch.cat(list(boxes)), drawn, objects, config.deviations, config.knee)
    number = len(drawn)
    return _means(first, picture, drawn, number), _means(second, picture, drawn, number)


def _of_masks(
    network: DetectorNetwork,
    levels: Sequence[Tensor],
    boxes: Sequence[Tensor],
    drawn: Sequence[Drawn],
    objects: Sequence[Objects],
    sizes: list[tuple[int, int]],
) -> Tensor:
    """Masks of the positive regions: a term (N,)."""
    config = network.description.masks
    assert config is not None
    positive = [own[each.matched >= 0] for own, each in zip(boxes, drawn, strict=True)]
    matched = [each.matched[each.matched >= 0] for each in drawn]
    classes = torch.cat([own.classes[which] for own, which in zip(objects, matched, strict=True)])
    given = network.drawn(levels, positive, classes)
    aims = []
    for own, which, regions, size in zip(objects, matched, positive, sizes, strict=True):
        masks = own.masks
        if masks is None and len(own.corners):
            raise InputError(
                f"{network.description.name}: draws masks, and these pictures have boxes alone; bring masks, or take a "
                "detector without them"
            )
        none = Masks.of([]) if masks is None else masks
        aims.append(wanted(none, regions, which, size, given.shape[-1], aligned=config.aligned))
    number = torch.tensor([len(which) for which in matched])
    picture = torch.arange(len(drawn)).repeat_interleave(number).to(given.device)
    return mask_loss(given, torch.cat(aims), picture, len(drawn))


def _columns(drawn: Sequence[Drawn], objects: Sequence[Objects]) -> Tensor:
    """The column of the class that each drawn region stands for, 0 of the background: int64 (R,)."""
    every = []
    for each, own in zip(drawn, objects, strict=True):
        columns = torch.zeros_like(each.matched)
        positive = each.matched >= 0
        columns[positive] = own.classes[each.matched[positive]] + 1
        every.append(columns)
    return torch.cat(every)


def _offset_loss(
    given: Tensor,
    references: Tensor,
    drawn: Sequence[Drawn],
    objects: Sequence[Objects],
    deviations: Sequence[float],
    knee: float,
) -> Tensor:
    """Smooth L1 of the offsets of positives, 0 of negatives: (D,)."""
    pairs = zip(drawn, objects, strict=True)
    wanted = torch.cat([own.corners[each.matched[each.matched >= 0]] for each, own in pairs])
    positive = torch.cat([each.matched for each in drawn]) >= 0
    aims = encode(wanted, references[positive], deviations)
    each = F.smooth_l1_loss(given[positive], aims, reduction="none", beta=knee).sum(1)
    return given.new_zeros(len(given), dtype=each.dtype).masked_scatter(positive, each)


def _pictures(drawn: Sequence[Drawn]) -> Tensor:
    """Which picture each of the drawn is of: int64 (D,)."""
    number = torch.tensor([len(each.places) for each in drawn])
    return torch.arange(len(drawn)).repeat_interleave(number).to(drawn[0].places.device)


def _means(each: Tensor, picture: Tensor, drawn: Sequence[Drawn], number: int) -> Tensor:
    """Of each picture the sum divided by how many were drawn of it, 0 where none was: (N,)."""
    counted = each.new_tensor([max(1, len(own.places)) for own in drawn])
    return each.new_zeros(number).index_add(0, picture, each) / counted


def _wrong(scores: Tensor, drawn: Sequence[Drawn], objects: Sequence[Objects]) -> Tensor:
    columns = _columns(drawn, objects)
    mistaken, positive = (scores.argmax(1) != columns).float(), (columns > 0).float()
    zeros, picture = mistaken.new_zeros(len(drawn)), _pictures(drawn)
    missed, there = (zeros.index_add(0, picture, x) for x in (mistaken * positive, positive))
    return (missed / there.clamp(min=1)).sum()
