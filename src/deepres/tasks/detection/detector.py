"""A detector as a module: pictures in, boxes out; its children are the description's parts."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from math import sqrt

import torch
from torch import Generator, Tensor, nn

from deepres.arch.detector import Detector
from deepres.base.errors import InputError
from deepres.data.on_device import require_float64
from deepres.nn.build import ResidualNetwork, modules
from deepres.nn.init import Rules, he_normal, initialise, normal, uniform, zeros
from deepres.tasks.detection.folding import Folding
from deepres.tasks.detection.mask_head import MaskBranch
from deepres.tasks.detection.neck import Neck
from deepres.tasks.detection.proposals import Proposing
from deepres.tasks.detection.regions import Found, RegionHead

HEADS = ("neck", "proposals", "regions", "masks")
"""The children behind the body."""


def he_transposed(tensor: Tensor, draw: Generator) -> None:
    """N(0, 2 / n), n the inputs of one output value, whose patches do not overlap."""
    tensor.normal_(0, sqrt(2 / len(tensor)), generator=draw)


PARTS: Mapping[str, Rules] = {
    "neck": {(nn.Conv2d, "weight"): uniform(3)},
    "proposals": {(nn.Conv2d, "weight"): normal(0.01)},
    "regions": {(nn.Linear, "weight"): uniform(1)},
    "masks": {
        (nn.Conv2d, "weight"): he_normal,
        (nn.ConvTranspose2d, "weight"): he_transposed,
        (nn.ConvTranspose2d, "bias"): zeros,
    },
}
"""First values as torchvision draws them; biases are 0, where it draws those of `regions` as it does their weights."""


class DetectorNetwork(nn.Module):
    """boxes = regions(neck(body(x)), proposals(neck(body(x)))); stem, stage1, …, neck, proposals, regions, masks.

    With a C4 the parts of the body behind the tap are computed for each region; they keep their names.
    """

    def __init__(self, description: Detector) -> None:
        super().__init__()
        self.description = description
        entering = {place.name: place for place in description.places}
        for name, node in description.body:
            self.add_module(name, modules(node, entering[name].given[0]))
        self._shared = Folding(description.shared, description.input)
        region = (description.levels[0][0], description.regions.pool, description.regions.pool)
        self._per_region = Folding(description.per_region, region)
        masked = (region[0], *[description.masks.pool] * 2) if description.masks is not None else region
        self._per_mask = Folding(description.per_region, masked)
        self.neck = Neck(description)
        self.proposals = Proposing(description)
        self.regions = RegionHead(description)
        self.masks = None if description.masks is None else MaskBranch(description, description.masks)

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> list[Found]:
        """Pictures (N, C, H, W), padded right and below -> what is found on each, in its own px.

        `sizes` int64 (N, 2) are their own (height, width); without them all is picture.
        """
        own = own_sizes(images, sizes)
        levels = self.levels(images)
        judged = self.proposals(levels, images.shape[-2:])
        boxes = self.proposals.proposed(judged, own, training=False)
        scores, offsets = self.looked_at(levels, boxes, own)
        numbers = [len(each) for each in boxes]
        every = zip(torch.split(scores, numbers), torch.split(offsets, numbers), boxes, own, strict=True)
        found = [self.regions.answered(*each) for each in every]
        return found if self.masks is None else self.masked(levels, found)

    def masked(self, levels: Sequence[Tensor], found: Sequence[Found]) -> list[Found]:
        """The same boxes with how likely each of their cells belongs to the object."""
        drawn = self.drawn(levels, [own.corners for own in found], torch.cat([own.classes for own in found])).sigmoid()
        parts = torch.split(drawn, [len(own.scores) for own in found])
        return [own._replace(masks=masks) for own, masks in zip(found, parts, strict=True)]

    def drawn(self, levels: Sequence[Tensor], boxes: Sequence[Tensor], classes: Tensor) -> Tensor:
        """The masks of the boxes of all pictures, each of its class (R,): (R, S, S) before the sigmoid."""
        assert self.masks is not None
        regions = self.masks.pooled(levels, boxes)
        for after in self._per_mask.maps(self, regions).values():
            regions = after
        drawn: Tensor = self.masks(regions, classes)
        return drawn

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """(N, C, H, W) -> the map that leaves each part of the body that is computed once a picture, by name."""
        require_float64(x.device)
        return self._shared.maps(self, x)

    def levels(self, images: Tensor) -> list[Tensor]:
        """(N, C, H, W) -> the maps that proposals and regions look at, the finest first."""
        maps = self.features(images)
        levels: list[Tensor] = self.neck([maps[tap] for tap in self.description.taps])
        return levels

    def looked_at(
        self, levels: Sequence[Tensor], boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """What is said of the boxes of all pictures: scores (R, 1 + classes), offsets (R, 1 + classes, 4).

        `sizes` are the pictures' own (H, W).
        """
        scores, offsets = self.regions(self.seen(levels, boxes, sizes))
        return scores, offsets

    def seen(self, levels: Sequence[Tensor], boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> Tensor:
        """What classes and offsets are read off, of the boxes of all pictures (R, D).

        With `Detector.context` the second half is of the whole picture that the box is of.
        """
        if not self.description.context:
            return self.described(self.regions.pooled(levels, boxes))
        whole = [own.new_tensor([[0, 0, width, height]]) for own, (height, width) in zip(boxes, sizes, strict=True)]
        every = self.described(self.regions.pooled(levels, [*map(torch.cat, zip(whole, boxes, strict=True))]))
        parts = torch.split(every, [1 + len(own) for own in boxes])
        return torch.cat([torch.cat([part[1:], part[:1].expand(len(part) - 1, -1)], 1) for part in parts])

    def described(self, regions: Tensor) -> Tensor:
        """Pooled regions (R, C, pool, pool) through the layers that are computed for each: (R, D)."""
        for after in self._per_region.maps(self, regions).values():
            regions = after
        found: Tensor = self.regions.get_submodule("head")(regions)
        return found

    @property
    def num_classes(self) -> int:
        """Of objects, without the background."""
        return self.description.num_classes

    @property
    def head_names(self) -> tuple[str, ...]:
        """The children that are new on a backbone's weights."""
        return HEADS if self.masks is not None else HEADS[:-1]


def create(description: Detector, seed: int = 0) -> DetectorNetwork:
    """The detector with first values: the body as He et al. 2015, the rest as `PARTS`."""
    network = DetectorNetwork(description)
    initialise(network, seed, parts=PARTS)
    return network


def as_backbone(network: DetectorNetwork) -> ResidualNetwork:
    """The body as a network of its own that shares its modules: what is done to one is done to the other."""
    backbone = network.description.backbone
    body = OrderedDict((name, network.get_submodule(name)) for name, _ in backbone.body)
    return ResidualNetwork(backbone, body, modules(backbone.head, (1, 1, 1)))


def own_sizes(images: Tensor, sizes: Tensor | None) -> list[tuple[int, int]]:
    """The (height, width) of each picture in a batch.

    Raises:
        InputError: a size is none that lies in the batch.
    """
    height, width = images.shape[-2:]
    if sizes is None:
        return [(height, width)] * len(images)
    found = [(int(high), int(wide)) for high, wide in torch.as_tensor(sizes).tolist()]
    for high, wide in found:
        if not (1 <= high <= height and 1 <= wide <= width):
            raise InputError(f"a picture of {wide} x {high} px in a batch of {width} x {height}; wanted 1 px to all")
    if len(found) != len(images):
        raise InputError(f"{len(found)} sizes of {len(images)} pictures; wanted one for each")
    return found
