import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from deepres.base.errors import InputError
from deepres.data.images import ArrayImages
from deepres.data.transforms.config import Augmentation, Preparation, cifar_2015
from deepres.data.transforms.per_batch import BatchStage, add_colour, erase, erased_boxes, flip, normalise, shift
from deepres.data.transforms.statistics import Statistics, imagenet_statistics, measure_statistics

PIXELS = torch.randint(0, 256, (200, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
MEASURED = measure_statistics(
    ArrayImages(PIXELS, torch.zeros(200, dtype=torch.int64), ("a",), "noise"), Preparation(normalise="per_pixel")
)
PLAIN = Preparation(normalise="none")


def everyone(n: int) -> Tensor:
    return torch.arange(n)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("fill", ["zero", "reflect"])
def test_shift_equals_torchvisions_pad_and_crop(dtype: torch.dtype, fill: str) -> None:
    x = PIXELS[:81].to(dtype)
    offsets = torch.cartesian_prod(torch.arange(9), torch.arange(9))
    shifted = shift(x.float(), offsets, 4, fill).to(dtype)
    for image, (top, left), ours in zip(x, offsets.tolist(), shifted, strict=True):
        padded = functional.pad(image, [4] * 4, padding_mode={"zero": "constant", "reflect": "reflect"}[fill])
        assert torch.equal(ours, functional.crop(padded, top, left, 32, 32))


def test_a_reflection_of_more_than_the_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"augmentation\.pad 4: a reflection needs images above 4 px, given 4 x 9"):
        shift(torch.rand(1, 3, 9, 4), torch.zeros(1, 2, dtype=torch.int64), 4, "reflect")


def test_flip_equals_torchvisions_and_twice_is_the_identity() -> None:
    x, flips = PIXELS[:6].float(), torch.tensor([True, False, True, True, False, False])
    flipped = flip(x, flips)
    assert torch.equal(flipped[0], functional.horizontal_flip(x[0]))
    assert torch.equal(flipped[1], x[1])
    assert torch.equal(flip(flipped, flips), x)


@pytest.mark.medium
def test_the_papers_crops_all_occur_equally_often() -> None:
    augmentation, preparation = cifar_2015()
    pixels = (torch.arange(1024).reshape(1, 1, 32, 32) % 251).to(torch.uint8).expand(512, 3, 32, 32).contiguous()
    nothing = preparation.replace(normalise="none")
    stage = BatchStage(augmentation, nothing, MEASURED, seed=1, batch_size=512)
    plain = (pixels[0].float() / 255).unsqueeze(0)
    views = {}
    for offset in torch.cartesian_prod(torch.arange(9), torch.arange(9)):
        window = shift(plain, offset[None], 4, "zero")
        for mirrored in (False, True):
            view = flip(window, torch.tensor([mirrored]))[0, 0]
            views[view.numpy().tobytes()] = 0
    assert len(views) == 162
    for step in range(12):
        for image in stage(pixels, step, everyone(512))[:, 0]:
            views[image.contiguous().numpy().tobytes()] += 1
    expected = 12 * 512 / 162
    chi_square = sum((count - expected) ** 2 / expected for count in views.values())
    assert min(views.values()) > 0
    assert chi_square < 161 + 5 * math.sqrt(2 * 161)


def test_normalisation_equals_its_formulas() -> None:
    x = PIXELS[:4].double() / 255
    mean, std = x.new_tensor(MEASURED.mean.tolist()), x.new_tensor(MEASURED.std.tolist())
    for kind, expected in {
        "none": x,
        "per_channel": (x - mean[:, None, None]) / std[:, None, None],
        "per_pixel": x - (PIXELS.double() / 255).mean(0),
    }.items():
        ours = normalise(PIXELS[:4], Preparation(normalise=kind), MEASURED)
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), expected, atol=1e-6, rtol=1e-6)
    per_channel = normalise(PIXELS[:4], Preparation(), imagenet_statistics())
    preset = functional.normalize(PIXELS[:4] / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(per_channel, preset)


def test_normalising_changes_no_input() -> None:
    pixels = PIXELS[:2].clone()
    normalise(pixels, Preparation(), MEASURED)
    assert torch.equal(pixels, PIXELS[:2])


def test_a_mean_image_of_another_size_is_refused() -> None:
    preparation = Preparation(normalise="per_pixel")
    with pytest.raises(
        InputError, match="per_pixel: images of 20 x 10 px, mean image 32 x 32; give images of its size"
    ):
        normalise(torch.zeros(1, 3, 10, 20, dtype=torch.uint8), preparation, MEASURED)
    with pytest.raises(InputError, match="mean image none"):
        normalise(PIXELS[:1], preparation, imagenet_statistics())
    with pytest.raises(InputError, match=r"images of 1 channels, statistics of 3; set preparation.channels"):
        normalise(PIXELS[:1, :1], Preparation(channels=1), MEASURED)


def test_colour_noise_equals_a_slow_loop() -> None:
    x = torch.rand(3, 3, 4, 5)
    alphas = torch.randn(3, 3) * 0.1
    noisy = add_colour(x, alphas, MEASURED)
    for n in range(3):
        for channel in range(3):
            noise = sum(alphas[n, k] * MEASURED.eigenvalues[k] * MEASURED.eigenvectors[channel, k] for k in range(3))
            torch.testing.assert_close(noisy[n, channel], x[n, channel] + noise)


def test_colour_noise_shifts_each_image_as_a_whole_by_the_stated_std() -> None:
    stage = BatchStage(Augmentation(colour_pca=0.1), PLAIN, MEASURED, seed=1, batch_size=200)
    noise = stage(PIXELS, 0, everyone(200)) - PIXELS / 255
    torch.testing.assert_close(noise.amax((2, 3)), noise.amin((2, 3)), atol=1e-6, rtol=0)
    alphas = noise.mean((2, 3)) @ MEASURED.eigenvectors / MEASURED.eigenvalues
    torch.testing.assert_close(alphas.std(0), torch.full((3,), 0.1), atol=0.02, rtol=0)


def test_erasing_equals_torchvisions_erase() -> None:
    boxes = torch.tensor([[3, 5, 7, 9], [0, 0, 0, 0], [31, 31, 1, 1]])
    x = torch.rand(3, 3, 32, 32) + 1
    erased = erase(x, boxes)
    for image, (top, left, height, width), ours in zip(x, boxes.tolist(), erased, strict=True):
        expected = functional.erase(image, top, left, height, width, torch.zeros(3, 1, 1)) if height else image
        assert torch.equal(ours, expected)


def test_erased_boxes_lie_inside_and_cover_the_stated_area() -> None:
    boxes = erased_boxes(torch.rand(4000, 10, 4, generator=torch.Generator().manual_seed(1)), 32, 48)
    top, left, height, width = boxes.unbind(1)
    assert bool(((height > 0) & (width > 0)).all())
    assert bool(((top >= 0) & (left >= 0) & (top + height <= 32) & (left + width <= 48)).all())
    assert int((top + height == 32).sum()) > 0
    shares = height * width / (32 * 48)
    assert float(shares.min()) > 0.015
    assert float(shares.max()) < 0.35
    assert float((height / width).min()) < 0.4
    assert float((height / width).max()) > 2.5


def test_an_image_too_small_to_erase_from_is_left_alone() -> None:
    x = torch.rand(5, 3, 1, 1) + 1
    assert torch.equal(erase(x, erased_boxes(torch.rand(5, 10, 4), 1, 1)), x)


def test_the_stated_share_of_images_is_erased() -> None:
    stage = BatchStage(Augmentation(erase=0.25), PLAIN, MEASURED, seed=1, batch_size=200)
    ones = torch.full_like(PIXELS, 255)
    erased = sum(int((stage(ones, step, everyone(200)) == 0).any((1, 2, 3)).sum()) for step in range(10))
    assert 420 < erased < 580


EVERYTHING = Augmentation(crop="pad", flip=0.5, colour_pca=0.1, erase=0.5)


@pytest.mark.parametrize(
    "augmentation",
    [
        EVERYTHING,
        Augmentation(crop="pad"),
        Augmentation(flip=0.5),
        Augmentation(colour_pca=0.1),
        Augmentation(erase=0.5),
    ],
)
def test_equal_steps_give_equal_batches_and_other_steps_others(augmentation: Augmentation) -> None:
    stage = BatchStage(augmentation, Preparation(), MEASURED, seed=1, batch_size=20)
    before = torch.get_rng_state()
    first, again, later = (stage(PIXELS[:20], step, everyone(20)) for step in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_image_left_out_changes_nothing_for_the_others() -> None:
    stage = BatchStage(EVERYTHING, Preparation(), MEASURED, seed=1, batch_size=20)
    kept = torch.tensor([0, 1, 5, 19])
    assert torch.equal(stage(PIXELS[kept], 3, kept), stage(PIXELS[:20], 3, everyone(20))[kept])


def test_the_mean_is_what_is_padded() -> None:
    augmentation, preparation = cifar_2015()
    pixels = (MEASURED.mean_image * 255).round().to(torch.uint8)[None] if MEASURED.mean_image is not None else PIXELS
    statistics = Statistics.from_tensors({**MEASURED.to_tensors(), "mean_image": pixels[0] / 255})
    stage = BatchStage(augmentation, preparation, statistics, seed=1, batch_size=8)
    assert bool((stage(pixels.expand(8, -1, -1, -1), 0, everyone(8)).abs() < 1e-6).all())
