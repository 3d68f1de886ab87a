"""Which images two sets have in common: 64 bits of what each picture holds, wherever it lies and whatever it is called.

*bytes*: of a file, or of a file within a shard; *pixels*: of an array, its size and its levels, one channel where all
three are equal. A pack keeps the digests of the pictures that it was made of. 0 stands for what cannot be read, and is
equal to nothing. Two different pictures share a digest once in 2^64 pairs.
"""

from collections.abc import Iterator
from hashlib import sha256
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepres.data.alike import LEAST_SIDE, NOTHING, SIDE, Thumbnails, thumbnail, thumbnails
from deepres.data.decode import BadImageError, decode_bytes, read_bytes
from deepres.data.images import ArrayImages, Digested, FileImages, Images, StoredImages
from deepres.data.loading.fetch import by_threads
from deepres.data.loading.workers import num_cores

Digests = NDArray[np.uint64]

UNREAD = 0
SECONDS = 60.0
"""After so long no more pictures are decoded for `looked_at`; those that were are spread evenly over the set."""
_TOGETHER = 64  # images that one thread digests in one go
_AT_ONCE = 1024  # arrays whose channels are compared in one go


def kind_of(images: Images) -> Digested:
    """What is digested where nothing is asked for: bytes where the pictures are, or were, files."""
    if isinstance(images, StoredImages):
        return images.store.digested
    return "pixels" if isinstance(images, ArrayImages) else "bytes"


def digests(images: Images, kind: Digested | None = None) -> Digests:
    """(N,) of the images, in their order; files are read, and for "pixels" decoded, by as many threads as cores.

    `kind` None: `kind_of` them. Bytes of arrays there are none.
    """
    kind = kind or kind_of(images)
    assert kind == "pixels" or kind_of(images) == "bytes"
    if isinstance(images, ArrayImages):
        chunks = torch.split(images.pixels, _AT_ONCE)
        return np.fromiter((one for chunk in chunks for one in of_pixels(chunk)), np.uint64, len(images))

    def some(start: int) -> list[int]:
        return [_digest(images, index, kind) for index in range(start, min(start + _TOGETHER, len(images)))]

    tasks = ((start,) for start in range(0, len(images), _TOGETHER))
    found: Iterator[list[int]] = by_threads(some, tasks, num_cores(), ahead=4)
    return np.fromiter((one for each in found for one in each), np.uint64, len(images))


def looked_at(images: Images, seconds: float = SECONDS) -> tuple[Digests, Thumbnails]:
    """Digests and thumbnails (alike.py) of the images, each file read once; none of what comes after `seconds`.

    JPEG is decoded no larger than a thumbnail wants it.
    """
    began, kind = monotonic(), kind_of(images)
    if isinstance(images, ArrayImages):
        little = min(images.pixels.shape[-2:]) < LEAST_SIDE
        found = [NOTHING if little or monotonic() - began > seconds else thumbnail(one) for one in images.pixels]
        return digests(images), thumbnails(found)

    def some(start: int) -> list[tuple[int, bytes]]:
        late = monotonic() - began > seconds
        return [
            (_digest(images, index, kind), NOTHING) if late else _looked_at(images, index, kind)
            for index in range(start, len(images), tasks)
        ]

    tasks = max(1, -(-len(images) // _TOGETHER))
    each: list[tuple[int, bytes]] = [(UNREAD, NOTHING)] * len(images)
    for start, answers in enumerate(by_threads(some, ((start,) for start in range(tasks)), num_cores(), ahead=4)):
        each[start::tasks] = answers
    return np.fromiter((one for one, _ in each), np.uint64, len(images)), thumbnails([one for _, one in each])


def in_common(one: Digests, others: Digests) -> int:
    """How many of `one` stand among `others`."""
    return int((np.isin(one, others) & (one != UNREAD)).sum())


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


def _digest(images: Images, index: int, kind: Digested) -> int:
    try:
        if kind == "pixels":
            return of_pixels(images.image(index)[None])[0]
        if isinstance(images, StoredImages):
            return images.store.digest(int(images.numbers[index]))
        assert isinstance(images, FileImages)
        return of_bytes(read_bytes(images.paths[index]))
    except (BadImageError, OSError):
        return UNREAD


def _looked_at(images: Images, index: int, kind: Digested) -> tuple[int, bytes]:
    """Digest and thumbnail of one picture that is no array."""
    if not isinstance(images, FileImages):
        try:
            return _digest(images, index, kind), thumbnail(images.image(index))
        except BadImageError:
            return _digest(images, index, kind), NOTHING
    try:
        content = read_bytes(images.paths[index])
        found = of_bytes(content)
    except (BadImageError, OSError):
        return UNREAD, NOTHING
    try:
        return found, thumbnail(decode_bytes(content, images.name(index), 1, 2 * SIDE, images.levels))
    except BadImageError:
        return found, NOTHING
