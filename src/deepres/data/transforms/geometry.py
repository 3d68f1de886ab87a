"""Where the points of a picture go in training: the map that its crops, resizes, mirrors and shifts amount to.

Draws are functions of seed, step and place, so that the map is found without the pixels, in whichever process: a task
whose targets lie in the picture (boxes, points) moves them along. A point is (x, y) in px from the upper left corner of
the picture as it is decoded, upright; a pixel's centre lies at .5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.data.rng import seeded
from deepres.data.transforms.config import Augmentation, Decode, Preparation
from deepres.data.transforms.crops import draw
from deepres.data.transforms.per_batch import BatchStage
from deepres.data.transforms.sides import Sides, View, canvas


@dataclass(frozen=True, eq=False)
class Geometry:
    """`matrices` float64 (N, 2, 3), (x', y') = M (x, y, 1), in px of the network's input; what leaves `size` is cut.

    `size` is (H, W) of the input, the same for all images of a batch; `sizes` int64 (N, 2) are those of the pictures
    themselves, where they are smaller (sides.py).
    """

    matrices: Tensor
    size: tuple[int, int]
    sizes: Tensor | None = None

    @property
    def own_sizes(self) -> Tensor:
        """(H, W) of what is picture, int64 (N, 2)."""
        return torch.tensor([self.size] * len(self.matrices)) if self.sizes is None else self.sizes

    def points(self, points: Tensor) -> Tensor:
        """(N, P, 2) in px of each picture -> (N, P, 2) in px of the input."""
        whole = torch.cat([points.double(), torch.ones(*points.shape[:-1], 1, dtype=torch.float64)], -1)
        return torch.einsum("nij,npj->npi", self.matrices, whole)

    def inside(self, points: Tensor) -> Tensor:
        """Which moved points (N, P, 2) lie in the input: bool (N, P)."""
        return ((points >= 0) & (points <= self.own_sizes.flip(1)[:, None].to(points.dtype))).all(-1)


class Moves:
    """The geometry of any batch of a run, from what its draws depend on; `stage` is the run's own.

    Raises:
        InputError: an automatic augmentation, which shears and turns by maps that it does not tell.
    """

    def __init__(
        self, augmentation: Augmentation, preparation: Preparation, seed: int, decode: Decode, stage: BatchStage
    ) -> None:
        if augmentation.auto != "none":
            raise InputError(
                f"augmentation.auto={augmentation.auto}: it turns and shears by maps that it does not tell, and the "
                "targets of this task move with the pixels; set augmentation.auto=none"
            )
        self._augmentation, self._preparation, self._seed, self._stage = augmentation, preparation, seed, stage
        self._sides = Sides(preparation, augmentation, seed) if preparation.fit == "sides" else None
        self._cuts = decode == "scaled" and augmentation.sees_own_size and preparation.antialias

    def of(self, step: int, kept: Tensor, places: Sequence[int], sizes: Sequence[tuple[int, int]]) -> Geometry:
        """Of the images at `kept` (N,) of the batch of `step`, whose `places` in the stream and (W, H) are given."""
        every = [self._of_image(place, width, height) for place, (width, height) in zip(places, sizes, strict=True)]
        inputs, matrices = [size for _, size in every], torch.stack([matrix for matrix, _ in every])
        if self._sides is not None:
            return Geometry(matrices, canvas(inputs, self._preparation.edge), torch.tensor(inputs))
        assert len(set(inputs)) == 1  # a batch has one size
        height, width = inputs[0]
        if self._augmentation.crop == "pad":
            rows, columns = self._stage.shifts(step, kept).double().unbind(1)
            matrices[:, 0, 2] += self._augmentation.pad - columns
            matrices[:, 1, 2] += self._augmentation.pad - rows
        if self._augmentation.flip and not self._augmentation.sees_own_size:
            flips = self._stage.flips(step, kept)
            matrices[flips] = _mirrored(matrices[flips], width)
        return Geometry(matrices, (height, width))

    def _of_image(self, place: int, width: int, height: int) -> tuple[Tensor, tuple[int, int]]:
        if self._sides is not None:
            return viewed(self._sides.view(width, height, place), width, height)
        size = self._preparation.size
        if not self._augmentation.sees_own_size:
            return fitted(self._preparation, width, height)
        assert size is not None
        if self._cuts:
            left, top, wide, high, flip = draw(self._augmentation, size, width, height, self._seed, place)
        else:
            left, top, wide, high, flip = self._replayed(place, width, height)
        matrix = _window(left, top, size / wide, size / high)
        return (_mirrored(matrix[None], size)[0] if flip else matrix), (size, size)

    def _replayed(self, place: int, width: int, height: int) -> tuple[float, float, float, float, bool]:
        """What `SampleStage` draws at this place, by the same library's draws from the same generator."""
        from torchvision.transforms import v2

        augmentation, size = self._augmentation, self._preparation.size
        with seeded(self._seed, "augment", place):
            if augmentation.crop == "short_side":
                low, high = augmentation.scale
                new_width, new_height = _short_side(width, height, int(torch.randint(low, high + 1, ())))
                found = v2.RandomCrop(size).make_params([torch.empty(1, new_height, new_width, device="meta")])
                across, down = width / new_width, height / new_height
                box = (found["left"] * across, found["top"] * down, found["width"] * across, found["height"] * down)
            else:
                crop = v2.RandomResizedCrop(size, augmentation.area, augmentation.ratio)
                found = crop.make_params([torch.empty(1, height, width, device="meta")])
                box = (found["left"], found["top"], found["width"], found["height"])
            return *box, bool(augmentation.flip) and bool(torch.rand(1) < augmentation.flip)


