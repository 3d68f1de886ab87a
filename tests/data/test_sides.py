"""Pictures whose sides are given: sizes, canvases, mirrors; the map is where the pixels went; batches change nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from deepres.base.errors import InputError
from deepres.data.images import FileImages
from deepres.data.loading.config import LoaderConfig, TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader, evaluation_batches
from deepres.data.targets import FORMS, Numbers
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.geometry import Geometry
from deepres.data.transforms.sides import Sides, canvas, resized
from deepres.data.transforms.statistics import Statistics

SIZES = [(100, 60), (60, 100), (90, 90), (200, 40), (30, 20)]
PREPARATION = Preparation(fit="sides", resize=48, longest=80, multiple=16)


@dataclass(frozen=True)
class Points:
    """One point a picture, (x, y): targets that lie in it."""

    values: Tensor
    sizes: Tensor | None = None
    seeds: Tensor | None = None
    form: Any = "points"

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, places: Any) -> "Points":
        return Points(self.values[places])

    def to(self, device: Any) -> "Points":
        return self

    def tolist(self) -> list[Any]:
        return self.values.tolist()

    def placed(self, geometry: Geometry, seeds: Tensor) -> "Points":
        return Points(geometry.points(self.values[:, None])[:, 0], geometry.own_sizes, seeds)


class PointForm(Numbers):
    moves = True


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileImages:
    """Grey pictures with a white square; its centre is the target."""
    monkeypatch.setitem(FORMS, "points", PointForm())  # type: ignore[misc]
    paths, centres = [], []
    for number, (width, height) in enumerate(SIZES):
        pixels = np.full((height, width, 3), 60, np.uint8)
        left, top = width // 4, height // 2
        pixels[top : top + 8, left : left + 8] = 255
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
        centres.append((left + 4.0, top + 4.0))
    return FileImages(tuple(paths), Points(torch.tensor(centres, dtype=torch.float64)), ("x", "y"))  # type: ignore[arg-type]


STATISTICS = Statistics(torch.full((3,), 0.3), torch.full((3,), 0.2), torch.zeros(3), torch.eye(3), None, 1)


@pytest.mark.parametrize(
    ("size", "short", "long", "wanted"),
    [
        ((640, 480), 600, 1000, (800, 600)),
        ((1000, 300), 600, 1000, (1000, 300)),  # the long side decides
        ((500, 375), 600, 1000, (800, 600)),
        ((5000, 20), 400, 600, (600, 2)),
        ((20000, 1), 400, 600, (600, 1)),  # never below a pixel
        ((1, 1), 400, 600, (400, 400)),
    ],
)
def test_sides(size: tuple[int, int], short: int, long: int, wanted: tuple[int, int]) -> None:
    assert resized(*size, short, long) == wanted


def test_canvases_are_the_smallest_multiples() -> None:
    assert canvas([(48, 80), (64, 33)], 32) == (64, 96)
    assert canvas([(64, 64)], 16) == (64, 64)


@pytest.mark.medium
@pytest.mark.parametrize("augmentation", [Augmentation(flip=0.5), Augmentation(crop="whole", scale=(32, 64), flip=0.5)])
@pytest.mark.parametrize("workers", [0, 1])
def test_the_map_is_where_the_pixels_went(images: FileImages, augmentation: Augmentation, workers: int) -> None:
    """The brightest region of each prepared picture lies around its moved target; beyond the picture all is mean."""
    options = {"batch_size": 5, "seed": 3, "workers": workers}
    loader = TrainLoader(images, augmentation, PREPARATION, STATISTICS, TrainLoaderConfig(**options))  # type: ignore[arg-type]
    flips = set()
    for step, batch in enumerate(loader.batches(0, 4)):
        assert isinstance(batch.targets, Points)
        assert batch.targets.sizes is not None
        assert batch.images.shape[-2:] == canvas([tuple(s) for s in batch.targets.sizes.tolist()], 16)  # type: ignore[misc]
        for x, (height, width), (px, py) in zip(
            batch.images, batch.targets.sizes.tolist(), batch.targets.tolist(), strict=True
        ):
            assert not x[:, height:].any()
            assert not x[:, :, width:].any()
            bright = x[0, :height, :width] > 1.5
            rows, columns = bright.nonzero().double().unbind(1)
            assert abs(rows.mean() + 0.5 - py) < 1.0
            assert abs(columns.mean() + 0.5 - px) < 1.0
            flips.add(px > width / 2)
        again = next(loader.batches(step, step + 1))  # whatever was drawn before
        assert torch.equal(again.images, batch.images)
        assert torch.equal(again.targets.seeds, batch.targets.seeds)  # type: ignore[attr-defined]
    assert flips == {False, True}


def test_shares_of_processes_are_the_whole_batch(images: FileImages) -> None:
    """Of each picture the pixels, the target and the seed are those that it has in one process."""
    options: dict[str, Any] = {"batch_size": 4, "seed": 1}
    one = next(
        TrainLoader(images, Augmentation(flip=0.5), PREPARATION, STATISTICS, TrainLoaderConfig(**options)).batches(0, 1)
    )
    for rank in range(2):
        loader = TrainLoader(
            images,
            Augmentation(flip=0.5),
            PREPARATION,
            STATISTICS,
            TrainLoaderConfig(**options, rank=rank, world_size=2),
        )
        part = next(loader.batches(0, 1))
        for at in range(2):
            height, width = part.targets.sizes[at].tolist()  # type: ignore[attr-defined]
            whole = one.images[2 * rank + at, :, :height, :width]
            assert torch.equal(part.images[at, :, :height, :width], whole)
            assert part.targets.seeds[at] == one.targets.seeds[2 * rank + at]  # type: ignore[attr-defined]


def test_a_part_of_a_batch_stands_on_the_canvas_that_it_needs(images: FileImages) -> None:
    """So that a part is the same, whether one process cut it from its batch or another one has nothing else."""
    options: dict[str, Any] = {"batch_size": 4, "seed": 2}
    one = next(
        TrainLoader(images, Augmentation(flip=0.5), PREPARATION, STATISTICS, TrainLoaderConfig(**options)).batches(0, 1)
    )
    for rank in range(2):
        share = next(
            TrainLoader(
                images,
                Augmentation(flip=0.5),
                PREPARATION,
                STATISTICS,
                TrainLoaderConfig(**options, rank=rank, world_size=2),
            ).batches(0, 1)
        )
        part = one.at(torch.arange(2 * rank, 2 * rank + 2))
        assert torch.equal(part.images, share.images)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_evaluation_pads_each_picture_to_its_own(images: FileImages, batch_size: int) -> None:
    seen = {}
    for batch in evaluation_batches(images, PREPARATION, STATISTICS, LoaderConfig(batch_size=batch_size)):
        for at, index in enumerate(batch.indices.tolist()):
            height, width = batch.targets.sizes[at].tolist()  # type: ignore[attr-defined]
            assert (width, height) == resized(*SIZES[index], 48, 80)
            assert batch.images.shape[-2:] == canvas([(height, width)], 16)
            seen[index] = batch.images[at]
    assert sorted(seen) == list(range(len(SIZES)))
    alone = Sides(PREPARATION).of(images.image(1))
    assert torch.allclose(seen[1][:, : alone.shape[1], : alone.shape[2]], (alone / 255 - 0.3) / 0.2, atol=1e-5)


@pytest.mark.parametrize(
    ("augmentation", "preparation", "message"),
    [
        (Augmentation(crop="pad"), PREPARATION, "keeps pictures whole; wanted none, or whole"),
        (Augmentation(crop="whole"), Preparation(), "is for preparation.fit 'sides'"),
        (Augmentation(mixup=0.2), PREPARATION, "pictures of several sizes; set 0"),
    ],
)
def test_what_does_not_go_together(
    images: FileImages, augmentation: Augmentation, preparation: Preparation, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        TrainLoader(images, augmentation, preparation, STATISTICS, TrainLoaderConfig(batch_size=2, seed=0))


def test_sides_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match="cannot have a short side of 100 and a long one of 50"):
        Preparation(fit="sides", resize=100, longest=50)
