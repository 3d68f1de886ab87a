"""What labels say of masks, beside their boxes: outlines and run lengths, of all objects of a source or of none.

| what is found                                         | what becomes of it                                          |
| ----------------------------------------------------- | ----------------------------------------------------------- |
| a polygon of fewer than 3 points, or without area     | left out and named, or refused (`data.on_bad_box`)          |
| an object that has no other                           | left out with it, as a box without area is                  |
| an object without a mask where others have one        | refused by what it is called; `data.masks=off` reads boxes  |
| a point outside of the picture, by more than 1 px     | refused, as an edge of a box is                             |
| run lengths of another size than the picture's        | refused                                                     |
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.reading import parse_json
from deepres.base.wording import counted
from deepres.data.masks import Masks, MaskShape, area
from deepres.data.run_lengths import RunLengths, read
from deepres.data.sources.config import DataConfig

if TYPE_CHECKING:
    from deepres.data.sources.box_labels import Labelled, Object

WrittenMask = tuple[MaskShape, tuple[str, ...]]
"""A mask as it is written, and what of it is left out, in words."""

MOST = 1e9
"""No coordinate is beyond."""

_LEAST = 1e-9  # of the square of the largest coordinate: what rounding leaves of a line
_SHOWN = 5
_LONGEST = 2**17 - 1  # letters of a cell that the csv module reads


def drawn_coco(given: Any) -> WrittenMask | None:
    """COCO's `segmentation`: polygons, x and y in turn, or run lengths; None where it says nothing.

    Raises:
        ValueError: it is none of them.
    """
    if given is None or given in ([], {}, ""):
        return None
    if isinstance(given, dict):
        return read(given), ()
    if not isinstance(given, list) or not all(isinstance(part, list) for part in given):
        raise ValueError("no list of polygons and no run lengths")
    parts = []
    for number, part in enumerate(given, 1):
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in part):
            raise ValueError(f"polygon {number} has something that is no number")
        if not all(abs(value) <= MOST for value in part):
            raise ValueError(f"polygon {number} has a number that no picture has")
        if len(part) % 2:
            raise ValueError(f"polygon {number} has {counted(len(part), 'number')}, wanted pairs of x and y")
        parts.append(np.array(part, dtype=np.float64).reshape(-1, 2))
    return drawn_polygons(parts)


def coco_of(shape: MaskShape) -> Any:
    """What `drawn_coco` reads back as the same mask."""
    return shape.facts() if isinstance(shape, RunLengths) else [part.reshape(-1).tolist() for part in shape]


def drawn_cell(text: str, where: str) -> WrittenMask | None:
    """The same as JSON in a cell of a table; None where it is empty.

    Raises:
        InputError: it is none, `where` being the cell.
    """
    given = parse_json(text, where) if text else None
    try:
        return drawn_coco(given)
    except ValueError as cause:
        raise InputError(f"{where}: {cause}; wanted polygons or run lengths") from cause


def cells_of(masks: Masks | None, called: str) -> list[str]:
    """The cells that `drawn_cell` reads, of masks that lie as they were written, or were turned or scaled alike.

    Raises:
        InputError: a mask that is longer than a cell can be.
    """
    found = [json.dumps(coco_of(masks.shape(place))) for place in range(len(masks))] if masks is not None else []
    longest = max(map(len, found), default=0)
    if longest > _LONGEST:
        raise InputError(
            f"{called}: a mask of {longest:,} letters; a table holds {_LONGEST:,} in a cell: data.masks=off lists boxes"
        )
    return found


def drawn_polygons(parts: Sequence[NDArray[np.float64]]) -> WrittenMask:
    """The parts that have an area, (P, 2) each."""
    kept, left = [], []
    for number, points in enumerate(parts, 1):
        which = "polygon" if len(parts) == 1 else f"polygon {number} of {len(parts)}"
        if len(points) < 3:
            left.append(f"{which} has {counted(len(points), 'point')}, wanted 3")
        elif area(points) <= _LEAST * max(1.0, float(np.abs(points).max())) ** 2:
            left.append(f"{which} has no area")
        else:
            kept.append(points)
    return tuple(kept), tuple(left)


def require_all_or_none(
    pictures: "Iterable[Labelled]", config: DataConfig, called: "Callable[[Labelled, Object], str]"
) -> None:
    """Refuse masks of some objects only; forget them under `data.masks=off`.

    Raises:
        InputError: an object has none where others have, or none has under `data.masks=on`.
    """
    every = list(pictures)
    if config.masks == "off":
        for picture in every:
            picture.objects = [found._replace(shape=None, flaws=()) for found in picture.objects]
        return
    bare = [(picture, found) for picture in every for found in picture.objects if found.shape is None]
    number = sum(len(picture.objects) for picture in every)
    if len(bare) == number and config.masks == "on":
        raise InputError(f"{config.source}: data.masks=on, and no object has a mask; leave it out for boxes alone")
    if 0 < len(bare) < number:
        more = f", nor have {len(bare) - 1:,} more" if len(bare) > 1 else ""
        raise InputError(
            f"{called(*bare[0])}: no mask{more}, and {counted(number - len(bare), 'object')} of this set "
            f"{'has' if number - len(bare) == 1 else 'have'} one; draw it, or data.masks=off reads boxes alone",
            [f"  {called(*one)}" for one in bare[:10]] if more else (),
        )


class DrawnMasks:
    """Masks as written -> masks of the upright picture, and what there is to say of all."""

    def __init__(self, called: "Callable[[Labelled, Object], str]", *, relative: bool) -> None:
        self._called, self._relative = called, relative
        self._left: list[str] = []

    def empty(self, picture: "Labelled") -> NDArray[np.bool_]:
        """Which objects have a mask without a pixel; what of the others is left out is noted."""
        for found in picture.objects:
            self._left += [f"{self._called(picture, found)}: {flaw}" for flaw in found.flaws]
        return np.array([found.shape is not None and _is_empty(found.shape) for found in picture.objects], dtype=bool)

    def of(
        self, picture: "Labelled", objects: "Sequence[Object]", size: tuple[int, int] | None, turn: Tensor
    ) -> Masks | None:
        """Those of objects that are kept, of a picture of (W, H), turned upright by a map (2, 3); None of no masks.

        Raises:
            InputError: one is of another picture, by its size or by where it lies.
        """
        if not objects or objects[0].shape is None:
            return None
        masks = Masks.of([found.shape for found in objects if found.shape is not None])
        width, height = size or (1, 1)
        if self._relative:
            scale = torch.tensor([[width, 0, 0], [0, height, 0]], dtype=torch.float64)
            return masks.moved(scale).moved(turn)
        for found, shape in zip(objects, masks.shapes, strict=True):
            if size is not None:
                self._require_inside(f"{self._called(picture, found)}", shape, size)
        return masks.moved(turn)

    def left_out(self) -> list[str]:
        """The polygons that are left out."""
        return self._left

    def notes(self) -> list[str]:
        """The same for a person, the first few."""
        if not self._left:
            return []
        verb = "is" if len(self._left) == 1 else "are"
        told = f"{counted(len(self._left), 'polygon')} {verb} left out (data.on_bad_box=stop refuses them)"
        return [*self._left[:_SHOWN], told]

    def _require_inside(self, called: str, shape: MaskShape, size: tuple[int, int]) -> None:
        width, height = size
        if isinstance(shape, RunLengths):
            if shape.size != (height, width):
                raise InputError(
                    f"{called}: a mask of {shape.size[1]} x {shape.size[0]} px, the picture has {width} x {height}; "
                    "is the file of another picture?"
                )
            return
        points = np.concatenate(shape)
        low, high = points.min(0), points.max(0)
        if (low < -1 - 1e-9).any() or (high > np.array([width, height]) + 1 + 1e-9).any():
            raise InputError(
                f"{called}: an outline from ({low[0]:g}, {low[1]:g}) to ({high[0]:g}, {high[1]:g}) ends outside of the "
                f"picture ({width} x {height}) by more than 1 px: is the file of another picture?"
            )


def _is_empty(shape: MaskShape) -> bool:
    return not shape.area if isinstance(shape, RunLengths) else not shape
