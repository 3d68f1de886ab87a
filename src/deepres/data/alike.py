"""Whether two pictures are the same in another size or encoding: their 9 x 8 thumbnails, and what these say.

Alike are thumbnails whose difference hashes (64 bits: is a pixel brighter than its left neighbour?) differ in at most
HASH_BITS, and their levels in at most GREY_LEVELS on average; not those of a picture cut or turned. Thresholds: ours.
"""

import numpy as np
from PIL import Image
from torch import Tensor

HASH_BITS = 8
GREY_LEVELS = 8.0
PLAIN = 16
"""A picture whose thumbnail spans fewer grey levels is too plain to be compared."""


def thumbnail(pixels: Tensor) -> bytes:
    """uint8 (C, H, W) -> 8 rows of 9 grey levels."""
    levels = pixels.permute(1, 2, 0).numpy()
    picture = Image.fromarray(levels if levels.shape[2] == 3 else levels[:, :, 0]).convert("L")
    return picture.resize((9, 8), Image.Resampling.BOX).tobytes()


def same_picture(one: Tensor, other: Tensor) -> bool:
    """Whether the two, uint8 (C, H, W) of any size, are alike."""
    left, right = (np.frombuffer(thumbnail(each), np.uint8).reshape(8, 9).astype(np.int16) for each in (one, other))
    if min(np.ptp(left), np.ptp(right)) < PLAIN:
        return False
    bits = int(((left[:, 1:] > left[:, :-1]) != (right[:, 1:] > right[:, :-1])).sum())
    return bits <= HASH_BITS and float(np.abs(left - right).mean()) <= GREY_LEVELS
