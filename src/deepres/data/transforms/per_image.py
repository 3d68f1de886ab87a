"""One image at a time, uint8 in and out: channels, fit to the network's size, crops from the image's own size."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepres.base.errors import InputError
from deepres.data.decode import BadImageError
from deepres.data.rng import seeded
from deepres.data.transforms.config import Augmentation, Decode, Preparation
from deepres.data.transforms.crops import Cutter
from deepres.data.transforms.resizing import central, resized
from deepres.data.transforms.sides import Sides

BAR_VALUE = 128  # the grey of the bars of fit "pad"
MOST_PIXELS = 2**26  # of a resized image before its crop; a 1 x 2000 strip at short side 256 has 2**27


def with_channels(image: Tensor, channels: int, name: str = "image") -> Tensor:
    """Grey -> RGB by repetition; RGB -> grey by ITU-R 601 luma, as Pillow's mode "L". uint8 (..., C, H, W)."""
    given = image.shape[-3]
    if given == channels:
        return image
    if (given, channels) == (1, 3):
        return image.expand(*image.shape[:-3], 3, *image.shape[-2:])
    if (given, channels) == (3, 1):
        red, green, blue = image.to(torch.int32).unbind(-3)
        return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).to(torch.uint8).unsqueeze(-3)
    raise InputError(f"{name}: {given} channels, wanted 1 (grey) or 3 (RGB)")


def fit(image: Tensor, preparation: Preparation, name: str = "image") -> Tensor:
    """The image at the network's size, as `Preparation.fit` says, in its channels; uint8 (..., C, H, W).

    "crop" equals torchvision's v2.Resize and CenterCrop bit by bit. Its `ImageClassification` preset resizes in float:
    it, and Pillow, are met within one level of 255, except where bicubic overshoots black or white.

    Raises:
        BadImageError: so long a strip that its resized form would fill the memory.
    """
    image = with_channels(image, preparation.channels, name)
    if preparation.fit == "sides":
        return Sides(preparation).of(image)
    size = preparation.size
    if size is None:
        return image
    if preparation.fit == "crop":
        assert preparation.resize is not None
        whole = resize_short_side(image, preparation.resize, preparation, name)
        if preparation.margins == "floored":
            top, left = ((side - size) // 2 for side in whole.shape[-2:])
            return whole[..., top : top + size, left : left + size]
        return central(whole, size)
    if preparation.fit == "squash":
        return _resize(image, [size, size], preparation)
    height, width = image.shape[-2:]
    new_height, new_width = (max(1, round(side * size / max(height, width))) for side in (height, width))
    top, left = (size - new_height) // 2, (size - new_width) // 2
    margins = (left, size - new_width - left, top, size - new_height - top)
    return F.pad(_resize(image, [new_height, new_width], preparation), margins, value=BAR_VALUE)


def resize_short_side(image: Tensor, side: int, preparation: Preparation, name: str = "image") -> Tensor:
    """The image with its short side `side` px long, aspect kept (the long side is rounded down, as in torchvision)."""
    height, width = image.shape[-2:]
    if side * side * max(height, width) > MOST_PIXELS * min(height, width):
        raise BadImageError(
            f"{name}: {width} x {height} px is too long a strip to resize its short side to {side}; "
            f"remove it, or set preparation.fit=pad"
        )
    return _resize(image, [side], preparation)


class SampleStage:
    """uint8 image -> uint8 image of the network's size, drawn by the seed and the place in the stream only.

    Library transforms draw from torch's global generator; it is set for each sample and put back afterwards.
    With decode "scaled", crops of the image's own size are made by `cutter` from what lies on disk and go through
    `after_cut`; without a cutter (nothing to cut, or a resize without antialiasing) images are decoded whole.
    """

    def __init__(
        self, augmentation: Augmentation, preparation: Preparation, seed: int, decode: Decode = "full"
    ) -> None:
        self.cutter: Cutter | None = None
        if decode == "scaled" and augmentation.sees_own_size and preparation.antialias:
            assert preparation.size is not None
            self.cutter = Cutter(augmentation, preparation.size, preparation.interpolation, seed)
        self._augmentation, self._preparation = augmentation, preparation
        self._seed = seed
        self._short_sides = augmentation.scale if augmentation.crop == "short_side" else None
        self._sides = Sides(preparation, augmentation, seed) if preparation.fit == "sides" else None
        self._fits_first = not augmentation.sees_own_size
        self._draws = augmentation.is_per_sample

    @cached_property
    def _changes(self) -> nn.Sequential:
        """What happens to an image that has been cut."""
        return nn.Sequential(*_changes(self._augmentation))

    @cached_property
    def _whole(self) -> nn.Sequential:
        """What happens to an image as it is; made where one is read: the library that does it is long in loading."""
        return nn.Sequential(*_crops(self._augmentation, self._preparation), *self._changes)

    def __call__(self, image: Tensor, place: int, name: str) -> Tensor:
        if self._sides is not None:
            image = self._sides.of(with_channels(image, self._preparation.channels, name), place)
        elif self._fits_first:
            image = fit(image, self._preparation, name)
        if not self._draws:
            return image
        image = with_channels(image, self._preparation.channels, name)
        whole = self._whole
        with seeded(self._seed, "augment", place):
            if self._short_sides is not None:
                low, high = self._short_sides
                side = int(torch.randint(low, high + 1, ()))
                image = resize_short_side(image, side, self._preparation, name)
            augmented: Tensor = whole(image)
        return augmented

    def after_cut(self, image: Tensor, place: int, name: str) -> Tensor:
        """What is left to do with an image that `cutter` made: channels, jitter, automatic augmentation."""
        image = with_channels(image, self._preparation.channels, name)
        changes = self._changes
        if not len(changes):
            return image
        with seeded(self._seed, "augment", place):
            changed: Tensor = changes(image)
        return changed


def _crops(augmentation: Augmentation, preparation: Preparation) -> list[nn.Module]:
    if not augmentation.sees_own_size:
        return []
    from torchvision.transforms import InterpolationMode, v2

    interpolation, antialias = InterpolationMode(preparation.interpolation), preparation.antialias
    stages: list[nn.Module] = []
    if augmentation.crop == "short_side":
        stages.append(v2.RandomCrop(preparation.size))
    if augmentation.crop == "random_resized":
        area, ratio = augmentation.area, augmentation.ratio
        stages.append(v2.RandomResizedCrop(preparation.size, area, ratio, interpolation, antialias))
    if augmentation.flip:
        stages.append(v2.RandomHorizontalFlip(augmentation.flip))
    return stages


def _changes(augmentation: Augmentation) -> list[nn.Module]:
    if augmentation.auto == "none" and not augmentation.jitter:
        return []
    from torchvision.transforms import InterpolationMode, v2

    stages: list[nn.Module] = []
    if augmentation.jitter:
        stages.append(v2.ColorJitter(augmentation.jitter, augmentation.jitter, augmentation.jitter))
    bilinear: dict[str, Any] = {"interpolation": InterpolationMode.BILINEAR}
    if augmentation.auto == "trivial":
        stages.append(v2.TrivialAugmentWide(**bilinear))
    if augmentation.auto == "rand":
        stages.append(v2.RandAugment(**bilinear))
    if augmentation.auto == "auto":
        stages.append(v2.AutoAugment(**bilinear))
    if augmentation.auto == "augmix":
        stages.append(v2.AugMix(**bilinear))
    return stages


def _resize(image: Tensor, size: list[int], preparation: Preparation) -> Tensor:
    return resized(image, size, preparation.interpolation, antialias=preparation.antialias)
