"""Detectors asked about pictures in several ways at once: mirrors, sizes, a second look, several networks.

Whoever looks at a picture proposes boxes and says of any boxes what they are. All proposals are put together, everybody
is asked about all of them, and scores and boxes are averaged. One that looks once at the picture as it is answers as
ever. Boxes lie in px of the first picture of the first network; N pictures, P boxes of one, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepres.data.boxes import BoxTargets
from deepres.data.images import Batch
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.model import told_by
from deepres.tasks.detection.coding import decode
from deepres.tasks.detection.detector import DetectorNetwork, own_sizes
from deepres.tasks.detection.inference import FastDetector
from deepres.tasks.detection.protocol import BoxProtocol
from deepres.tasks.detection.regions import CANONICAL_SIDE, Found
from deepres.tasks.detection.voting import moved_boxes, thinned, union
from deepres.tasks.together import Participant, SizedBatch


@dataclass(frozen=True, eq=False)
class Looker:
    """A network, in which of the pictures of a batch it looks for boxes, in which at them, and what its classes are.

    `pictures` are places among those of a batch, the smallest first; class c of the first member is its `order[c]`.
    """

    network: nn.Module
    proposes_in: int
    pictures: tuple[int, ...]
    order: tuple[int, ...]


class Jointly(nn.Module):
    """Members asked by a protocol about batches (`SizedBatch`): they answer as one detector.

    What is shown, thinned and counted goes by the first member's settings.
    """

    def __init__(self, members: Sequence[Looker], protocol: BoxProtocol) -> None:
        super().__init__()
        self.members, self.protocol = tuple(members), protocol
        self.networks = nn.ModuleList(member.network for member in members)
        first = told_by(members[0].network)
        self.description, self.num_classes, self.head_names = first.description, first.num_classes, first.head_names

    def forward(self, batch: Batch) -> list[Found]:
        """What is found on each picture, in px of the pictures of the batch itself."""
        batches = (batch, *(batch.others if isinstance(batch, SizedBatch) else ()))
        sizes = _sizes(batch)
        mirrors = (False, True) if self.protocol.mirror else (False,)
        looks = [_Look(member, batches, sizes, mirror) for mirror in mirrors for member in self.members]
        boxes = [union(list(parts)) for parts in zip(*(look.proposed() for look in looks), strict=True)]
        every = _mean([look.said(boxes) for look in looks])
        config = _plain(self.members[0].network).regions.config
        if self.protocol.refine:
            again = [moved_boxes(*each, size, config) for each, size in zip(every, sizes, strict=True)]
            more = _mean([look.said(again) for look in looks])
            every = [
                (torch.cat([old[0], new[0]]), torch.cat([old[1], new[1]])) for old, new in zip(every, more, strict=True)
            ]
        voting = self.protocol.refine
        found = [thinned(*each, size, config, voting=voting) for each, size in zip(every, sizes, strict=True)]
        return self._masked(looks, found)

    def _masked(self, looks: "Sequence[_Look]", found: list[Found]) -> list[Found]:
        """With masks where all draw them: the mean of what each draws in the boxes that all have found."""
        if any(look.network.masks is None for look in looks):
            return found
        drawn = [look.drawn(found) for look in looks]
        return [
            own._replace(masks=torch.stack(parts).double().mean(0).to(parts[0].dtype))
            for own, parts in zip(found, zip(*drawn, strict=True), strict=True)
        ]


def jointly(
    asked: Sequence[Participant], protocol: BoxProtocol
) -> tuple[Jointly, list[tuple[Preparation, Statistics]]]:
    """These networks as one, and how the pictures of its batches are prepared, the first one's own first."""
    pictures: list[tuple[Preparation, Statistics]] = []

    def place(preparation: Preparation, statistics: Statistics) -> int:
        for number, (known, of_known) in enumerate(pictures):
            if known == preparation and _equal(of_known, statistics):
                return number
        pictures.append((preparation, statistics))
        return len(pictures) - 1

    members = []
    for one in asked:
        own = place(one.preparation, one.statistics)
        sides = {one.preparation.resize: own}
        sides |= {other.resize: place(other, one.statistics) for other in protocol.beside(one.preparation)}
        looked = tuple(sides[side] for side in protocol.scales) or (own,)
        members.append(Looker(one.network, own, looked, one.order))
    return Jointly(members, protocol), pictures


