"""Bytes -> RGB or grey uint8: orientation, greyscale, CMYK, 16 bits, palettes, transparency; a bad file is named."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import IO, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from deepres.base.errors import InputError
from deepres.data.formats import RAW, what_is_wrong

MAX_PIXELS = 2**27
"""A picture with more pixels (11,585 x 11,585; 384 MiB of RGB) is refused from its header."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "HEIF")
"""What is read, by content and not by suffix; formats that start another program (EPS) are not among them."""

_SUBFILE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706  # tags of TIFF
_ON_ITS_SIDE = (5, 6, 7, 8)
_BAD_FILE = (
    OSError,  # truncated data, among much else
    SyntaxError,  # broken PNG
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""All that Pillow's readers have been seen to raise on a damaged file."""


class BadImageError(InputError):
    """An image that cannot be read; the message names the file and what is wrong with it."""


class Header(NamedTuple):
    """What a picture is, before its pixels are read: upright `width` and `height`, and what decoding will have to do.

    `traits` holds some of: grey, cmyk, 16-bit, palette, transparent, animated, rotated.
    """

    width: int
    height: int
    format: str
    traits: tuple[str, ...]


def decode(path: Path, channels: int = 3, at_least: int | None = None) -> Tensor:
    """The picture in `path`, uint8 (channels, H, W), upright; `channels` is 3 (RGB) or 1 (luma, ITU-R 601).

    Transparent parts show white; 16 bits of grey are scaled to 8; CMYK is converted without a colour profile; of an
    animation the first frame is taken. An EXIF block that cannot be read counts as none, as it does in viewers.
    With `at_least`, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, never with a short side below
    `at_least` px: faster, and not the same pixels as a full decoding followed by a resize.

    Raises:
        BadImageError: the file is missing, empty, truncated, damaged, no image, or has more than MAX_PIXELS.
    """
    with _file(path) as file:
        return _decode(file, str(path), channels, at_least)


def decode_bytes(data: bytes, name: str, channels: int = 3, at_least: int | None = None) -> Tensor:
    """As `decode`, for a file's content; `name` stands in the errors."""
    return _decode(BytesIO(data), name, channels, at_least)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of the upright picture in px, from the header alone.

    A PNG whose orientation stands behind its pixels is measured as it is stored.
    """
    with _file(path) as file, opened(file, str(path)) as image:
        return upright_size(image)


def read_bytes(path: Path) -> bytes:
    """The file as it is; BadImageError where it cannot be opened."""
    with _file(path) as file:
        return file.read()


def read_header(path: Path) -> Header:
    """Size, format and traits of the picture in `path`; errors as in `decode`."""
    return header_of(read_bytes(path), str(path))


def header_of(content: bytes, name: str) -> Header:
    """As `read_header`, for a file's content; `name` stands in the errors."""
    with opened(BytesIO(content), name) as image:
        turn = orientation(image)
        width, height = upright_size(image)
        traits = {
            "grey": image.mode in ("1", "L", "LA", "La", "I", "F") or _is_16_bit(image),
            "cmyk": image.mode == "CMYK",
            "16-bit": _is_16_bit(image),
            "palette": image.mode in ("P", "PA"),
            "transparent": image.has_transparency_data,
            "animated": bool(getattr(image, "is_animated", False)) and image.format != "MPO",
            "rotated": turn != 1,
        }
        return Header(width, height, image.format or "", tuple(name for name, holds in traits.items() if holds))


def _decode(file: IO[bytes], name: str, channels: int, at_least: int | None) -> Tensor:
    assert channels in (1, 3)
    assert at_least is None or at_least > 0
    with opened(file, name) as image:
        if at_least is not None:
            image.draft(image.mode, (at_least, at_least))
        pixels = np.array(finished(image, name, channels))
    return torch.from_numpy(np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)))


def finished(image: Image.Image, name: str, channels: int) -> Image.Image:
    """An opened picture with its pixels read, upright, of 8 bits, in mode RGB (3 channels) or L (1)."""
    image.load()
    upright = ImageOps.exif_transpose(image) if orientation(image, all_read=True) != 1 else image
    return _eight_bits(upright, image, name).convert("RGB" if channels == 3 else "L")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) in px of an opened picture once it is turned upright."""
    width, height = image.size
    return (height, width) if orientation(image) in _ON_ITS_SIDE else (width, height)


def _eight_bits(image: Image.Image, source: Image.Image, name: str) -> Image.Image:
    if _is_16_bit(source):
        values = np.asarray(image).astype(np.int64)
        grey = (values * 255 + 32767) // 65535
        return Image.fromarray(np.where(values == source.info.get("transparency"), 255, grey).astype(np.uint8))
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise BadImageError(f"{name}: pixels of 32 bits (mode {image.mode}), their range unknown; save it with 8 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return image.convert("RGB") if image.mode == "P" else image


def _is_16_bit(image: Image.Image) -> bool:
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def orientation(image: Image.Image, all_read: bool = False) -> int:
    """EXIF's number, 1 (upright) to 8; the plain `getexif` of a PNG would read all pixels to look behind them."""
    try:
        exif = image.getexif() if all_read else Image.Image.getexif(image)
        turn = exif.get(ExifTags.Base.Orientation, 1)
    except _BAD_FILE:
        return 1
    return turn if turn in range(1, 9) else 1


@contextmanager
def _file(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except OSError as cause:
        reason = "a link to nothing" if path.is_symlink() and not path.exists() else cause.strerror
        raise BadImageError(f"{path}: cannot be opened ({reason}); wanted an image file") from cause
    with file:
        yield file


@contextmanager
def opened(file: IO[bytes], name: str) -> Iterator[Image.Image]:
    """The opened picture, its size checked; whatever Pillow raises inside becomes one line that names the file."""
    with _quiet:
        try:
            with Image.open(file, formats=_readable()) as image:
                if image.format == "TIFF" and _is_preview(image, name):
                    raise BadImageError(f"{name}: {what_is_wrong(b'II*', 'x.dng', ())}")
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise BadImageError(_too_large(name, f"{width} x {height} px"))
                yield image
        except BadImageError:
            raise
        except Image.DecompressionBombError as cause:
            raise BadImageError(_too_large(name, "a huge size in its header")) from cause
        except UnidentifiedImageError as cause:
            raise BadImageError(_no_image(file, name)) from cause
        except _BAD_FILE as cause:
            reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
            raise BadImageError(f"{name}: damaged or cut short ({reason}); replace or remove the file") from cause


def _is_preview(image: Image.Image, name: str) -> bool:
    """Whether a TIFF is a camera's raw file, of which only a small preview could be read."""
    tags = getattr(image, "tag_v2", {})
    return Path(name).suffix.lower() in RAW or _DNG_VERSION in tags or (_SUB_IFDS in tags and tags.get(_SUBFILE) == 1)


def _too_large(name: str, size: str) -> str:
    return f"{name}: {size}, wanted at most {MAX_PIXELS:,} pixels; save it smaller or remove the file"


def _no_image(file: IO[bytes], name: str) -> str:
    file.seek(0)
    return f"{name}: {what_is_wrong(file.read(256), name, _readable())}"


@cache
def _readable() -> tuple[str, ...]:
    Image.init()
    if find_spec("pillow_heif") is not None:
        import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


class _Quiet:
    """No warning of Pillow's while any thread is inside: `catch_warnings` by itself is undone in the wrong order."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


_quiet = _Quiet()
