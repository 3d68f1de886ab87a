"""The part of a picture that a training step looks at: drawn from its size, decoded no finer than needed, cut at once.

The laws are those of torchvision's RandomResizedCrop and RandomCrop after Resize; pixels are near theirs, not equal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import BytesIO
from math import exp, log, sqrt
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deepres.data.decode import as_picture, finished, opened, orientation, upright_size
from deepres.data.rng import generator
from deepres.data.transforms.config import Augmentation
from deepres.data.transforms.resizing import resized

TRIALS = 10  # boxes drawn before the central one is taken, as in torchvision
_UNCHANGED = 0  # torchvision's ImageReadMode
SCALES = (8, 4, 2)  # at which a JPEG can be decoded, coarsest first

Interpolation = Literal["bilinear", "bicubic"]

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Cut(NamedTuple):
    """A box within a picture of whole or broken px, its upper left corner first, and whether to mirror it."""

    left: float
    top: float
    width: float
    height: float
    flip: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether its borders lie between pixels."""
        return all(float(side).is_integer() for side in self[:4])

    def scaled(self, factor: float) -> "Cut":
        """The same part of the picture once each side of it is multiplied by `factor`."""
        return Cut(self.left * factor, self.top * factor, self.width * factor, self.height * factor, self.flip)


def draw(augmentation: Augmentation, size: int, width: int, height: int, seed: int, place: int) -> Cut:
    """The part of a `width` x `height` picture seen at `place` of the stream: a function of its arguments only.

    "random_resized": area uniform in `area` (shares), ratio log-uniform in `ratio`, the first of TRIALS boxes that fits
    at a uniform place, else the largest central one whose ratio lies within `ratio`. "short_side": a `size` x `size`
    window, uniform over all whole px, of the picture with its short side resized to an integer uniform in `scale`.
    """
    numbers = torch.rand(4 * TRIALS + 1, dtype=torch.float64, generator=generator(seed, "cut", place)).tolist()
    flip = numbers[-1] < augmentation.flip
    if augmentation.crop == "short_side":
        return _window(augmentation.scale, size, width, height, numbers, flip)
    (low, high), (narrow, wide) = augmentation.area, augmentation.ratio
    for trial in range(TRIALS):
        share, ratio, across, down = numbers[4 * trial : 4 * trial + 4]
        area = width * height * (low + share * (high - low))
        aspect = exp(log(narrow) + ratio * (log(wide) - log(narrow)))
        w, h = round(sqrt(area * aspect)), round(sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return Cut(int(across * (width - w + 1)), int(down * (height - h + 1)), w, h, flip)
    w, h = width, height
    if width < narrow * height:
        h = round(width / narrow)
    elif width > wide * height:
        w = round(height * wide)
    return Cut((width - w) // 2, (height - h) // 2, w, h, flip)


@dataclass(frozen=True)
class Cutter:
    """Pictures -> what training sees of them, uint8 (C, `size`, `size`), resampled once with antialiasing.

    A JPEG is decoded at 1/2, 1/4 or 1/8 where the part seen still has `size` px on its short side then. Compared with
    decoding it whole, cutting the same box and resizing it: equal where the box is of whole px and nothing is scaled
    (most crops of pictures below 2 x `size`), else below one level of 255 on average over photographs, below 4 on any.
    """

    augmentation: Augmentation
    size: int
    interpolation: Interpolation
    seed: int

    def of_file(
        self, content: bytes | bytearray, name: str, place: int, channels: int = 3, levels: float | None = None
    ) -> Tensor:
        """Of a picture file's content, upright, in 1 or 3 channels; `levels` and errors as in `decode`."""
        with opened(BytesIO(content), name) as image:
            if image.format not in ("JPEG", "MPO"):  # a PNG may say behind its pixels which way is up
                whole = finished(image, name, channels, levels)
                return self._of_picture(whole, self._draw(*whole.size, place))
            cut = self._draw(*upright_size(image), place)
            scale = next((s for s in SCALES if min(cut.width, cut.height) >= s * self.size), 1)
            plain = image.mode == ("RGB" if channels == 3 else "L") and orientation(image) == 1
            if scale == 1 and plain and cut.is_whole:
                pixels = _all_pixels(content)
                if pixels is not None:
                    return self._of_pixels(pixels, cut)
            image.draft(image.mode, (image.width // scale, image.height // scale))
            return self._of_picture(finished(image, name, channels), cut.scaled(1 / scale))

    def of_pixels(self, pixels: Tensor, place: int) -> Tensor:
        """Of pixels uint8 (C, H, W)."""
        height, width = pixels.shape[-2:]
        cut = self._draw(width, height, place)
        return self._of_pixels(pixels, cut) if cut.is_whole else self._of_picture(as_picture(pixels), cut)

    def _draw(self, width: int, height: int, place: int) -> Cut:
        return draw(self.augmentation, self.size, width, height, self.seed, place)

    def _of_pixels(self, pixels: Tensor, cut: Cut) -> Tensor:
        left, top, width, height = (int(side) for side in cut[:4])
        part = pixels[None, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
        found = resized(part, [self.size, self.size], self.interpolation, antialias=True)[0]
        return found.flip(-1) if cut.flip else found

    def _of_picture(self, picture: Image.Image, cut: Cut) -> Tensor:
        if cut.is_whole:
            return self._of_pixels(_pixels(picture), cut)
        box = (cut.left, cut.top, min(cut.left + cut.width, picture.width), min(cut.top + cut.height, picture.height))
        resized = _pixels(picture.resize((self.size, self.size), _RESAMPLING[self.interpolation], box=box))
        return resized.flip(-1) if cut.flip else resized


def _window(scale: tuple[int, int], size: int, width: int, height: int, numbers: list[float], flip: bool) -> Cut:
    """The box in px of the picture that is a window of whole px once its short side is resized."""
    low, high = scale
    side = low + int(numbers[0] * (high - low + 1))
    short = min(width, height)
    new_width, new_height = (side if length == short else int(side * length / short) for length in (width, height))
    left, top = int(numbers[1] * (new_width - size + 1)), int(numbers[2] * (new_height - size + 1))
    across, down = width / new_width, height / new_height
    return Cut(left * across, top * down, size * across, size * down, flip)


def _all_pixels(content: bytes | bytearray) -> Tensor | None:
    """A whole JPEG by torchvision's decoder: Pillow's pixels, laid out as resizing wants them; None: refused."""
    decoder = _decoder()
    if decoder is None:
        return None
    try:
        return decoder(torch.frombuffer(bytearray(content), dtype=torch.uint8), _UNCHANGED, False)
    except RuntimeError:  # Pillow says in one line what is wrong, or reads it nevertheless
        return None


@cache
def _decoder() -> Callable[[Tensor, int, bool], Tensor] | None:
    """The operator below `torchvision.io.decode_jpeg`, a fifth faster than Pillow on the way to a tensor.

    torchvision 0.29 says that it will be removed; where it is missing, Pillow gives the same pixels.
    """
    try:
        import_module("torchvision.io.image")  # registers it
        found: Callable[[Tensor, int, bool], Tensor] = torch.ops.image.decode_jpeg.default
    except (ImportError, AttributeError):
        return None
    return found


def _pixels(picture: Image.Image) -> Tensor:
    """(C, H, W) over memory that is (H, W, C)."""
    values = np.array(picture)
    return torch.from_numpy(values.reshape(*values.shape[:2], -1)).permute(2, 0, 1)
