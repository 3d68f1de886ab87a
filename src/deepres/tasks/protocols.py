"""How a network is asked about an image: which views it is shown, and how the answers to them become one.

| spelling                         | views                                                                        |
| -------------------------------- | ---------------------------------------------------------------------------- |
| center                           | the weights' own preparation; of CIFAR the single view of the original image |
| center:224/256, center:320       | the central 224 of short side 256; 320 from 320                              |
| flip, flip:224/256               | that view and its mirror                                                     |
| ten-crop, ten-crop:224/256       | four corners and centre, and their mirrors (Krizhevsky et al. 2012, 4.1)     |
| ten-crop-logits                  | the same, logits averaged in place of probabilities, as fb.resnet.torch does |
| multi-scale, multi-scale:224,256 | the whole image at several short sides (He et al. 2015, Table 4)             |
| multi-scale-flip                 | the same, and the mirrors                                                    |

Corners are those of the whole resized image, as torchvision and fb.resnet.torch cut them; Krizhevsky et al. cut them
from its central square. Mirrors are those of the crops (torchvision's TenCrop crops the mirrored image, whose centre
lies one column further where the margin is odd). Without numbers, ten-crop and multi-scale have the papers' for a
network of 224 px, and the same in proportion for others (ours). The papers do not say whether multi-scale used mirrors:
both are here.

Dense evaluation slides the network over the image: its classifier as a 1 x 1 convolution, the logits averaged over
positions. Behind a global average pool that is an ordinary pass of the whole image, since the mean of linear maps is
the linear map of the mean; that pass is what is done. Probabilities are averaged over scales and mirrors.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from deepres.arch.algebra import Node, children
from deepres.arch.architecture import Architecture, with_input
from deepres.arch.atoms import Dropout, Flatten, GlobalAveragePool, Identity, Linear
from deepres.base.errors import InputError, unknown
from deepres.base.records import Record
from deepres.data.images import Batch
from deepres.data.targets import Targets
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.data.transforms.views import ViewCut, Views
from deepres.tasks.task import AskedHow, Average
from deepres.tasks.together import Participant

PAPERS_CROP = 224
LARGEST = 4096


class Protocol(Record):
    """Views of an image: at the short sides `sides` what `cut` takes; without a cut, the preparation's own view."""

    name: str
    sides: tuple[int, ...] = ()
    crop: int | None = None
    cut: ViewCut | None = None
    flip: bool = False  # the mirror of every view, too
    average: Literal["probability", "logit"] = "probability"

    def __str__(self) -> str:
        """The name with all settings: `ten-crop:224/256`."""
        if self.cut is None:
            return self.name
        if self.cut == "whole":
            return f"{self.name}:{','.join(map(str, self.sides))}"
        return f"{self.name}:{self.crop}/{self.sides[0]}"

    @property
    def showing(self) -> Views | None:
        """The pictures that the loader has to make; None: the preparation's own."""
        return self.cut and Views(sides=self.sides, cut=self.cut, crop=self.crop, where=str(self))

    @property
    def num_pictures(self) -> int:
        """Of each image, mirrors not counted."""
        return 1 if self.showing is None else self.showing.num_pictures

    @property
    def num_views(self) -> int:
        """Of each image, mirrors counted."""
        return self.num_pictures * (1 + self.flip)

    def sentence(self, preparation: Preparation) -> str:
        """What is shown, in words: `the central 224 x 224 of short side 256, and its mirror`."""
        crop = f"{self.crop} x {self.crop}"
        told = {
            None: _own_view(preparation),
            "centre": f"the central {crop} of short side {self.sides[0] if self.sides else ''}",
            "corners": f"four corners and centre of {crop}, of short side {self.sides[0] if self.sides else ''}",
            "whole": f"the whole image at short side {', '.join(map(str, self.sides))}",
        }[self.cut]
        mirror = (", and its mirror" if self.num_pictures == 1 else ", and their mirrors") if self.flip else ""
        mean = {"probability": "probabilities averaged", "logit": "logits averaged"}[self.average]
        resized = "; the mean image resized to the view" if self.cut and preparation.normalise == "per_pixel" else ""
        return f"{told}{mirror}{f'; {mean}' if self.num_views > 1 else ''}{resized}"

    def together(self, asked: Sequence[Participant]) -> tuple[nn.Module, list[tuple[Preparation, Statistics]]]:
        """The one network that is asked: answers of several are averaged once they are there."""
        (one,) = asked
        return one.network, [(one.preparation, one.statistics)]


PROTOCOLS: dict[str, Protocol] = {
    "center": Protocol(name="center"),
    "flip": Protocol(name="flip", flip=True),
    "ten-crop": Protocol(name="ten-crop", sides=(256,), crop=224, cut="corners", flip=True),
    "ten-crop-logits": Protocol(
        name="ten-crop-logits", sides=(256,), crop=224, cut="corners", flip=True, average="logit"
    ),
    "multi-scale": Protocol(name="multi-scale", sides=(224, 256, 384, 480, 640), cut="whole"),
    "multi-scale-flip": Protocol(name="multi-scale-flip", sides=(224, 256, 384, 480, 640), cut="whole", flip=True),
}
CENTER = PROTOCOLS["center"]


