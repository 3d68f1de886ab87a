"""Bytes -> RGB or grey uint8: orientation, greyscale, CMYK, palettes, transparency; a bad file is named."""

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
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
from deepres.base.files import open_regular
from deepres.data.deep import bits_of, colours_of, has_deep_colours, to_8_bits, values_of
from deepres.data.formats import RAW, what_is_wrong

MAX_PIXELS = 2**27
"""A picture with more pixels (11,585 x 11,585; 384 MiB of RGB) is refused from its header."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "HEIF")
"""What is read, by content and not by suffix; formats that start another program (EPS) are not among them."""

_SUBFILE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706  # tags of TIFF
_RANGE = (
    "32 bits a pixel, their range unknown; train with the value that is white, --set data.levels=1, or with "
    "data.levels=set, the greatest there is"
)
_ON_ITS_SIDE = (5, 6, 7, 8)
_FLIPPED = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}
"""Axes of (C, H, W) that are flipped to stand upright, by EXIF's number, after height and width have changed places."""
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

    `traits` holds some of: grey, cmyk, 16-bit, 32-bit, palette, transparent, animated, rotated.
    """

    width: int
    height: int
    format: str
    traits: tuple[str, ...]


def decode(path: Path, channels: int = 3, at_least: int | None = None, levels: float | None = None) -> Tensor:
    """The picture in `path`, uint8 (channels, H, W), upright; `channels` is 3 (RGB) or 1 (luma, ITU-R 601).

    Transparent parts show white; more than 8 bits are scaled so that `levels`, and what is above, becomes 255. Without
    it 65,535 does, where there are 16; pictures of 32, whose range is not known, are refused. CMYK is converted without
    a colour profile; of an animation the first frame is taken. An EXIF block that cannot be read counts as none, as it
    does in viewers.
    With `at_least`, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, never with a short side below
    `at_least` px: faster, and not the same pixels as a full decoding followed by a resize.

    Raises:
        BadImageError: the file is missing, empty, truncated, damaged, no image, or has more than MAX_PIXELS.
    """
    with _file(path) as file:
        return _decode(file, str(path), channels, at_least, levels)


def decode_bytes(
    data: bytes, name: str, channels: int = 3, at_least: int | None = None, levels: float | None = None
) -> Tensor:
    """As `decode`, for a file's content; `name` stands in the errors."""
    return _decode(BytesIO(data), name, channels, at_least, levels)


def as_picture(pixels: Tensor) -> Image.Image:
    """uint8 (1 or 3, H, W) -> Pillow's picture of the same pixels, grey or RGB."""
    levels = pixels.cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of the upright picture in px, from the header alone.

    A PNG whose orientation stands behind its pixels is measured as it is stored.
    """
    with _file(path) as file, opened(file, str(path)) as image:
        return upright_size(image)


@contextmanager
def opened_file(path: Path) -> Iterator[tuple[IO[bytes], Image.Image]]:
    """The file, and the picture of which its header alone has been read; errors as in `decode`."""
    with _file(path) as file, opened(file, str(path)) as image:
        yield file, image


def require_levels(image: Image.Image, name: str, levels: float | None) -> None:
    """Refuse an opened picture of which it is not known which value is white."""
    if levels is None and bits_of(image) == 32:
        raise BadImageError(f"{name}: {_RANGE}")


def greatest(paths: Sequence[Path], where: str) -> float:
    """The greatest value that the pictures of more than 8 bits hold, those that cannot be read passed over.

    Raises:
        InputError: none of them has more than 8 bits.
    """
    found = [value for value in map(greatest_of, paths) if value]
    if not found:
        raise InputError(f"{where}: no picture of more than 8 bits, so data.levels=set means nothing; leave it out")
    return max(found)


def greatest_of(path: Path) -> float | None:
    """The greatest value of a picture of more than 8 bits; None: it has 8, or cannot be read."""
    try:
        with _file(path) as file, opened(file, str(path)) as image:
            if bits_of(image) == 8:
                return None
            values = colours_of(image) if has_deep_colours(image) else values_of(image)
            if values is None:
                return float(np.asarray(image).max()) * 256 + 255
            return float(np.nan_to_num(values).max())
    except BadImageError:
        return None


def read_bytes(path: Path) -> bytes:
    """The file as it is; BadImageError where it cannot be opened."""
    with _file(path) as file:
        try:
            return file.read()
        except (MemoryError, OverflowError) as cause:
            raise BadImageError(f"{path}: larger than the memory that is free") from cause


def read_header(path: Path) -> Header:
    """Size, format and traits of the picture in `path`; errors as in `decode`."""
    return header_of(read_bytes(path), str(path))


def header_of(content: bytes, name: str) -> Header:
    """As `read_header`, for a file's content; `name` stands in the errors."""
    with opened(BytesIO(content), name) as image:
        turn = orientation(image)
        width, height = upright_size(image)
        traits = {
            "grey": image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;"),
            "cmyk": image.mode == "CMYK",
            "16-bit": bits_of(image) == 16,
            "32-bit": bits_of(image) == 32,
            "palette": image.mode in ("P", "PA"),
            "transparent": image.has_transparency_data,
            "animated": bool(getattr(image, "is_animated", False)) and image.format != "MPO",
            "rotated": turn != 1,
        }
        return Header(width, height, image.format or "", tuple(name for name, holds in traits.items() if holds))


