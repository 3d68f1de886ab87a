"""Boxes that were found and boxes that are there, of many pictures, as flat columns of one row a box.

Corners are (x1, y1, x2, y2), half open, in px of the upright picture; classes count from 0, without a background.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from deepres.data.boxes import BoxTargets
from deepres.data.run_lengths import of_bitmap
from deepres.tasks.detection.mask_column import MaskColumn


@dataclass(frozen=True, eq=False)
class _Columns:
    """Columns of M rows, one of them `image`: which picture a row belongs to; `masks` where there are any."""

    image: Tensor
    masks: MaskColumn | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Self:
        """The columns on the CPU, each in its own type."""
        known = {name: torch.as_tensor(columns[name]).detach().to("cpu", TYPES[name]) for name in cls.names()}
        return cls(**known, masks=columns.get("masks"))

    @classmethod
    def none(cls) -> Self:
        """Of no box."""
        return cls.of({name: np.zeros((0, 4) if name == "corners" else 0) for name in cls.names()})

    @classmethod
    def together(cls, parts: Sequence[Self]) -> Self:
        """All rows, by picture; of one picture in the order that they are given in."""
        whole = {name: torch.cat([getattr(part, name) for part in (cls.none(), *parts)]) for name in cls.names()}
        order = whole["image"].argsort(stable=True)
        masks = [part.masks for part in parts if part.masks is not None]
        known = masks and all(part.masks is not None or not len(part) for part in parts)
        column = MaskColumn.together(masks)[order] if known else None
        return cls(**{name: column[order] for name, column in whole.items()}, masks=column)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(each.name for each in fields(cls) if each.name != "masks")

    def columns(self) -> dict[str, Tensor]:
        """The columns by name."""
        return {name: getattr(self, name) for name in self.names()}

    def at(self, rows: Tensor) -> Self:
        """These rows, by their places or by True and False."""
        masks = None if self.masks is None else self.masks[rows]
        return type(self)(**{name: column[rows] for name, column in self.columns().items()}, masks=masks)

    def moved(self, images: Tensor) -> Self:
        """The same, picture i being called `images[i]`."""
        return type(self)(**(self.columns() | {"image": images[self.image]}), masks=self.masks)

    def placed(self, indices: Tensor) -> Self:
        """The boxes of the pictures `indices` (sorted, N), which are called by their places there, 0 to N - 1."""
        where = torch.searchsorted(indices, self.image).clamp(max=max(0, len(indices) - 1))
        ours = indices[where] == self.image if len(indices) else torch.zeros(len(self), dtype=torch.bool)
        return type(self)(**(self.columns() | {"image": where}), masks=self.masks).at(ours)

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True, eq=False)
class Detections(_Columns):
    """What was found: `image` int64 (M,), `corners` float64 (M, 4), `classes` int64 (M,), `scores` float64 (M,)."""

    corners: Tensor
    classes: Tensor
    scores: Tensor

    def above(self, score: float) -> "Detections":
        """Those of this score or more."""
        return self.at(self.scores >= score)


@dataclass(frozen=True, eq=False)
class Truth(_Columns):
    """What is there: `image` int64 (G,), `corners` float64 (G, 4), `classes` int64 (G,), `ignored` bool, `areas`.

    To find what is `ignored` (VOC's difficult, COCO's crowd) or not to find it is neither right nor wrong; `areas`
    float64 (G,), in px², say how large an object is: COCO's are those of its outline.
    """

    corners: Tensor
    classes: Tensor
    ignored: Tensor
    areas: Tensor

    @classmethod
    def marked(cls, targets: BoxTargets, sizes: Mapping[int, tuple[int, int]] | None = None) -> "Truth":
        """The boxes of pictures 0, 1, …; with `sizes` (H, W) of pictures their masks, empty where no size is known."""
        names = [name for name in cls.names() if name != "image"]
        masks = None
        if sizes is not None and targets.masks is not None:
            empty, known = of_bitmap(np.zeros((1, 1), bool)), targets.masks
            pictures = enumerate(targets.pictures.tolist())
            masks = MaskColumn(tuple(known.runs(row, sizes[at]) if at in sizes else empty for row, at in pictures))
        return cls.of({"image": targets.pictures, **{name: getattr(targets, name) for name in names}, "masks": masks})


TYPES = {
    "image": torch.int64,
    "corners": torch.float64,
    "classes": torch.int64,
    "scores": torch.float64,
    "ignored": torch.bool,
    "areas": torch.float64,
}
"""Of every column."""


def checked(
    kind: type[_Columns], columns: Mapping[str, Any], images: int | Sequence[int], classes: int | None
) -> dict[str, Any]:
    """The columns, which came from outside, if they can be boxes of these pictures (their number, or their names).

    Raises:
        ValueError: a column is missing, of another kind or length, or a value is none that a box can have.
    """
    found = {name: np.asarray(columns[name]) for name in kind.names()}
    rows = len(found["image"]) if found["image"].ndim else -1
    for name, column in found.items():
        shape, kinds = ((rows, 4), "fiu") if name == "corners" else ((rows,), _KINDS[TYPES[name]])
        if column.shape != shape or column.dtype.kind not in kinds:
            raise ValueError(f"{name} is {column.dtype} {column.shape}, wanted {TYPES[name]} {shape}")
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise ValueError(
                f"{name} of box {int(np.flatnonzero(~np.isfinite(column).reshape(rows, -1).all(1))[0])} is no number"
            )
    known = np.arange(images) if isinstance(images, int) else np.asarray(images, dtype=np.int64)
    _require(np.isin(found["image"], known), found["image"], "is of picture {}, which is not among them")
    of_class = found["classes"]
    _require(
        (of_class >= 0) & (of_class < (2**31 if classes is None else classes)),
        of_class,
        "is of class {}" + (f", there are {classes}" if classes else ""),
    )
    corners = found["corners"]
    ordered = (corners[:, :2] <= corners[:, 2:]).all(1) & (np.abs(corners) < _FAR).all(1)
    _require(ordered, corners, "is {}, wanted x1, y1, x2, y2 in px")
    if "areas" in found:
        _require(found["areas"] >= 0, found["areas"], "has an area of {}")
    return found


_KINDS = {torch.int64: "iu", torch.float64: "fiu", torch.bool: "b"}
_FAR = 1e7  # px: no picture is so wide


def _require(right: Any, values: Any, words: str) -> None:
    if not right.all():
        first = int(np.flatnonzero(~right)[0])
        raise ValueError(f"box {first} {words.format(values[first].tolist())}")
