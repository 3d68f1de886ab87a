"""Draws in which classes come equally often, and weights that make them weigh alike."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepres.data.images import Batch
from deepres.data.loading.balance import EvenDraws, class_weights, effective, sizes, unequal
from deepres.data.loading.config import TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import find, open_source
from deepres.data.sources.pack import pack
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.statistics import imagenet_statistics

COUNTS = st.lists(st.integers(1, 25), min_size=1, max_size=6)


def labels_of(counts: list[int]) -> torch.Tensor:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]


def stream(counts: list[int], batch_size: int, steps: int, seed: int = 0) -> torch.Tensor:
    draws = EvenDraws(labels_of(counts), len(counts))
    return torch.cat([draws.batch_at(step, batch_size, seed).indices for step in range(steps)])


@settings(max_examples=40)
@given(counts=COUNTS, batch_size=st.integers(1, 17), seed=st.integers(0, 3))
@pytest.mark.medium
def test_classes_come_equally_often_in_every_epoch_and_so_do_the_images_of_each(
    counts: list[int], batch_size: int, seed: int
) -> None:
    labels, n, epochs = labels_of(counts), sum(counts), 4
    drawn = stream(counts, batch_size, -(-epochs * n // batch_size), seed)[: epochs * n]
    for epoch in range(epochs):
        often = torch.bincount(labels[drawn[epoch * n : (epoch + 1) * n]], minlength=len(counts))
        assert int(often.max() - often.min()) <= 1
    images = torch.bincount(drawn, minlength=n)
    for label in range(len(counts)):
        of_class = images[labels == label]
        assert int(of_class.max() - of_class.min()) <= 1


@settings(max_examples=25)
@given(counts=COUNTS, batch_size=st.integers(1, 17), step=st.integers(0, 40))
@pytest.mark.medium
def test_a_step_is_known_without_those_before_it(counts: list[int], batch_size: int, step: int) -> None:
    labels = labels_of(counts)
    whole = stream(counts, batch_size, step + 1)
    alone = EvenDraws(labels, len(counts)).batch_at(step, batch_size, 0)
    assert torch.equal(alone.indices, whole[step * batch_size :])
    assert alone.places.tolist() == list(range(step * batch_size, (step + 1) * batch_size))


def test_orders_differ_between_epochs_and_seeds() -> None:
    drawn = [stream([40, 4], 44, 2, seed).reshape(2, 44) for seed in (0, 1)]
    assert not torch.equal(drawn[0][0], drawn[0][1])
    assert not torch.equal(drawn[0][0], drawn[1][0])


def test_a_class_of_one_among_many_is_drawn_at_once() -> None:
    labels = torch.zeros(50_000, dtype=torch.int64)
    labels[7] = 1
    draws = EvenDraws(labels, 3)  # the third class has no images, and is never drawn
    assert int((draws.batch_at(0, 50_000, 0).indices == 7).sum()) == 25_000


@pytest.mark.parametrize("counts", [[10, 10], [240, 12], [1, 5, 100], [3, 7, 0, 20]])
def test_weights_are_scikit_learns(counts: list[int]) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = labels_of(counts)
    weights = class_weights(sizes(labels, len(counts)))
    there = [label for label, count in enumerate(counts) if count]
    wanted = compute_class_weight("balanced", classes=np.array(there), y=labels.numpy())
    np.testing.assert_allclose(weights[there], wanted, rtol=1e-6)
    assert float(weights[labels].mean()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((240, 12, 100), "classes from 12 to 240 images (20 to 1)"),
        ((3000, 1000), "classes from 1,000 to 3,000 images (3 to 1)"),
        ((2, 1), "classes from 1 to 2 images (2 to 1)"),
        ((19, 10), None),
        ((7,), None),
    ],
)
def test_what_is_said_of_classes_of_unequal_size(counts: tuple[int, ...], said: str | None) -> None:
    assert unequal(counts) == said


@pytest.mark.parametrize(("counts", "images"), [((50, 50), 100), ((90, 10), 36), ((6, 1), 3), ((7, 0, 7), 14)])
def test_how_sure_a_mean_over_classes_is(counts: tuple[int, ...], images: int) -> None:
    assert effective(counts) == images


@pytest.fixture
def pets(class_folders: Callable[..., Path]) -> Path:
    return class_folders("pets", {"cat": 12, "dog": 3}, (40, 40))


@pytest.mark.medium
def test_no_number_of_workers_no_beginning_and_no_packing_changes_a_batch(pets: Path) -> None:
    packed = pets.with_name("packed")
    pack(find(DataConfig(source=str(pets))), packed, kept="raw", short_side=40)

    def batches(source: Path, start: int, workers: int = 0) -> list[Batch]:
        images = open_source(DataConfig(source=str(source), val_fraction=0, test_fraction=0)).train
        augmentation = Augmentation(crop="random_resized", flip=0.5)
        preparation = Preparation(fit="crop", resize=32, crop=32)
        loader = TrainLoader(
            images,
            augmentation,
            preparation,
            imagenet_statistics(),
            TrainLoaderConfig(batch_size=4, seed=1, workers=workers, even=True),
        )
        return list(loader.batches(start, 9))

    whole = batches(pets, 0)
    assert torch.bincount(torch.cat([batch.targets for batch in whole])[:30]).tolist() == [15, 15]
    for other, start in ((batches(pets, 0, workers=2), 0), (batches(pets, 5), 5), (batches(packed, 0), 0)):
        for mine, theirs in zip(other, whole[start:], strict=True):
            assert torch.equal(mine.images, theirs.images)
            assert torch.equal(mine.targets, theirs.targets)
