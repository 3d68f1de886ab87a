import struct
import time
import zlib
from io import BytesIO

import pytest
from PIL import Image

from deepres.data.transforms.config import Preparation
from deepres.serve.pixels import require_few, require_no_strip
from deepres.serve.refusal import RefusedError

CROP = Preparation(fit="crop", resize=256, crop=224)
MOST = 50_000_000


def _png(width: int, height: int) -> bytes:
    """A PNG whose header says so much, and that holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def _gif(frames: int, side: int) -> bytes:
    one = BytesIO()
    Image.new("P", (side, side)).save(one, "GIF")
    data = one.getvalue()
    at = data.index(b"\x2c", 13)
    return data[:at] + data[at:-1] * frames + b"\x3b"


def _tiff(pages: int, side: int, order: str = "<") -> bytes:
    """Directories alone, of the same strip."""
    tags = [
        (256, 4, 1, side),
        (257, 4, 1, side),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (279, 4, 1, 1),
    ]
    packed = [struct.pack(order + ("I" if kind == 4 else "H"), value).ljust(4, b"\0") for _, kind, _, value in tags]
    entries = b"".join(struct.pack(order + "HHI", *tag[:3]) + value for tag, value in zip(tags, packed, strict=True))
    one = struct.pack(order + "H", len(tags)) + entries
    size = len(one) + 4
    nexts = [8 + page * size for page in range(1, pages)] + [0]
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    out += b"".join(one + struct.pack(order + "I", after) for after in nexts)
    return out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_png(30_000, 30_000), r"x: 900,000,000 pixels; the limit \(--max-pixels\) is 50,000,000; send it smaller"),
        (_png(10_000, 10_000), "x: 10,000 x 10,000 px, 100,000,000 pixels; the limit"),
        (_png(2_000_000_000, 1), "pixels; the limit"),
        (_gif(10_000, 100), "x: 5,001 frames or more of 100 x 100 px"),
        (_tiff(10_000, 100), "x: 5,001 frames or more of 100 x 100 px"),
        (_tiff(10_000, 100, ">"), "x: 5,001 frames or more of 100 x 100 px"),
        (_png(1, 60_000), "a strip of 1 x 60,000 px, 3,932,160,000 pixels once its short side has 256; the limit"),
        (b"", r"empty \(0 bytes\)"),
        (b"<html>", "a web page"),
    ],
    ids=["png", "png-below-pillows", "png-line", "gif", "tiff", "tiff-big-endian", "strip", "empty", "page"],
)
def test_too_much_is_refused_by_its_header_at_once(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError, match=message) as refused:
        require_few(data, "x", CROP, MOST)
    assert refused.value.status == 422
    best = min(_seconds(data) for _ in range(2))
    assert best < 0.05


def _seconds(data: bytes) -> float:
    began = time.process_time()  # the machine may be anybody's
    with pytest.raises(RefusedError):
        require_few(data, "x", CROP, MOST)
    return time.process_time() - began


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (_png(600, 400), 240_000),
        (_gif(100, 50), 250_000),
        (_tiff(20, 50), 50_000),
        (_gif(10_000, 1), 10_000),
    ],
    ids=["png", "gif", "tiff", "gif-of-dots"],
)
def test_what_is_within_the_limits_is_counted(data: bytes, pixels: int) -> None:
    assert require_few(data, "x", CROP, MOST) == pixels


def test_a_chain_of_pages_that_bites_its_tail_ends() -> None:
    data = bytearray(_tiff(3, 1))
    data[-4:] = struct.pack("<I", 8)
    assert require_few(bytes(data), "x", CROP, MOST) == 3


def test_pixels_without_a_file_are_no_strip_either() -> None:
    with pytest.raises(RefusedError, match="x: a strip of 60,000 x 1 px, 3,932,160,000 pixels once its short side has"):
        require_no_strip(60_000, 1, "x", CROP, MOST)
    require_no_strip(60_000, 400, "x", CROP, MOST)
