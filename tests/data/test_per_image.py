import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.v2 import functional

from deepres.base.errors import InputError
from deepres.data.decode import BadImageError
from deepres.data.rng import seeded
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.per_image import BAR_VALUE, SampleStage, fit, resize_short_side, with_channels

CROP = Preparation(fit="crop", resize=36, crop=32)


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    made = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8, generator=made)


@pytest.mark.parametrize(("height", "width"), [(50, 70), (70, 50), (33, 33), (12, 40), (1, 9), (36, 36)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [True, False])
def test_the_evaluation_crop_is_torchvisions(height: int, width: int, interpolation: str, antialias: bool) -> None:
    image, mode = picture(height, width), InterpolationMode(interpolation)
    fitted = fit(image, CROP.replace(interpolation=interpolation, antialias=antialias))
    assert torch.equal(fitted, v2.Compose([v2.Resize(36, mode, antialias=antialias), v2.CenterCrop(32)])(image))
    if interpolation == "bilinear":
        preset = ImageClassification(crop_size=32, resize_size=36, mean=(0.0,) * 3, std=(1.0,) * 3, antialias=antialias)
        torch.testing.assert_close(fitted / 255, preset(image), atol=1.001 / 255, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(50, 70), (70, 50), (12, 40)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_is_pillows_where_nothing_overshoots(height: int, width: int, interpolation: str) -> None:
    image = picture(height, width) // 2 + 64
    squashed = fit(image, Preparation(fit="squash", crop=32, interpolation=interpolation))
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    reference = functional.pil_to_tensor(functional.to_pil_image(image).resize((32, 32), method))
    torch.testing.assert_close(squashed.int(), reference.int(), atol=1, rtol=0)


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["crop", "squash", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
@given(height=st.integers(1, 90), width=st.integers(1, 90))
def test_every_fit_gives_the_networks_size(kind: str, channels: int, height: int, width: int) -> None:
    fitted = fit(picture(height, width), CROP.replace(fit=kind, channels=channels))
    assert fitted.shape == (channels, 32, 32)
    assert fitted.dtype == torch.uint8


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = picture(32, 32)
    for kind in ("crop", "squash", "pad", None):
        assert torch.equal(fit(image, Preparation(fit=kind, resize=32, crop=32)), image)


def test_bars_keep_the_whole_image() -> None:
    fitted = fit(picture(10, 20), Preparation(fit="pad", crop=40))
    inner = functional.resize(picture(10, 20), [20, 40], antialias=True)
    assert torch.equal(fitted[:, 10:30], inner)
    assert bool((fitted[:, :10] == BAR_VALUE).all())
    assert bool((fitted[:, 30:] == BAR_VALUE).all())


def test_grey_is_pillows_to_the_bit() -> None:
    image = picture(64, 64)
    pillow = v2.functional.pil_to_tensor(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L"))
    assert torch.equal(with_channels(image, 1), pillow)


def test_grey_becomes_colour_by_repetition() -> None:
    image = picture(4, 5, channels=1)
    assert torch.equal(with_channels(image, 3), image.repeat(3, 1, 1))
    assert torch.equal(with_channels(with_channels(image, 3), 1), image)


def test_other_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"cat.tif: 4 channels, wanted 1 \(grey\) or 3 \(RGB\)"):
        with_channels(picture(4, 4, channels=4), 3, "cat.tif")


def test_a_strip_that_would_fill_the_memory_is_refused() -> None:
    preparation = Preparation(fit="crop", resize=256, crop=224)
    with pytest.raises(BadImageError, match=r"strip\.png: 2000 x 1 px is too long a strip .* set preparation.fit=pad"):
        fit(picture(1, 2000), preparation, "strip.png")
    assert fit(picture(1, 2000), preparation.replace(fit="pad")).shape == (3, 224, 224)


@pytest.mark.medium
@given(height=st.integers(1, 60), width=st.integers(1, 60), place=st.integers(0, 1000))
def test_random_crops_have_the_networks_size(height: int, width: int, place: int) -> None:
    for crop in ("short_side", "random_resized"):
        stage = SampleStage(Augmentation(crop=crop, scale=(32, 60), flip=0.5), CROP, seed=1)
        assert stage(picture(height, width), place, "x").shape == (3, 32, 32)


@pytest.mark.medium
def test_short_sides_are_uniform_with_both_ends_and_crops_lie_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []

    def spy(image: Tensor, side: int, preparation: Preparation, name: str) -> Tensor:
        sides.append(side)
        resized = resize_short_side(image, side, preparation, name)
        assert min(resized.shape[-2:]) == side
        return resized

    monkeypatch.setattr("deepres.data.transforms.per_image.resize_short_side", spy)
    stage = SampleStage(Augmentation(crop="short_side", scale=(33, 36)), Preparation(fit="squash", crop=32), seed=1)
    marked = torch.full((3, 40, 50), 200, dtype=torch.uint8)
    for place in range(400):
        assert bool((stage(marked, place, "x") == 200).all())
    assert {side: sides.count(side) > 60 for side in set(sides)} == {33: True, 34: True, 35: True, 36: True}


@pytest.mark.medium
def test_a_crop_is_a_window_of_the_resized_image_or_of_its_mirror() -> None:
    stage = SampleStage(Augmentation(crop="short_side", scale=(10, 10), flip=0.5), Preparation(fit="squash", crop=8), 1)
    image = picture(10, 11)
    windows = {
        tuple(view[:, top : top + 8, left : left + 8].flatten().tolist())
        for view in (image, image.flip(-1))
        for top in range(3)
        for left in range(4)
    }
    seen = {tuple(stage(image, place, "x").flatten().tolist()) for place in range(400)}
    assert seen == windows


def test_random_resized_equals_torchvisions_under_the_same_draws() -> None:
    stage = SampleStage(Augmentation(crop="random_resized"), CROP, seed=1)
    image, reference = picture(50, 70), v2.RandomResizedCrop(32, antialias=True)
    for place in range(10):
        with seeded(1, "augment", place):
            expected = reference(image)
        assert torch.equal(stage(image, place, "x"), expected)


@pytest.mark.parametrize("auto", ["trivial", "rand", "auto", "augmix"])
@pytest.mark.parametrize("channels", [1, 3])
def test_automatic_augmentation_repeats_by_place_and_varies_between_places(auto: str, channels: int) -> None:
    stage = SampleStage(Augmentation(auto=auto), CROP.replace(channels=channels), seed=1)
    image = picture(40, 40)
    before = torch.get_rng_state()
    first = [stage(image, place, "x") for place in range(12)]
    again = [stage(image, place, "x") for place in range(12)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(first[0], other) for other in first[1:])
    assert all(view.shape == (channels, 32, 32) and view.dtype == torch.uint8 for view in first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_changes_colours_and_no_shape(channels: int) -> None:
    stage = SampleStage(Augmentation(jitter=0.4), CROP.replace(channels=channels), seed=1)
    image = picture(36, 36)
    views = [stage(image, place, "x") for place in range(3)]
    assert not torch.equal(views[0], views[1])
    assert views[0].shape == (channels, 32, 32)
