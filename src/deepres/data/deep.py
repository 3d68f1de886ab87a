"""Pictures of more than 8 bits: which they are, the values they hold, and how these become 8 bits."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

_UNCHANGED = 0  # torchvision's ImageReadMode
_WHITE_IS_ZERO = 262, 0  # a tag of TIFF

PixelValues = NDArray[Any]


def bits_of(image: Image.Image) -> int:
    """8, 16 or 32 bits a value, of an opened picture; 16 of colours, of which Pillow reads the upper 8, count too."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return 16
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return 32
    return 16 if has_deep_colours(image) else 8


def has_deep_colours(image: Image.Image) -> bool:
    """Whether an opened picture holds colours of 16 bits; once its pixels are read it no longer says so."""
    if image.mode not in ("RGB", "RGBA", "LA") or not (tiles := getattr(image, "tile", None)):
        return False
    raw = tiles[0][3]
    return ";16" in str(raw[0] if isinstance(raw, tuple) and raw else raw)


def values_of(image: Image.Image) -> PixelValues:
    """The values of a grey picture of more than 8 bits, 0 for black."""
    values = np.asarray(image)
    if bits_of(image) == 16:
        values = values.astype(np.int64)
        tags = getattr(image, "tag_v2", None)
        return 65535 - values if tags is not None and tags.get(_WHITE_IS_ZERO[0]) == _WHITE_IS_ZERO[1] else values
    return values.astype(np.float64)


def colours_of(image: Image.Image) -> PixelValues | None:
    """(H, W, C) of an opened PNG with colours of 16 bits; None: their lower 8 bits cannot be read."""
    file, decoder = getattr(image, "fp", None), _decoder()
    if image.format != "PNG" or file is None or decoder is None:
        return None
    place = file.tell()
    file.seek(0)
    content = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
    file.seek(place)
    pixels: PixelValues = decoder(content, _UNCHANGED, False).permute(1, 2, 0).numpy()
    return pixels.astype(np.int64)


def to_8_bits(values: PixelValues, levels: float) -> NDArray[np.uint8]:
    """255 v / levels, rounded, within 0 and 255."""
    if np.issubdtype(values.dtype, np.integer) and float(levels).is_integer():
        scaled: PixelValues = (values * 255 + int(levels) // 2) // int(levels)
    else:
        scaled = np.rint(values * (255 / levels))
    return np.clip(scaled, 0, 255).astype(np.uint8, copy=False)


@cache
def _decoder() -> Callable[[Tensor, int, bool], Tensor] | None:
    """The operator below `torchvision.io.decode_png`, which keeps 16 bits; None where it is missing."""
    try:
        import_module("torchvision.io.image")  # registers it
        found: Callable[[Tensor, int, bool], Tensor] = torch.ops.image.decode_png.default
    except (ImportError, AttributeError):
        return None
    return found
