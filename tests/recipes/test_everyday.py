"""How long one's own images are trained on by default, and in which steps."""

from math import ceil

import pytest

from deepres.data.facts import DatasetFacts
from deepres.recipes.everyday import photos, small


@pytest.mark.parametrize(
    ("images", "epochs", "batch_size"),
    [
        (1, 300, 32),
        (60, 300, 32),
        (200, 160, 32),
        (371, 87, 32),
        (540, 60, 32),
        (1066, 60, 32),
        (1067, 60, 64),
        (1600, 60, 64),
        (50_000, 60, 64),
    ],
)
def test_a_few_photographs_are_passed_over_in_a_thousand_steps(images: int, epochs: int, batch_size: int) -> None:
    train = photos(DatasetFacts("x", 10, images, 3, 100)).train
    assert (train.epochs, train.batch_size) == (epochs, batch_size)
    assert epochs == 300 or ceil(epochs * images / batch_size) >= 1000


@pytest.mark.parametrize(
    ("images", "epochs", "batch_size"),
    [(100, 192, 32), (640, 30, 32), (1280, 30, 64), (1349, 30, 64), (60_000, 30, 64)],
)
def test_a_few_small_images_in_six_hundred(images: int, epochs: int, batch_size: int) -> None:
    train = small(DatasetFacts("digits", 10, images, 1, 8)).train
    assert (train.epochs, train.batch_size) == (epochs, batch_size)
