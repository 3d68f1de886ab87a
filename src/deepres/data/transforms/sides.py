"""Pictures whose sides are given, not their shape: the short side to so many px, the long one to no more than others.

Nothing is cut off and aspect is kept, so that pictures of a batch differ in size: each stands in the upper left corner
of a canvas whose sides are whole multiples of what the network shrinks maps by. What lies beyond the picture is the
mean once normalised, and its true size stays known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from deepres.data.rng import generator
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.resizing import resized as resized_picture


class View(NamedTuple):
    """A picture resized to `width` x `height`, then mirrored or not."""

    width: int
    height: int
    flip: bool = False


def resized(width: int, height: int, short: int, long: int) -> tuple[int, int]:
    """Width and height times the factor that makes the short side `short`, or the long one `long` if that is less.

    Rounded to the nearest px, at least 1; a long side never beyond `long`.
    """
    factor = min(short / min(width, height), long / max(width, height))
    return tuple(min(long, max(1, round(side * factor))) for side in (width, height))  # type: ignore[return-value]


@dataclass(frozen=True)
class Sides:
    """uint8 (…, C, H, W) -> the same resized, drawn by the seed and the place in the stream only."""

    preparation: Preparation
    augmentation: Augmentation | None = None
    seed: int = 0

    @property
    def long(self) -> int:
        """The longest that a side gets, in px."""
        assert self.preparation.longest is not None
        return self.preparation.longest

    def view(self, width: int, height: int, place: int) -> View:
        """What training sees at `place` of a `width` x `height` picture; without an augmentation what evaluation does.

        The short side is an integer uniform in `Augmentation.scale` where its `crop` is "whole".
        """
        short, augmentation = self.preparation.resize, self.augmentation
        assert short is not None
        if augmentation is None:
            return View(*resized(width, height, short, self.long))
        drawn, mirrored = torch.rand(2, dtype=torch.float64, generator=generator(self.seed, "sides", place)).tolist()
        if augmentation.crop == "whole":
            low, high = augmentation.scale
            short = low + int(drawn * (high - low + 1))
        return View(*resized(width, height, short, self.long), mirrored < augmentation.flip)

    def of(self, image: Tensor, place: int = 0) -> Tensor:
        """The picture as it is seen at `place`."""
        height, width = image.shape[-2:]
        view = self.view(width, height, place)
        if (view.width, view.height) != (width, height):
            mode, antialias = self.preparation.interpolation, self.preparation.antialias
            image = resized_picture(image, [view.height, view.width], mode, antialias=antialias)
        return image.flip(-1) if view.flip else image


def canvas(sizes: Sequence[tuple[int, int]], multiple: int) -> tuple[int, int]:
    """The smallest (H, W), each a multiple of `multiple`, in which all of these (H, W) fit."""
    height, width = (-(-max(sides) // multiple) * multiple for sides in zip(*sizes, strict=True))
    return height, width


@dataclass(frozen=True, eq=False)
class OwnSizes:
    """`sizes` int64 (N, 2) are the (H, W) of pictures on a canvas whose sides are multiples of `multiple` px."""

    sizes: Tensor
    multiple: int

    @property
    def canvas(self) -> tuple[int, int]:
        """The smallest that holds them."""
        return canvas([(height, width) for height, width in self.sizes.tolist()], self.multiple)

    def at(self, places: Any) -> "OwnSizes":
        """Those at these places."""
        return OwnSizes(self.sizes[places], self.multiple)


def on_canvas(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The picture (…, H, W) in the upper left corner of `size`; 0 elsewhere, until `only_inside`."""
    return F.pad(image, (0, size[1] - image.shape[-1], 0, size[0] - image.shape[-2]))


def only_inside(x: Tensor, sizes: Tensor) -> Tensor:
    """x (N, C, H, W), normalised, with 0 (the mean) outside of each picture's own `sizes` int64 (N, 2) of (H, W)."""
    height, width = x.shape[-2:]
    if bool((sizes == torch.tensor([height, width])).all()):
        return x
    sizes = sizes.to(x.device)
    rows = torch.arange(height, device=x.device) < sizes[:, :1]
    columns = torch.arange(width, device=x.device) < sizes[:, 1:]
    return x.masked_fill(~(rows[:, :, None] & columns[:, None, :])[:, None], 0.0)
