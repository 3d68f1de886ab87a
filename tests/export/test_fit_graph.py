from typing import Any

import pytest
import torch

from deepres.base.errors import InputError
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.per_image import fit
from deepres.export.fit_graph import FitGraph

SIZES = [(37, 500), (500, 37), (1, 1), (56, 56), (75, 76), (300, 301), (3, 9), (57, 121)]


def _apart(preparation: Preparation, height: int, width: int) -> tuple[int, float]:
    draw = torch.Generator().manual_seed(height)
    x = torch.randint(0, 256, (1, preparation.channels, height, width), dtype=torch.uint8, generator=draw)
    found, wanted = FitGraph(preparation)(x), fit(x, preparation)
    assert found.shape == wanted.shape
    assert found.dtype == torch.uint8
    apart = (found.int() - wanted.int()).abs()
    return int(apart.max()), float((apart > 0).float().mean())


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "fields",
    [
        {"fit": "crop", "resize": 64},
        {"fit": "crop", "resize": 57, "margins": "floored"},
        {"fit": "squash"},
        {"fit": "pad"},
        {"fit": "pad", "channels": 1},
    ],
)
def test_it_is_the_fit_of_a_run_to_a_level(fields: dict[str, Any], interpolation: Any) -> None:
    preparation = Preparation(crop=56, interpolation=interpolation, **fields)
    for height, width in SIZES:
        levels, share = _apart(preparation, height, width)
        assert levels <= 1, (height, width)
        assert share <= 0.002, (height, width)


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(4000, 3000), (224, 224), (300, 301), (37, 500), (500, 37), (1, 1)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_at_the_size_of_imagenet(height: int, width: int, interpolation: Any) -> None:
    levels, share = _apart(Preparation(fit="crop", resize=256, crop=224, interpolation=interpolation), height, width)
    assert levels <= 2
    assert share <= 0.01


@pytest.mark.parametrize(
    ("preparation", "told"),
    [
        (Preparation(), "preparation without a size, .*--input fitted"),
        (Preparation(fit="crop", resize=9, crop=9, antialias=False), "antialias False: .*--input fitted"),
    ],
)
def test_what_no_graph_holds_is_refused(preparation: Preparation, told: str) -> None:
    with pytest.raises(InputError, match=told):
        FitGraph(preparation)
