"""How many pixels a picture has, by its header alone, frames and what it is resized to included."""

import re
import struct
from io import BytesIO

from PIL import Image

from deepres.data.decode import BadImageError, opened, upright_size
from deepres.data.transforms.config import Preparation
from deepres.serve.refusal import RefusedError

_ONE_OF_MANY = ("MPO", "JPEG")
"""What stands behind the first picture of these is no animation, and is never read."""


def require_few(data: bytes, name: str, preparation: Preparation, most: int) -> int:
    """The pixels of a file's picture, all frames counted.

    Raises:
        RefusedError: 422, no picture, or more pixels than `most`: in its frames, or once its short side is resized.
    """
    try:
        with opened(BytesIO(data), name) as image:
            width, height = upright_size(image)
            frames = 1 if image.format in _ONE_OF_MANY else _frames(image, data, most // (width * height))
    except BadImageError as cause:
        if isinstance(cause.__cause__, Image.DecompressionBombError):
            found = re.search(r"(\d+) pixels", str(cause.__cause__))
            raise _too_many(name, f"{int(found[1]):,} pixels" if found else "too many pixels", most) from cause
        raise RefusedError(422, cause.message) from cause
    pixels = width * height * frames
    if pixels > most:
        told = f"{frames:,} frames or more of " if frames > 1 else ""
        raise _too_many(name, f"{told}{width:,} x {height:,} px, {pixels:,} pixels", most)
    require_no_strip(width, height, name, preparation, most)
    return pixels


def require_no_strip(width: int, height: int, name: str, preparation: Preparation, most: int) -> None:
    """Refuse a picture that has more pixels than `most` once its short side is resized: RefusedError, 422."""
    if preparation.fit == "crop" and preparation.resize is not None:
        resized = preparation.resize**2 * max(width, height) // min(width, height)
        if resized > most:
            told = (
                f"a strip of {width:,} x {height:,} px, {resized:,} pixels once its short side has {preparation.resize}"
            )
            raise _too_many(name, told, most)


def _too_many(name: str, given: str, most: int) -> RefusedError:
    return RefusedError(422, f"{name}: {given}; the limit (--max-pixels) is {most:,}; send it smaller, or cut")


def _frames(image: Image.Image, data: bytes, most: int) -> int:
    """How many frames there are, counted no further than one more than `most`."""
    try:
        if image.format == "GIF":
            return max(1, _frames_of_gif(data, most))
        if image.format == "TIFF":
            return max(1, _pages_of_tiff(data, most))
    except (IndexError, struct.error):  # cut short: decoding tells
        return 1
    return int(getattr(image, "n_frames", 1))


def _frames_of_gif(data: bytes, most: int) -> int:
    """Image descriptors, by walking over the blocks."""

    def table(flags: int) -> int:
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    at, frames = 13 + table(data[10]), 0
    while frames <= most and data[at] in (0x21, 0x2C):
        if data[at] == 0x2C:
            frames += 1
            at += 11 + table(data[at + 9])
        else:
            at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
        if at >= len(data):
            break
    return frames


def _pages_of_tiff(data: bytes, most: int) -> int:
    """Directories, by walking along their chain."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    number, offset, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    count, place = struct.Struct(order + number), struct.Struct(order + offset)
    entries_of, place_of, head = count.unpack_from, place.unpack_from, count.size
    (at,) = place_of(data, 8 if big else 4)
    seen = set[int]()
    while at and at not in seen and len(seen) <= most:
        seen.add(at)
        (at,) = place_of(data, at + head + entries_of(data, at)[0] * entry)
    return len(seen)