def _decode(file: IO[bytes], name: str, channels: int, at_least: int | None, levels: float | None) -> Tensor:
    assert channels in (1, 3)
    assert at_least is None or at_least > 0
    with opened(file, name) as image:
        if at_least is not None:
            image.draft(image.mode, (at_least, at_least))
        image = _eight_bits(image, name, levels)
        return _pixels(image, channels, orientation(image, all_read=True))


STRIP = 2**20
"""Pixels that are converted in one call, for whose milliseconds the event loop of a server waits."""


def _pixels(image: Image.Image, channels: int, turn: int) -> Tensor:
    """uint8 (channels, H, W), upright, on white; strip by strip, between which other threads have their turn."""
    width, height = image.size
    aside = turn in _ON_ITS_SIDE
    upright = np.empty((channels, *((width, height) if aside else (height, width))), np.uint8)
    as_stored = np.flip(upright, _FLIPPED.get(turn, ())).transpose((0, 2, 1) if aside else (0, 1, 2))
    for top in range(0, height, rows := max(1, STRIP // width)):
        end = min(top + rows, height)
        strip = _in_mode(image if rows >= height else image.crop((0, top, width, end)), channels)
        as_stored[:, top:end] = np.asarray(strip).reshape(end - top, width, channels).transpose(2, 0, 1)
    return torch.from_numpy(upright)


def finished(image: Image.Image, name: str, channels: int, levels: float | None = None) -> Image.Image:
    """An opened picture with its pixels read, upright, of 8 bits, in mode RGB (3 channels) or L (1)."""
    image = _eight_bits(image, name, levels)
    if orientation(image, all_read=True) != 1:
        image = ImageOps.exif_transpose(image)
    return _in_mode(image, channels)


def _in_mode(image: Image.Image, channels: int) -> Image.Image:
    image, mode = _on_white(image), "RGB" if channels == 3 else "L"
    return image if image.mode == mode else image.convert(mode)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) in px of an opened picture once it is turned upright."""
    width, height = image.size
    return (height, width) if orientation(image) in _ON_ITS_SIDE else (width, height)


def _eight_bits(image: Image.Image, name: str, levels: float | None) -> Image.Image:
    """The picture with its pixels read, those of more than 8 bits made 8."""
    bits = bits_of(image)
    if bits == 8 or (levels is None and has_deep_colours(image)):  # Pillow takes the upper 8 bits of 16
        image.load()
        return image
    require_levels(image, name, levels)
    values = colours_of(image) if has_deep_colours(image) else values_of(image)
    turn = orientation(image, all_read=True)
    if values is None:
        raise BadImageError(
            f"{name}: colours of 16 bits, of which {image.format} gives the upper 8; save it with 8 bits"
        )
    if not np.isfinite(values).all():
        raise BadImageError(f"{name}: holds values that are no numbers; mend or remove it")
    grey = to_8_bits(values, levels or 65535)
    clear = image.info.get("transparency")
    shrunk = Image.fromarray(np.where(values == clear, 255, grey).astype(np.uint8) if values.ndim == 2 else grey)
    shrunk.getexif()[ExifTags.Base.Orientation] = turn
    return shrunk


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return image.convert("RGB") if image.mode == "P" else image


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
        file = open_regular(path)
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
