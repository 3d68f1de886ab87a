"""Masks of objects: polygons or run lengths as their source wrote them, and the map by which each has moved since.

Nothing is rasterised before pixels are asked for, so that what a picture goes through costs a mask no sharpness.
K objects; px of the upright picture, a pixel's middle at .5.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepres.data.run_lengths import Bitmap, RunLengths, of_bitmap, of_polygons

Polygons = tuple[NDArray[np.float64], ...]
"""The parts of an object, (P, 2) each, x and y in px; what lies in several of them lies in it."""

MaskShape = Polygons | RunLengths
"""As a source wrote it; no part: an object without a pixel."""

_AS_IT_IS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Masks:
    """Of K objects the `shapes`, and `matrices` float64 (K, 2, 3) by which they moved: (x', y') = M (x, y, 1)."""

    shapes: tuple[MaskShape, ...]
    matrices: Tensor

    def __post_init__(self) -> None:
        assert self.matrices.shape == (len(self.shapes), 2, 3)
        assert self.matrices.dtype == torch.float64

    @classmethod
    def of(cls, shapes: Sequence[MaskShape]) -> "Masks":
        """As they are written."""
        return cls(tuple(shapes), _AS_IT_IS.expand(len(shapes), 2, 3))

    @classmethod
    def together(cls, parts: "Sequence[Masks]") -> "Masks":
        """All of them, in their order."""
        shapes = tuple(shape for part in parts for shape in part.shapes)
        return cls(shapes, torch.cat([part.matrices for part in parts]) if parts else _AS_IT_IS.expand(0, 2, 3))

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, places: Any) -> "Masks":
        """Those at these places (int64, bool or a slice)."""
        if isinstance(places, slice):
            return Masks(self.shapes[places], self.matrices[places])
        chosen = torch.arange(len(self))[torch.as_tensor(places).cpu()].tolist()
        return Masks(tuple(self.shapes[place] for place in chosen), self.matrices[chosen])

    def moved(self, matrices: Tensor) -> "Masks":
        """Moved further, by `matrices` (K, 2, 3) or one (2, 3)."""
        maps = matrices.double().cpu()
        linear = maps[..., :2] @ self.matrices[..., :2]
        shift = maps[..., :2] @ self.matrices[..., 2:] + maps[..., 2:]
        return Masks(self.shapes, torch.cat([linear, shift], -1))

    def shape(self, place: int) -> MaskShape:
        """One object where it lies now: polygons moved, run lengths turned (of maps that change no size otherwise)."""
        shape, matrix = self.shapes[place], self.matrices[place].numpy()
        if _stays(matrix):
            return shape
        if isinstance(shape, RunLengths):
            return self.runs(place, shape.size if matrix[0, 0] else (shape.size[1], shape.size[0]))
        return tuple(part @ matrix[:, :2].T + matrix[:, 2] for part in shape)

    def contents(self) -> Iterator[bytes]:
        """What they are and where they lie now, an object after the other: others have other bytes."""
        stay = (self.matrices == _AS_IT_IS).flatten(1).all(1).tolist()
        for place, shape in enumerate(self.shapes):
            shape = shape if stay[place] else self.shape(place)
            if isinstance(shape, RunLengths):
                yield b"%d %d %d\n%b" % (*shape.size, len(shape.counts), shape.counts)
            else:
                yield b"%d\n" % len(shape)
                for part in shape:
                    yield b"%d\n%b" % (len(part), part.tobytes())

    def bitmap(self, place: int, size: tuple[int, int]) -> Bitmap:
        """The pixels of one object in a picture of `size` (H, W)."""
        shape, matrix = self.shapes[place], self.matrices[place].numpy()
        if isinstance(shape, RunLengths):
            pixels = shape.bitmap()
            return pixels if _stays(matrix) and shape.size == tuple(size) else covered(pixels, matrix, size)
        return self.runs(place, size).bitmap()

    def runs(self, place: int, size: tuple[int, int]) -> RunLengths:
        """The same as run lengths."""
        shape, matrix = self.shapes[place], self.matrices[place].numpy()
        if isinstance(shape, RunLengths):
            return shape if _stays(matrix) and shape.size == tuple(size) else of_bitmap(self.bitmap(place, size))
        if not shape:
            return of_bitmap(np.zeros(size, bool))
        parts = shape if _stays(matrix) else [part @ matrix[:, :2].T + matrix[:, 2] for part in shape]
        return of_polygons(parts, size)


def covered(pixels: Bitmap, matrix: NDArray[np.float64], size: tuple[int, int]) -> Bitmap:
    """The pixels of a picture of `size` (H, W) of which a moved mask covers half or more.

    The share of each is exact, for the map keeps axes (resize, mirror, crop, a quarter turn): differences of the sums
    of all pixels above and left of the corners of a cell.
    """
    if not matrix[0, 0]:  # a quarter turn: rows become columns
        pixels, matrix = pixels.T, matrix[:, [1, 0, 2]]
    edges = [np.arange(side + 1, dtype=np.float64) for side in size]
    y, x = ((edges[axis] - matrix[row, 2]) / matrix[row, row] for axis, row in ((0, 1), (1, 0)))
    sums = np.zeros((pixels.shape[0] + 1, pixels.shape[1] + 1))
    np.cumsum(np.cumsum(pixels, 0, dtype=np.float64), 1, out=sums[1:, 1:])
    at = _between(_between(sums, y).T, x).T
    shares = np.diff(np.diff(at, axis=0), axis=1) * (matrix[0, 0] * matrix[1, 1])
    return np.asarray(shares >= 0.5 - 1e-9)


def _between(rows: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (n + 1, m) at places between 0 and n, interpolated; beyond, the first or the last."""
    places = places.clip(0, len(rows) - 1)
    low = np.minimum(places.astype(np.int64), max(0, len(rows) - 2))
    part = (places - low)[:, None]
    found: NDArray[np.float64] = rows[low] * (1 - part) + rows[np.minimum(low + 1, len(rows) - 1)] * part
    return found


def _stays(matrix: NDArray[np.float64]) -> bool:
    return bool((matrix == _AS_IT_IS.numpy()).all())


def area(part: NDArray[np.float64]) -> float:
    """Of a polygon (P, 2), in px^2: half of |sum(x_i y_(i+1) - x_(i+1) y_i)|."""
    after = np.roll(part, -1, axis=0)
    return float(abs((part[:, 0] * after[:, 1] - after[:, 0] * part[:, 1]).sum()) / 2)