class _Look:
    """One member looking at the pictures of a batch, as they are or mirrored; `sizes` are those that boxes lie in."""

    def __init__(
        self, member: Looker, batches: Sequence[Batch], sizes: Sequence[tuple[int, int]], mirror: bool
    ) -> None:
        self.member, self.network, self.frame, self.mirror = member, _plain(member.network), sizes, mirror
        self.config = self.network.regions.config
        self.sizes = {place: _sizes(batches[place]) for place in {member.proposes_in, *member.pictures}}
        self.padded = {place: batches[place].images.shape[-2:] for place in self.sizes}
        self.levels = {place: self._levels(batches[place].images, self.sizes[place]) for place in self.sizes}

    def proposed(self) -> list[Tensor]:
        """Of each picture the boxes to look at, (P, 4)."""
        place = self.member.proposes_in
        judged = self.network.proposals(self.levels[place], self.padded[place])
        boxes = self.network.proposals.proposed(judged, self.sizes[place], training=False)
        return [
            _mirrored(_scaled(own, size, frame), frame[1]) if self.mirror else _scaled(own, size, frame)
            for own, size, frame in zip(boxes, self.sizes[place], self.frame, strict=True)
        ]

    def said(self, boxes: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Of the boxes (P, 4) of each picture the scores (P, C) and where each class moves it to (P, C, 4)."""
        seen = [_mirrored(own, size[1]) if self.mirror else own for own, size in zip(boxes, self.frame, strict=True)]
        scores, offsets = self.network.regions(self._features(seen))
        columns = [0, *(1 + place for place in self.member.order)]
        chances, offsets = scores[:, columns].softmax(1)[:, 1:], offsets[:, columns[1:]]
        numbers, found = [len(own) for own in boxes], []
        every = zip(torch.split(chances, numbers), torch.split(offsets, numbers), seen, self.frame, strict=True)
        for likely, moves, own, size in every:
            from_boxes = own[:, None].expand(moves.shape).reshape(-1, 4)
            corners = decode(moves.reshape(-1, 4), from_boxes, self.config.deviations)
            corners = _mirrored(corners, size[1]) if self.mirror else corners
            found.append((likely, corners.view(moves.shape)))
        return found

    def drawn(self, found: Sequence[Found]) -> list[Tensor]:
        """Of each picture the masks (M, S, S) of what was found, in the picture that this one looks for boxes in."""
        place = self.member.proposes_in
        boxes = []
        for own, size, frame in zip(found, self.sizes[place], self.frame, strict=True):
            corners = _mirrored(own.corners, frame[1]) if self.mirror else own.corners
            boxes.append(_scaled(corners, frame, size))
        order = torch.tensor(self.member.order, device=boxes[0].device)
        classes = order[torch.cat([own.classes for own in found])]
        masks = self.network.drawn(self.levels[place], boxes, classes).sigmoid()
        masks = masks.flip(-1) if self.mirror else masks
        return list(torch.split(masks, [len(own) for own in boxes]))

    def _features(self, boxes: Sequence[Tensor]) -> Tensor:
        """What is read off for each box; of several sizes the larger of both that suit it, value by value."""
        places = self.member.pictures
        lower = torch.cat([self._lower(own, number) for number, own in enumerate(boxes)])
        numbers, found = [len(own) for own in boxes], None
        for rank, place in enumerate(places):
            chosen = (lower == rank) | (lower == rank - 1)
            if len(lower) and not chosen.any():
                continue
            sized = [
                _scaled(own, frame, size)[which]
                for own, frame, size, which in zip(
                    boxes, self.frame, self.sizes[place], torch.split(chosen, numbers), strict=True
                )
            ]
            seen = self.network.seen(self.levels[place], sized, self.sizes[place])
            if found is None:
                found = seen.new_full((len(lower), seen.shape[1]), -torch.inf)
            found[chosen] = torch.maximum(found[chosen], seen)
        assert found is not None
        return found

    def _lower(self, boxes: Tensor, number: int) -> Tensor:
        """The rank of the smaller of the two sizes of each box of a picture, int64 (P,)."""
        sides = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
        height, width = self.frame[number]
        own = [self.sizes[place][number] for place in self.member.pictures]
        factors = [(high / height * wide / width) ** 0.5 for high, wide in own]
        within = sum((sides * factor <= CANONICAL_SIDE).long() for factor in factors)
        return (torch.as_tensor(within, device=boxes.device) - 1).clamp(0, max(0, len(own) - 2))

    def _levels(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        if self.mirror:
            images = images.clone()
            for own, (height, width) in zip(images, sizes, strict=True):
                own[:, :height, :width] = own[:, :height, :width].flip(-1)
        fast = self.member.network
        return self.network.levels(fast.ready(images) if isinstance(fast, FastDetector) else images)


def _equal(one: Statistics, other: Statistics) -> bool:
    first, second = one.to_tensors(), other.to_tensors()
    names = ("mean", "std", "mean_image")
    return all((name in first) == (name in second) for name in names) and all(
        torch.equal(first[name], second[name]) for name in names if name in first
    )


def _plain(network: nn.Module) -> DetectorNetwork:
    found = network.network if isinstance(network, FastDetector) else network
    assert isinstance(found, DetectorNetwork)
    return found


def _sizes(batch: Batch) -> list[tuple[int, int]]:
    targets = batch.targets
    assert isinstance(targets, BoxTargets)
    assert targets.where is not None
    return own_sizes(batch.images, targets.where.sizes)


def _mean(every: Sequence[list[tuple[Tensor, Tensor]]]) -> list[tuple[Tensor, Tensor]]:
    """The mean of what several say, picture by picture; in float64, so that of equal ones it is each of them."""
    if len(every) == 1:
        return every[0]
    found = []
    for said in zip(*every, strict=True):
        chances, corners = (torch.stack(part).double().mean(0).to(part[0].dtype) for part in zip(*said, strict=True))
        found.append((chances, corners))
    return found


def _scaled(boxes: Tensor, given: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Boxes in px of a picture of one (H, W) in px of the same in another."""
    across, down = wanted[1] / given[1], wanted[0] / given[0]
    return boxes * boxes.new_tensor([across, down, across, down])


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    """(width - x2, y1, width - x1, y2)."""
    return torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
