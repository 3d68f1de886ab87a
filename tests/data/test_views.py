"""Pictures of an image for evaluation: against hand-cut ones, from memory and from files alike."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from deepres.base.errors import InputError
from deepres.data.images import ArrayImages, Batch, FileImages
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics, imagenet_statistics, measure_statistics
from deepres.data.transforms.views import Views

RESIZED = Preparation(fit="crop", resize=16, crop=16)
AS_THEY_ARE = Preparation(fit=None)
CORNERS = Views(sides=(20,), cut="corners", crop=16)


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def files(tmp_path: Path) -> FileImages:
    paths = tuple(tmp_path / f"{index}.png" for index in range(7))
    for index, path in enumerate(paths):
        picture = noise(24, 24 + 6 * (index % 3), index)
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)
    return FileImages(paths, torch.arange(7) % 2, ("a", "b"))


def test_corners_are_those_of_the_whole_resized_image() -> None:
    image = noise(30, 45)
    resized = functional.resize(image, [20], antialias=True)
    shown = CORNERS.pictures(image, RESIZED)
    assert resized.shape == (3, 20, 30)
    by_hand = [resized[:, :16, :16], resized[:, :16, 14:], resized[:, 4:, :16], resized[:, 4:, 14:]]
    assert all(torch.equal(one, other) for one, other in zip(shown, [*by_hand, resized[:, 2:18, 7:23]], strict=True))
    assert all(torch.equal(one, other) for one, other in zip(shown, v2.FiveCrop(16)(resized), strict=True))


def test_the_centre_equals_resize_and_center_crop_and_whole_keeps_the_aspect() -> None:
    image = noise(30, 45)
    (centre,) = Views(sides=(20,), cut="centre", crop=16).pictures(image, RESIZED)
    assert torch.equal(centre, v2.CenterCrop(16)(v2.Resize(20)(image)))
    whole = Views(sides=(20, 40), cut="whole").pictures(image, RESIZED)
    assert [tuple(one.shape) for one in whole] == [(3, 20, 30), (3, 40, 60)]


def test_an_image_that_is_kept_as_it_is_is_never_enlarged() -> None:
    assert torch.equal(Views(sides=(32,), cut="whole").pictures(noise(32, 32), AS_THEY_ARE)[0], noise(32, 32))
    with pytest.raises(
        InputError,
        match=r"^protocol ten-crop:224/256: wants a short side of 256 px, cifar/test/3 has 32 x 32 and these weights "
        r"take images as they are; use center or flip, or name sizes within the image$",
    ):
        Views(sides=(256,), cut="corners", crop=224, where="ten-crop:224/256").pictures(
            noise(32, 32), AS_THEY_ARE, "cifar/test/3"
        )


@pytest.mark.parametrize("showing", [CORNERS, Views(sides=(16, 20), cut="whole")])
@pytest.mark.medium
def test_every_image_comes_as_often_as_it_has_pictures_from_any_number_of_workers(
    files: FileImages, showing: Views
) -> None:
    def batches(workers: int) -> list[Batch]:
        return list(
            evaluation_batches(
                files, RESIZED, imagenet_statistics(), LoaderConfig(batch_size=4, workers=workers), showing=showing
            )
        )

    here, there = batches(0), batches(2)
    assert len(here) == len(there)
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.indices, other.indices)
    assert torch.cat([one.indices for one in here]).bincount().tolist() == [showing.num_pictures] * 7
    if showing.cut == "whole":
        assert {tuple(one.images.shape[2:]) for one in here} == {
            (16, 16),
            (16, 20),
            (16, 24),
            (20, 20),
            (20, 25),
            (20, 30),
        }


def test_images_in_memory_are_shown_as_those_of_files(tmp_path: Path) -> None:
    pixels = torch.stack([noise(24, 30, seed) for seed in range(5)])
    for index, picture in enumerate(pixels):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / f"{index}.png")
    paths = tuple(tmp_path / f"{index}.png" for index in range(5))
    labels, known = torch.arange(5) % 2, imagenet_statistics()
    memory = ArrayImages(pixels, labels, ("a", "b"), "noise")
    for one, other in zip(
        evaluation_batches(memory, RESIZED, known, LoaderConfig(batch_size=2), showing=CORNERS),
        evaluation_batches(
            FileImages(paths, labels, ("a", "b")), RESIZED, known, LoaderConfig(batch_size=2), showing=CORNERS
        ),
        strict=True,
    ):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)


def test_large_pictures_come_in_small_tasks() -> None:
    papers = Views(sides=(224, 256, 384, 480, 640), cut="whole")
    assert papers.at_once(250) == 2**25 // (224**2 + 256**2 + 384**2 + 480**2 + 640**2)
    assert Views(sides=(256,), cut="centre", crop=224).at_once(250) == 250
    assert Views(sides=(4096, 4000), cut="whole").at_once(250) == 1


def test_a_mean_image_goes_with_pictures_of_its_size_and_is_resized_for_others() -> None:
    preparation = Preparation(normalise="per_pixel")
    images = ArrayImages(
        noise(32, 32).expand(4, 3, 32, 32).contiguous(), torch.zeros(4, dtype=torch.int64), ("a",), "n"
    )
    known = measure_statistics(images, preparation)
    assert known.at_size(32, 32) is known
    smaller = known.at_size(16, 24)
    assert isinstance(smaller, Statistics)
    assert smaller.mean_image is not None
    assert smaller.mean_image.shape == (3, 16, 24)
    assert known.mean_image is not None
    torch.testing.assert_close(smaller.mean_image.mean(), known.mean_image.mean(), rtol=0.02, atol=0)
    showing = Views(sides=(32, 16), cut="whole")
    plain, small = evaluation_batches(images, preparation, known, LoaderConfig(batch_size=4), showing=showing)
    (ordinary,) = evaluation_batches(images, preparation, known, LoaderConfig(batch_size=4))
    assert torch.equal(plain.images, ordinary.images)
    assert float(small.images.abs().mean()) < 0.02  # all images are the mean image
