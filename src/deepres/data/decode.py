"""Bytes -> RGB uint8: orientation, greyscale, CMYK, 16 bits, palettes; a bad file is named."""

from pathlib import Path

from torch import Tensor

from deepres.base.errors import InputError


class BadImageError(InputError):
    """An image that cannot be read; the message names the file and what is wrong with it."""


def decode(path: Path, channels: int = 3) -> Tensor:
    """The picture in `path`, uint8 (channels, H, W), upright."""
    raise BadImageError(f"{path}: not written yet")
