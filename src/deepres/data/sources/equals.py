"""Which images of a set are equal: of one name, of equal bytes or pixels, or of one group of a table."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from deepres.data.digests import digests
from deepres.data.images import Images
from deepres.data.picture_digest import UNREAD


def equal_images(images: Images, names: Sequence[str], named: Sequence[str] | None = None) -> list[list[int]]:
    """The indices of all images, equal ones together: by name, by what they hold (`digests.py`), or of one group."""
    first: dict[object, int] = {}
    leader = list(range(len(images)))

    def led(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    held = _held(images)
    for index, name in enumerate(names):
        keys: list[object] = [("name", name)] + ([held[index]] if index in held else [])
        keys += [] if named is None else [("group", named[index])]
        for key in keys:
            one, other = sorted((led(index), led(first.setdefault(key, index))))
            leader[other] = one
    groups: dict[int, list[int]] = {}
    for index in range(len(images)):
        groups.setdefault(led(index), []).append(index)
    return list(groups.values())


def _held(images: Images) -> dict[int, int]:
    """Digests by index, of those that may have an equal: a file whose size no other has is not read."""
    asked = list(range(len(images)))
    if images.paths:
        of_size: dict[int, list[int]] = defaultdict(list)
        for index, path in enumerate(images.paths):
            if path.is_file():
                of_size[path.stat().st_size].append(index)
        asked = sorted(index for same in of_size.values() if len(same) > 1 for index in same)
    found = digests(images.select(asked)) if asked else np.empty(0, np.uint64)
    return {index: int(one) for index, one in zip(asked, found.tolist(), strict=True) if one != UNREAD}
