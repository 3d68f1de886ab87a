"""Resizing, cutting and frozen norms against torchvision's, bit by bit."""

import itertools

import pytest
import torch
from torchvision.ops import FrozenBatchNorm2d as TheirNorm
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from deepres.data.transforms import resizing
from deepres.data.transforms.resizing import central, resized
from deepres.nn.layers import FrozenBatchNorm2d

SIZES = [(1, 1), (7, 30), (40, 23), (64, 64), (100, 37)]


def _noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [True, False])
def test_resized_pictures_are_torchvisions(
    interpolation: str, antialias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = InterpolationMode(interpolation)
    for (height, width), channels, size in itertools.product(SIZES, (1, 3), ([16], [16, 16], [33, 20], [64])):
        for image in (_noise(channels, height, width), _noise(2, channels, height, width)):
            for laid in (image, image.movedim(-3, -1).contiguous().movedim(-1, -3)):
                wanted = functional.resize(laid, size, mode, antialias=antialias)
                assert torch.equal(resized(laid, size, interpolation, antialias=antialias), wanted)
    image = _noise(3, 40, 23)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")  # processors without whole numbers
    assert resizing._in_whole_numbers("bilinear") is (resizing.platform.machine() in ("aarch64", "arm64"))
    wanted = functional.resize(image, [30], mode, antialias=antialias)
    assert torch.equal(resized(image, [30], interpolation, antialias=antialias), wanted)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_one_pixel_is_near_the_mean_of_the_picture(interpolation: str) -> None:
    """There torchvision's call ends in an assertion of torch, for three channels: nothing bitwise to be equal to."""
    image = torch.cat([_noise(1, 36, 50) // 2, _noise(2, 36, 50)])
    found = resized(image, [1, 1], interpolation, antialias=True)
    alone = torch.cat([functional.resize(each[None], [1, 1], InterpolationMode(interpolation)) for each in image])
    assert found.shape == (3, 1, 1)
    assert (found.int() - alone.int()).abs().max() <= 1


def test_the_centre_is_torchvisions_also_of_smaller_pictures() -> None:
    for (height, width), side in itertools.product(SIZES, (1, 8, 23, 24, 40, 101)):
        image = _noise(3, height, width)
        assert torch.equal(central(image, side), functional.center_crop(image, [side]))


def test_frozen_norms_are_torchvisions() -> None:
    ours, theirs = FrozenBatchNorm2d(5, eps=1e-3), TheirNorm(5, eps=1e-3)
    draw = torch.Generator().manual_seed(0)
    state = {name: torch.rand(5, generator=draw) + 0.1 for name in ours.state_dict()}
    ours.load_state_dict(state)
    theirs.load_state_dict(state)
    x = torch.randn(2, 5, 4, 4, generator=draw)
    assert torch.equal(ours(x), theirs(x))
    assert list(ours.state_dict()) == list(theirs.state_dict())
