"""64 bits of what one picture holds, wherever it lies and whatever it is called.

*bytes*: of a file, or of a file within a shard; *pixels*: of an array, its size and its levels, one channel where all
three are equal. 0 stands for what cannot be read, and is equal to nothing. Two different pictures share a digest once
in 2^64 pairs.
"""

from hashlib import sha256
from typing import Any, Literal

from torch import Tensor

Digested = Literal["bytes", "pixels"]
"""What the digest of a picture is of."""

UNREAD = 0


def of_bytes(content: Any) -> int:
    """The digest of a file's content; of an empty one `UNREAD`."""
    return int.from_bytes(sha256(content).digest()[:8], "big") if len(content) else UNREAD


def of_pixels(pixels: Tensor) -> list[int]:
    """The digests of uint8 (N, C, H, W)."""
    levels = pixels.contiguous().numpy()
    grey = (levels == levels[:, :1]).all(axis=(1, 2, 3))
    _, channels, height, width = levels.shape
    heads = {count: repr((count, height, width)).encode() for count in (1, channels)}
    found = []
    for picture, is_grey in zip(levels, grey.tolist(), strict=True):
        kept = picture[:1] if is_grey else picture
        state = sha256(heads[len(kept)])
        state.update(kept.data)
        found.append(int.from_bytes(state.digest()[:8], "big"))
    return found