def protocol_named(text: str, preparation: Preparation) -> Protocol:
    """The protocol of that spelling, its numbers settled for weights that want `preparation`.

    Raises:
        InputError: an unknown name, or numbers that it cannot have.
    """
    name, colon, numbers = text.partition(":")
    if name == "boxes":
        raise InputError(f"protocol {text}: is of networks that find boxes; wanted one of {', '.join(PROTOCOLS)}")
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    protocol = PROTOCOLS[name]
    if colon:
        protocol = _with_numbers(protocol, numbers, text)
    elif protocol.cut is not None and preparation.size is not None:
        protocol = _in_proportion(protocol, preparation)
    own = preparation.fit == "crop" and (protocol.crop, *protocol.sides) == (preparation.crop, preparation.resize)
    return PROTOCOLS[name] if protocol.cut == "centre" and own else protocol


def require_fitting(protocol: Protocol, architecture: Architecture) -> None:
    """Refuse a protocol whose views this network cannot be shown.

    Raises:
        InputError: a dense protocol for a head that is no global average with one linear layer; a size that the
            network's layers have no map for.
    """
    if protocol.cut == "whole" and not _is_dense(architecture):
        raise InputError(
            f"protocol {protocol}: {architecture.name}'s head is no global average with one linear layer, so a larger "
            "image is no dense evaluation of it; use center, flip or ten-crop"
        )
    for side in (protocol.crop,) if protocol.crop else protocol.sides:
        try:
            with_input(architecture, (architecture.input[0], side, side))
        except InputError as cause:
            raise InputError(
                f"protocol {protocol}: {architecture.name} takes no {side} x {side}: {cause.message}"
            ) from cause


def views(batch: Batch, protocol: AskedHow) -> Iterator[Batch]:
    """The pictures of a batch, then their mirrors where the protocol wants them."""
    yield batch
    if protocol.num_views > protocol.num_pictures:
        yield replace(batch, images=batch.images.flip(-1))


Averaged = Callable[[Tensor, Average, int], Tensor]
"""averaged(outputs, average, dim): several answers to an image as one (`Task.averaged`)."""


class Gathering:
    """Holds the answers to an image's views until it has all of them; the order in which images come changes none."""

    def __init__(self, protocol: AskedHow, averaged: Averaged) -> None:
        self._protocol = protocol
        self._averaged = averaged
        self._waiting: dict[int, list[Tensor]] = {}

    def add(self, logits: list[Any], batch: Batch) -> tuple[Any, Targets, Tensor]:
        """What is said of each of the batch's `views` -> outputs, targets, indices of images that are complete."""
        if self._protocol.num_views == 1:
            return logits[0], batch.targets, batch.indices
        rows = torch.stack([one.detach().cpu().double() for one in logits], dim=1)
        whole: list[Tensor] = []
        places: list[int] = []
        for place, index in enumerate(batch.indices.tolist()):
            parts = self._waiting.setdefault(index, [])
            parts.append(rows[place])
            if len(parts) == self._protocol.num_pictures:
                whole.append(torch.cat(self._waiting.pop(index)))
                places.append(place)
        if not whole:
            return rows[:0, 0], batch.targets[:0], batch.indices[:0]
        mean = self._averaged(torch.stack(whole), self._protocol.average, 1)
        return mean, batch.targets[places], batch.indices[places]


def _own_view(preparation: Preparation) -> str:
    size = f"{preparation.crop} x {preparation.crop}"
    return {
        None: "the single view of the original image",
        "crop": f"the central {size} of short side {preparation.resize}",
        "squash": f"the whole image squashed to {size}",
        "pad": f"the whole image, padded to {size}",
        "sides": f"the whole image, short side {preparation.resize}, long side {preparation.longest} at most",
    }[preparation.fit]


def _in_proportion(protocol: Protocol, preparation: Preparation) -> Protocol:
    size = preparation.size
    assert size is not None
    sides = tuple(dict.fromkeys(round(side * size / PAPERS_CROP) for side in protocol.sides))
    if protocol.cut == "whole":
        return protocol.replace(sides=sides)
    own = preparation.fit == "crop" and preparation.resize is not None and preparation.resize > size
    return protocol.replace(crop=size, sides=(preparation.resize,) if own else sides)


def _with_numbers(protocol: Protocol, numbers: str, text: str) -> Protocol:
    dense = protocol.cut == "whole"
    example = f"{protocol.name}:224,256" if dense else f"{protocol.name}:224/256, or {protocol.name}:320 (320 from 320)"
    parts = numbers.split("," if dense else "/")
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= LARGEST for part in parts):
        raise InputError(f"protocol {text}: wanted whole numbers of pixels up to {LARGEST}, such as {example}")
    sizes = tuple(map(int, parts))
    if dense:
        if len(set(sizes)) < len(sizes):
            raise InputError(f"protocol {text}: a scale stands there twice; name each once")
        return protocol.replace(sides=sizes)
    if len(sizes) > 2:
        raise InputError(f"protocol {text}: wanted one size or two, such as {example}")
    crop, side = sizes[0], sizes[-1]
    if crop > side:
        raise InputError(f"protocol {text}: cannot cut {crop} from a short side of {side}; give the larger number last")
    return protocol.replace(crop=crop, sides=(side,), cut=protocol.cut or "centre")


def _is_dense(architecture: Architecture) -> bool:
    """Whether the head pools globally, once, and has nothing behind it but one linear layer."""
    atoms = _atoms(architecture.head)
    pools = [place for place, atom in enumerate(atoms) if isinstance(atom, GlobalAveragePool)]
    if len(pools) != 1:
        return False
    behind = [atom for atom in atoms[pools[0] + 1 :] if not isinstance(atom, Flatten | Dropout | Identity)]
    return len(behind) <= 1 and all(isinstance(atom, Linear) for atom in behind)


def _atoms(node: Node) -> list[Node]:
    inner = children(node)
    return [atom for _, child in inner for atom in _atoms(child)] if inner else [node]
