"""Pictures that stand in two splits of a source: the same file, or the same picture by alike.py.

Of each image of val and test the nearest of train is taken; of test, where train has none, the nearest of val.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, Field

from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.data.alike import Thumbnails, nearest
from deepres.data.digests import Digests
from deepres.data.images import Images
from deepres.data.picture_digest import UNREAD
from deepres.data.sources.splits import Split
from deepres.data.targets import form_of

FILE = "doubles.json"


class ImageRef(Record):
    """An image: its split, its place there, its name and class."""

    split: Annotated[Split, Field(validation_alias=AliasChoices("split", "part"))]  # "part": in runs that began before
    index: int
    name: str
    class_name: str


class Double(Record):
    """`one` is of the earlier split, mostly train; `distance` as in alike.py; `equal`: files, or pixels, bit by bit."""

    one: ImageRef
    other: ImageRef
    distance: float
    equal: bool

    @property
    def conflicting(self) -> bool:
        """Whether their classes differ."""
        return self.one.class_name != self.other.class_name


class Doubles(Record):
    """All pairs, those of different classes first, then by distance; how many of how many images were compared."""

    pairs: tuple[Double, ...] = ()
    num_compared: int
    num_images: int
    within: tuple[Double, ...] = ()  # equal pictures of one split, of different classes: the first and each other

    def places(self, split: str) -> list[int]:
        """Which images of `split` stand in an earlier split too."""
        return [pair.other.index for pair in self.pairs if pair.other.split == split]

    def sentence(self, sizes: Mapping[Split, int]) -> str:
        """`12 of 576 images of test stand in train too, the same picture or nearly`; "" where none does."""
        told = []
        for split, size in sizes.items():
            ones = {pair.one.split for pair in self.pairs if pair.other.split == split}
            if ones:
                where = " and ".join(sorted(ones))
                verb = "stands" if len(self.places(split)) == 1 else "stand"
                told.append(f"{len(self.places(split)):,} of {counted(size, 'image')} of {split} {verb} in {where} too")
        return f"{'; '.join(told)}: the same picture, or nearly" if told else ""

    def contradiction(self) -> str:
        """`cat/1.jpg (cat) and dog/7.jpg (dog) are one picture, and 3 more are so`; "" where none is."""
        if not self.within:
            return ""
        first, more = self.within[0], len(self.within) - 1
        called = [f"{each.name} ({each.class_name})" for each in (first.one, first.other)]
        again = f", and {counted(more, 'more has another class too', 'more have other classes too')}" if more else ""
        return f"{' and '.join(called)} of {first.one.split} are one picture{again}: a label is wrong"


def doubles(splits: Mapping[Split, Images], seen: Mapping[Split, tuple[Digests, Thumbnails]]) -> Doubles:
    """The pairs among the splits' images; `seen` are their digests and thumbnails (digests.py, alike.py)."""
    found: dict[tuple[Split, int], Double] = {}
    for one, other in combinations(splits, 2):
        index, distance, equal = _nearest(seen[one], seen[other])
        for place in np.flatnonzero(index >= 0).tolist():
            if (other, place) not in found:
                pair = (_place(splits, one, int(index[place])), _place(splits, other, place))
                apart = round(float(distance[place]), 4)
                found[other, place] = Double(one=pair[0], other=pair[1], distance=apart, equal=bool(equal[place]))
    pairs = sorted(
        found.values(), key=lambda pair: (not pair.conflicting, not pair.equal, pair.distance, pair.other.name)
    )
    compared = sum(int(thumbnails.any(axis=(1, 2)).sum()) for _, thumbnails in seen.values())
    within = [pair for split in splits for pair in _contradicting(splits, split, seen[split][0])]
    num_images = sum(map(len, splits.values()))
    return Doubles(pairs=tuple(pairs), num_compared=compared, num_images=num_images, within=tuple(within))


def _contradicting(splits: Mapping[Split, Images], split: Split, digests: Digests) -> list[Double]:
    """Equal pictures of one split whose labels are different classes."""
    targets = splits[split].targets
    if form_of(targets).name not in ("class", "classes"):
        return []
    _, group, sizes = np.unique(digests, return_inverse=True, return_counts=True)
    groups: dict[int, list[ImageRef]] = {}
    for index in np.flatnonzero((sizes[group] > 1) & (digests != UNREAD)).tolist():
        groups.setdefault(int(group[index]), []).append(_place(splits, split, index))
    pairs = [(same[0], other) for same in groups.values() for other in same[1:]]
    return [
        Double(one=one, other=other, distance=0, equal=True)
        for one, other in pairs
        if one.class_name != other.class_name
    ]


def _nearest(
    one: tuple[Digests, Thumbnails], other: tuple[Digests, Thumbnails]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """Of each of `other` the nearest of `one`, its distance, whether both are equal."""
    index, distance = nearest(one[1], other[1])
    values, first = np.unique(one[0], return_index=True)
    at = np.searchsorted(values, other[0]).clip(max=max(0, len(values) - 1))
    equal = (values[at] == other[0]) & (other[0] != UNREAD) if len(values) else np.zeros(len(other[0]), bool)
    index[equal], distance[equal] = first[at[equal]], 0
    return index, distance, equal


def _place(splits: Mapping[Split, Images], split: Split, index: int) -> ImageRef:
    images = splits[split]
    return ImageRef(
        split=split,
        index=index,
        name=images.name(index),
        class_name=form_of(images.targets).words(images.targets[index], images.classes),
    )
