"""Which images two sets have in common: the digests (picture_digest.py) of all pictures of a set.

A pack keeps the digests of the pictures that it was made of.
"""

from collections.abc import Iterator
from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray

from deepres.data.alike import LEAST_SIDE, NOTHING, SIDE, Thumbnails, thumbnail, thumbnails
from deepres.data.decode import BadImageError, decode_bytes, read_bytes
from deepres.data.images import Images
from deepres.data.loading.fetch import by_threads
from deepres.data.loading.workers import num_cores
from deepres.data.picture_digest import UNREAD, Digested, of_bytes, of_pixels

Digests = NDArray[np.uint64]

SECONDS = 60.0
"""After so long no more pictures are decoded for `looked_at`; those that were are spread evenly over the set."""
_TOGETHER = 64  # images that one thread digests in one go
_AT_ONCE = 1024  # arrays whose channels are compared in one go


def digests(images: Images, kind: Digested | None = None) -> Digests:
    """(N,) of the images, in their order; files are read, and for "pixels" decoded, by as many threads as cores.

    `kind` None: as they are `digested`. Bytes of arrays there are none.
    """
    kind = kind or images.digested
    assert kind in ("pixels", images.digested)
    if images.pixels is not None:
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
    began, kind = monotonic(), images.digested
    if images.pixels is not None:
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


def _digest(images: Images, index: int, kind: Digested) -> int:
    try:
        return images.digest(index) if kind == images.digested else of_pixels(images.image(index)[None])[0]
    except (BadImageError, OSError):
        return UNREAD


def _looked_at(images: Images, index: int, kind: Digested) -> tuple[int, bytes]:
    """Digest and thumbnail of one picture that is no array."""
    if not images.paths:
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
