"""Boxes of objects: those of one picture, and those of many as one target that a batch can be cut from.

A box is (x1, y1, x2, y2), half open, in px of the upright picture: one of a single pixel is (x, y, x + 1, y + 1).
Classes count from 0 and have no background among them. K boxes, N pictures, M boxes of all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import torch
from torch import Tensor

from deepres.data.forms import FormName
from deepres.data.masks import Masks
from deepres.data.on_device import require_float64

if TYPE_CHECKING:
    from deepres.data.transforms.geometry import Geometry

LEAST_SIDE = 1.0
"""A box that a change of the picture leaves a side of less, in px, is ignored."""

NO_FILE, LEFT_OUT, CLIPPED = range(3)
"""Columns of `BoxTargets.remarks`: whether no file of labels was there, boxes left out, boxes that were clipped."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of one picture: `corners` float32 (K, 4), `classes` int64 (K,), `ignored` bool (K,), `areas` (K,).

    What is `ignored` (VOC's difficult, COCO's crowd) is neither learnt nor counted as missed or false. `areas` float64
    in px^2: what the source says (of COCO the area of the outline), else width x height. `masks` are those of the
    objects, where the source has them.
    """

    corners: Tensor
    classes: Tensor
    ignored: Tensor
    areas: Tensor
    masks: Masks | None = None

    def __post_init__(self) -> None:
        number = len(self.classes)
        assert self.corners.shape == (number, 4)
        assert self.corners.dtype == torch.float32
        assert self.classes.dtype == torch.int64
        assert self.ignored.shape == (number,)
        assert self.ignored.dtype == torch.bool
        assert self.areas.shape == (number,)
        assert self.areas.dtype == torch.float64
        assert self.masks is None or len(self.masks) == number

    @classmethod
    def of(
        cls,
        corners: Any,
        classes: Any,
        ignored: Any = None,
        areas: Any = None,
        masks: Masks | None = None,
    ) -> "Boxes":
        """From rows of numbers; none ignored and areas of width x height where nothing is said."""
        rows = torch.as_tensor(corners, dtype=torch.float64).reshape(-1, 4)
        if areas is None:
            areas = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
        return cls(
            rows.float(),
            torch.as_tensor(classes, dtype=torch.int64).reshape(-1),
            torch.zeros(len(rows), dtype=torch.bool) if ignored is None else torch.as_tensor(ignored, dtype=torch.bool),
            torch.as_tensor(areas, dtype=torch.float64).reshape(-1),
            masks,
        )

    def __getitem__(self, places: Any) -> "Boxes":
        """Those at these places (int64, bool or a slice)."""
        masks = None if self.masks is None else self.masks[places]
        return Boxes(self.corners[places], self.classes[places], self.ignored[places], self.areas[places], masks)

    def to(self, device: Any) -> "Boxes":
        """The boxes on that device; masks stay on the CPU.

        Raises:
            InputError: it has no float64.
        """
        require_float64(torch.device(device))
        corners, classes, ignored, areas = (
            each.to(device) for each in (self.corners, self.classes, self.ignored, self.areas)
        )
        return Boxes(corners, classes, ignored, areas, self.masks)

    def __len__(self) -> int:
        return len(self.classes)

    def moved(self, matrix: Tensor, size: tuple[int, int]) -> "Boxes":
        """As `BoxTargets.moved`, of one picture: `matrix` (2, 3), `size` (H, W)."""
        return BoxTargets.of([self]).moved(matrix[None], torch.tensor([size]))[0]


class Placed(NamedTuple):
    """Where pictures went in a batch, and what may be drawn of each.

    `matrices` float64 (N, 2, 3) and `sizes` int64 (N, 2) of (H, W) as in `Geometry`, `seeds` int64 (N,).
    """

    matrices: Tensor
    sizes: Tensor
    seeds: Tensor

    def at(self, places: Tensor) -> "Placed":
        return Placed(self.matrices[places], self.sizes[places], self.seeds[places])


@dataclass(frozen=True, eq=False)
class BoxTargets:
    """The boxes of N pictures, one picture's after the other's: those of i are `starts[i]` to `starts[i + 1]`.

    `corners` float32 (M, 4), `classes` int64 (M,), `ignored` bool (M,), `areas` float64 (M,) as in `Boxes`; `starts`
    int64 (N + 1,), `ids` int64 (N,) (what a COCO source calls its pictures, else the place in the source) and `remarks`
    int64 (N, 3) (NO_FILE, LEFT_OUT, CLIPPED) stay on the CPU, as does `where`: of a batch, what became of its pictures.
    `class_ids` are what a COCO source calls its classes; none: it has no such numbers. `masks` are those of all M
    objects, None where the source has none.
    """

    corners: Tensor
    classes: Tensor
    ignored: Tensor
    areas: Tensor
    starts: Tensor
    ids: Tensor
    remarks: Tensor
    where: Placed | None = None
    class_ids: tuple[int, ...] = ()
    masks: Masks | None = None

    def __post_init__(self) -> None:
        assert self.masks is None or len(self.masks) == len(self.corners)
        assert len(self.starts) == len(self.ids) + 1 == len(self.remarks) + 1
        assert len(self.corners) == len(self.classes) == len(self.ignored) == len(self.areas) == int(self.starts[-1])

    @classmethod
    def of(
        cls, pictures: Sequence[Boxes], ids: Sequence[int] | None = None, remarks: Sequence[Sequence[int]] | None = None
    ) -> "BoxTargets":
        """The targets of pictures with these boxes."""
        starts = torch.tensor([0, *(len(boxes) for boxes in pictures)]).cumsum(0)
        number = len(pictures)
        every = pictures or [Boxes.of([], [])]
        masks = [boxes.masks for boxes in every if boxes.masks is not None]
        assert not masks or all(boxes.masks is not None or not len(boxes) for boxes in every)
        return cls(
            torch.cat([boxes.corners for boxes in every]),
            torch.cat([boxes.classes for boxes in every]),
            torch.cat([boxes.ignored for boxes in every]),
            torch.cat([boxes.areas for boxes in every]),
            starts,
            torch.arange(number) if ids is None else torch.as_tensor(ids, dtype=torch.int64),
            torch.zeros(number, 3, dtype=torch.int64)
            if remarks is None
            else torch.as_tensor(remarks, dtype=torch.int64).reshape(number, 3),
            masks=Masks.together(masks) if masks else None,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Boxes]:
        return (self[place] for place in range(len(self)))

    @overload
    def __getitem__(self, places: int) -> Boxes: ...

    @overload
    def __getitem__(self, places: Tensor | slice | Sequence[int]) -> "BoxTargets": ...

    def __getitem__(self, places: Any) -> "Boxes | BoxTargets":
        """The boxes of one picture, or the targets of those at these places."""
        if isinstance(places, Tensor) and places.dim() == 0 and places.dtype == torch.int64:
            places = int(places)
        if isinstance(places, int):
            if not -len(self) <= places < len(self):
                raise IndexError(places)
            own = slice(int(self.starts[places % len(self)]), int(self.starts[places % len(self) + 1]))
            masks = None if self.masks is None else self.masks[own]
            return Boxes(self.corners[own], self.classes[own], self.ignored[own], self.areas[own], masks)
        chosen = torch.arange(len(self))[places.cpu() if isinstance(places, Tensor) else places]
        counts = self.counts[chosen]
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
        rows = torch.arange(int(starts[-1])) - starts[:-1].repeat_interleave(counts)
        rows = (rows + self.starts[chosen].repeat_interleave(counts)).to(self.corners.device)
        return BoxTargets(
            self.corners[rows],
            self.classes[rows],
            self.ignored[rows],
            self.areas[rows],
            starts,
            self.ids[chosen],
            self.remarks[chosen],
            None if self.where is None else self.where.at(chosen),
            self.class_ids,
            None if self.masks is None else self.masks[rows],
        )

    def joined(self, other: "BoxTargets") -> "BoxTargets":
        """These and then those; masks are kept where all have them."""
        both = [each.masks for each in (self, other) if each.masks is not None]
        known = all(each.masks is not None or not len(each.corners) for each in (self, other))
        return BoxTargets(
            torch.cat([self.corners, other.corners]),
            torch.cat([self.classes, other.classes]),
            torch.cat([self.ignored, other.ignored]),
            torch.cat([self.areas, other.areas]),
            torch.cat([self.starts, other.starts[1:] + self.starts[-1]]),
            torch.cat([self.ids, other.ids]),
            torch.cat([self.remarks, other.remarks]),
            class_ids=self.class_ids,
            masks=Masks.together(both) if both and known else None,
        )

    @property
    def form(self) -> FormName:
        return "boxes"

    @property
    def counts(self) -> Tensor:
        """How many boxes each picture has, int64 (N,)."""
        return self.starts.diff()

    @property
    def pictures(self) -> Tensor:
        """The place of the picture that each box is of, int64 (M,)."""
        return torch.arange(len(self)).repeat_interleave(self.counts)

    def to(self, device: Any) -> "BoxTargets":
        """The boxes on that device; what is told of pictures stays.

        Raises:
            InputError: it has no float64.
        """
        require_float64(torch.device(device))
        return replace(
            self,
            corners=self.corners.to(device),
            classes=self.classes.to(device),
            ignored=self.ignored.to(device),
            areas=self.areas.to(device),
        )

    def tolist(self) -> list[list[tuple[int, bool, list[float]]]]:
        """Class, whether it is ignored, and corners of each box of each picture."""
        rows = list(zip(self.classes.tolist(), self.ignored.tolist(), self.corners.tolist(), strict=True))
        return [
            rows[start:stop] for start, stop in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True)
        ]

    def renumbered(self, numbers: Tensor) -> "BoxTargets":
        """Class c becomes `numbers[c]`."""
        return replace(self, classes=numbers.to(self.classes.device)[self.classes], class_ids=())

    def placed(self, geometry: "Geometry", seeds: Tensor) -> "BoxTargets":
        """`moved` as the pictures of a batch were, `where` telling how; `seeds` int64 (N,)."""
        where = Placed(geometry.matrices, geometry.own_sizes, seeds)
        return replace(self.moved(where.matrices, where.sizes), where=where)

    def moved(self, matrices: Tensor, sizes: Tensor) -> "BoxTargets":
        """As the pictures move: (x', y') = M (x, y, 1) with `matrices` (N, 2, 3), clipped to `sizes` (N, 2) of (H, W).

        The maps keep axes (resize, mirror, crop, pad). A side below LEAST_SIDE px makes a box ignored; none is left
        out, and none is ever turned inside out. Areas change as the maps say; masks move along.
        """
        device, number = self.corners.device, self.counts
        maps = matrices.double().cpu().repeat_interleave(number, 0).to(device)
        ends = sizes.flip(-1).double().cpu().expand(len(self), 2).repeat_interleave(number, 0).to(device)
        corners = self.corners.double().reshape(-1, 2, 2)
        points = torch.einsum("mij,mpj->mpi", maps[:, :, :2], corners) + maps[:, None, :, 2]
        low, high = points.amin(1).clamp(min=0).minimum(ends), points.amax(1).clamp(min=0).minimum(ends)
        across = torch.linalg.det(maps[:, :, :2]).abs()
        small = (high - low < LEAST_SIDE).any(1)
        return replace(
            self,
            corners=torch.cat([low, high], 1).float(),
            ignored=self.ignored | small,
            areas=self.areas * across,
            masks=None if self.masks is None else self.masks.moved(maps),
        )
