"""Boxes of a batch lie where the pixels of their objects went."""

from pathlib import Path

import numpy as np
import pytest
import torch
from boxed_sets import xml_of
from PIL import Image

from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.images import FileImages
from deepres.data.loading.config import LoaderConfig, TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader, evaluation_batches
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_splits
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.statistics import Statistics

SIZES = [(100, 60), (60, 100), (90, 90), (200, 40), (31, 47)]
KNOWN = Statistics(torch.zeros(3), torch.ones(3), torch.zeros(3), torch.eye(3), None, 1)
SIDES = Preparation(fit="sides", resize=48, longest=80, multiple=16)


@pytest.fixture
def images(tmp_path: Path) -> FileImages:
    """Black pictures with a white rectangle in each corner or near it, one of which is the object of class 1."""
    paths, boxes = [], []
    for number, (width, height) in enumerate(SIZES):
        pixels = np.zeros((height, width), dtype=np.uint8)
        x1, y1 = (0, 5, width - 22, 8, 3)[number], (0, height - 20, 7, 2, 4)[number]
        pixels[y1 : y1 + 18, x1 : x1 + 20] = 255
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
        boxes.append(Boxes.of([[x1, y1, x1 + 20, y1 + 18]], [1]))
    return FileImages(tuple(paths), BoxTargets.of(boxes, ids=[5, 4, 3, 2, 1]), ("a", "b"))


def lit(image: torch.Tensor) -> list[float]:
    """The edges of what is white in a picture (C, H, W) in [0, 1], to a part of a pixel by how light an edge is."""
    found = (image[0] - 0.51).clamp(min=0) / 0.49  # bars of fit "pad" are of .5
    edges = []
    for profile in (found.amax(0), found.amax(1)):
        inside = (profile > 0.5).nonzero()[:, 0]
        first, last = int(inside[0]), int(inside[-1]) + 1
        edges += [first - float(profile[max(0, first - 2) : first].sum()), last + float(profile[last : last + 2].sum())]
    return [edges[0], edges[2], edges[1], edges[3]]


@pytest.mark.parametrize(
    ("augmentation", "preparation"),
    [
        (Augmentation(), SIDES),
        (Augmentation(flip=1.0), SIDES),
        (Augmentation(flip=0.5, crop="whole", scale=(30, 64)), SIDES),
        (Augmentation(), Preparation(fit="squash", crop=64)),
        (Augmentation(flip=1.0), Preparation(fit="pad", crop=64)),
        (Augmentation(flip=0.5, crop="random_resized", area=(0.5, 1.0)), Preparation(fit="crop", resize=64, crop=64)),
    ],
)
@pytest.mark.medium
def test_boxes_of_training_lie_where_the_pixels_went(
    augmentation: Augmentation, preparation: Preparation, images: FileImages
) -> None:
    loader = TrainLoader(
        images, augmentation, preparation.replace(normalise="none"), KNOWN, TrainLoaderConfig(batch_size=5, seed=3)
    )
    seen = 0
    for batch in loader.batches(0, 4):
        targets = batch.targets
        assert isinstance(targets, BoxTargets)
        assert targets.where is not None
        assert targets.ids.tolist() == [5 - index for index in batch.indices.tolist()]
        for image, boxes, size in zip(batch.images, targets, targets.where.sizes.tolist(), strict=True):
            assert bool((boxes.corners >= 0).all())
            assert bool((boxes.corners[:, 2:] <= torch.tensor(size[::-1])).all())
            if float(image.max()) > 0.9 and not bool(boxes.ignored[0]):
                assert boxes.corners[0].tolist() == pytest.approx(lit(image), abs=1.01)
                seen += 1
    assert seen > 10


def test_boxes_of_evaluation_lie_there_too_and_lead_back_to_the_picture(images: FileImages) -> None:
    for batch in evaluation_batches(images, SIDES.replace(normalise="none"), KNOWN, LoaderConfig(batch_size=5)):
        assert isinstance(batch.targets, BoxTargets)
        assert batch.targets.where is not None
        for image, boxes, matrix, index in zip(
            batch.images, batch.targets, batch.targets.where.matrices, batch.indices.tolist(), strict=True
        ):
            assert boxes.corners[0].tolist() == pytest.approx(lit(image), abs=1.01)
            across, down = float(matrix[0, 0]), float(matrix[1, 1])
            back = boxes.corners[0].double() / torch.tensor([across, down, across, down])
            assert back.tolist() == pytest.approx(images.targets[index].corners[0].tolist(), abs=1e-4)  # type: ignore[attr-defined]


@pytest.mark.medium
def test_workers_and_their_number_change_no_box(images: FileImages) -> None:
    found = []
    for workers in (0, 2):
        config = TrainLoaderConfig(batch_size=5, seed=3, workers=workers)
        loader = TrainLoader(images, Augmentation(flip=0.5, crop="whole", scale=(30, 64)), SIDES, KNOWN, config)
        found.append([batch.targets.tolist() for batch in loader.batches(0, 2)])
    assert found[0] == found[1]


@pytest.mark.parametrize("turn", range(1, 9))
def test_boxes_of_pictures_that_are_stored_turned_lie_where_their_pixels_are_shown(turn: int, tmp_path: Path) -> None:
    pixels = np.zeros((60, 100), dtype=np.uint8)
    pixels[5:25, 60:90] = 255
    exif = Image.Exif()
    exif[274] = turn
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    (tmp_path / "a.xml").write_text(xml_of([("dog", (61, 6, 90, 25))], (100, 60)))
    found = open_splits(DataConfig(source=str(tmp_path), frame="stored")).splits["train"]
    (batch,) = evaluation_batches(found, SIDES.replace(normalise="none"), KNOWN, LoaderConfig(batch_size=1))
    assert batch.targets[0].corners[0].tolist() == pytest.approx(lit(batch.images[0]), abs=1.01)  # type: ignore[attr-defined]
