"""Where the points of a picture go: a bright square is found where the map says, whatever is drawn."""

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.data.images import ArrayImages, FileImages, Images
from deepres.data.loading.config import TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.geometry import Geometry
from deepres.data.transforms.statistics import Statistics

N, WIDTH, HEIGHT = 24, 60, 44
BLACK = Statistics(torch.zeros(3), torch.ones(3), torch.ones(3), torch.eye(3), None, 1)


def _marked(number: int) -> tuple[np.ndarray, tuple[float, float]]:
    """A black picture with a bright square of 9 px, and its middle."""
    draw = np.random.default_rng(number)
    x, y = int(draw.integers(14, WIDTH - 14)), int(draw.integers(12, HEIGHT - 12))
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[y - 4 : y + 5, x - 4 : x + 5] = 255
    return pixels, (x + 0.5, y + 0.5)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> FileImages:
    home = tmp_path_factory.mktemp("marked")
    for number in range(N):
        Image.fromarray(_marked(number)[0]).save(home / f"{number}.png")
    return FileImages(tuple(home / f"{number}.png" for number in range(N)), torch.arange(N) % 2, ("a", "b"))


@pytest.fixture(scope="module")
def arrays() -> ArrayImages:
    pixels = torch.stack([torch.from_numpy(_marked(number)[0]).permute(2, 0, 1) for number in range(N)])
    return ArrayImages(pixels, torch.arange(N) % 2, ("a", "b"), "marked/train")


CROP = {"fit": "crop", "resize": 36, "crop": 32, "normalise": "none"}
CASES = {
    "nothing": (Augmentation(), Preparation(normalise="none")),
    "crop": (Augmentation(), Preparation(**CROP)),
    "floored": (Augmentation(), Preparation(**{**CROP, "crop": 33, "margins": "floored"})),
    "squash and mirror": (Augmentation(flip=0.5), Preparation(**{**CROP, "fit": "squash"})),
    "bars": (Augmentation(flip=1.0), Preparation(**{**CROP, "fit": "pad"})),
    "shifts and mirror": (Augmentation(crop="pad", pad=5, flip=0.5), Preparation(**CROP)),
    "random parts": (Augmentation(crop="random_resized", area=(0.5, 1.0), flip=0.5), Preparation(**CROP)),
    "short sides": (Augmentation(crop="short_side", scale=(36, 48), flip=0.5), Preparation(**CROP)),
    "random parts, jitter": (Augmentation(crop="random_resized", area=(0.6, 1.0), jitter=0.2), Preparation(**CROP)),
}


@pytest.mark.medium
@pytest.mark.parametrize("decode", ["scaled", "full"])
@pytest.mark.parametrize("name", CASES)
def test_a_mark_is_found_where_the_map_says(name: str, decode: str, files: FileImages, arrays: ArrayImages) -> None:
    augmentation, preparation = CASES[name]
    sets: list[Images] = [files, arrays]
    for images in sets:
        loader = TrainLoader(
            images, augmentation, preparation, BLACK, TrainLoaderConfig(batch_size=8, seed=3, decode=decode)
        )
        found = 0
        for step, batch in enumerate(loader.batches(0, 3)):
            geometry = loader.geometry(step)
            assert geometry.size == tuple(batch.images.shape[-2:])
            middles = torch.tensor([[_marked(index)[1]] for index in batch.indices.tolist()])
            moved = geometry.points(middles)
            for picture, point in zip(batch.images, moved[:, 0], strict=True):
                if not (6 < float(point[0]) < geometry.size[1] - 6 and 6 < float(point[1]) < geometry.size[0] - 6):
                    continue  # the square is cut
                bright = picture.mean(0)
                bright = (bright - bright[0].median()).clamp(min=0) if "bars" in name else bright
                bright = torch.where(bright > 0.6 * bright.max(), 1.0, 0.0)
                rows, columns = bright.nonzero().double().mean(0) + 0.5
                assert float(columns) == pytest.approx(float(point[0]), abs=0.8), (step, point)
                assert float(rows) == pytest.approx(float(point[1]), abs=0.8), (step, point)
                found += 1
        assert found >= 8


def test_what_leaves_the_input_is_told() -> None:
    geometry = Geometry(torch.tensor([[[1.0, 0, -5], [0, 1, 0]]], dtype=torch.float64), (10, 10))
    moved = geometry.points(torch.tensor([[[4.0, 4.0], [6.0, 4.0], [6.0, 11.0]]]))
    assert moved.tolist() == [[[-1, 4], [1, 4], [1, 11]]]
    assert geometry.inside(moved).tolist() == [[False, True, False]]


def test_maps_that_are_not_told_are_refused(arrays: ArrayImages) -> None:
    loader = TrainLoader(
        arrays, Augmentation(auto="trivial"), Preparation(**CROP), BLACK, TrainLoaderConfig(batch_size=8, seed=3)
    )
    with pytest.raises(InputError, match=r"augmentation\.auto=trivial: it turns and shears by maps"):
        loader.geometry(0)