def evaluated(preparation: Preparation, sizes: Sequence[tuple[int, int]]) -> Geometry:
    """Where evaluation puts the points of pictures of these (W, H), which it shows in one batch.

    Those of fit "sides" each on a canvas of that size; all others come in one size.
    """
    if preparation.fit != "sides":
        shown = [fitted(preparation, width, height) for width, height in sizes]
        return Geometry(torch.stack([matrix for matrix, _ in shown]), shown[0][1])
    sides = Sides(preparation)
    every = [viewed(sides.view(width, height, 0), width, height) for width, height in sizes]
    seen = [size for _, size in every]
    return Geometry(torch.stack([matrix for matrix, _ in every]), canvas(seen, preparation.edge), torch.tensor(seen))


def fitted(preparation: Preparation, width: int, height: int) -> tuple[Tensor, tuple[int, int]]:
    """`per_image.fit` as a map, of every fit but "sides", and the (H, W) that it gives."""
    size = preparation.size
    if size is None:
        return _window(0, 0, 1, 1), (height, width)
    if preparation.fit == "squash":
        return _window(0, 0, size / width, size / height), (size, size)
    if preparation.fit == "pad":
        new = [max(1, round(side * size / max(height, width))) for side in (width, height)]
        matrix = _window(0, 0, new[0] / width, new[1] / height)
        matrix[:, 2] += torch.tensor([float((size - side) // 2) for side in new])
        return matrix, (size, size)
    new_width, new_height = _short_side(width, height, preparation.resize or size)
    floored = preparation.margins == "floored"
    left, top = ((side - size) // 2 if floored else round((side - size) / 2.0) for side in (new_width, new_height))
    matrix = _window(0, 0, new_width / width, new_height / height)
    matrix[:, 2] -= torch.tensor([float(left), float(top)])
    return matrix, (size, size)


def viewed(view: View, width: int, height: int) -> tuple[Tensor, tuple[int, int]]:
    """A `width` x `height` picture as sides.py shows it: its map, and (H, W) of what is seen."""
    matrix = _window(0, 0, view.width / width, view.height / height)
    return (_mirrored(matrix[None], view.width)[0] if view.flip else matrix), (view.height, view.width)


def _window(left: float, top: float, across: float, down: float) -> Tensor:
    """x' = (x - left) across, y' = (y - top) down."""
    return torch.tensor([[across, 0, -left * across], [0, down, -top * down]], dtype=torch.float64)


def _mirrored(matrices: Tensor, width: int) -> Tensor:
    """x' = width - x, after the maps."""
    found = matrices.clone()
    found[:, 0] = -found[:, 0]
    found[:, 0, 2] += width
    return found


def _short_side(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height once the short side is `side`, the long one rounded down, as in torchvision."""
    short = min(width, height)
    return tuple(side if length == short else int(side * length / short) for length in (width, height))  # type: ignore[return-value]
