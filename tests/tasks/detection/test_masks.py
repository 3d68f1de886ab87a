"""What is learnt of a mask within a box, pasted back, lies where the object lies; torchvision's way is as torchvision's."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image, project_masks_on_boxes

from deepres.data.masks import Masks
from deepres.data.run_lengths import of_bitmap
from deepres.tasks.detection.masks import INSIDE, pasted, runs_of, wanted

DIAMETERS = (20, 21, 33, 64, 120, 300, 600)


def disc(diameter: int, at: tuple[float, float] = (9, 12)) -> tuple[Any, Tensor]:
    """Pixels whose middles lie in a disc, and its box."""
    size = (diameter + 25, diameter + 31)
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    radius = diameter / 2
    inside = (x - at[0] - radius) ** 2 + (y - at[1] - radius) ** 2 <= radius**2
    return inside, torch.tensor([[*at, at[0] + diameter, at[1] + diameter]], dtype=torch.float64)


def centre(pixels: Any) -> Any:
    y, x = np.nonzero(pixels)
    return np.array([x.mean(), y.mean()]) + 0.5


def back(pixels: Any, box: Tensor, *, aligned: bool) -> Any:
    masks = Masks.of([of_bitmap(pixels)])
    target = wanted(masks, box, torch.tensor([0]), pixels.shape, 28, aligned=aligned)
    return next(runs_of(target, box, pixels.shape, aligned=aligned)).bitmap()


def overlap(one: Any, other: Any) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("diameter", DIAMETERS)
def test_a_disc_pasted_back_lies_where_it_lay(diameter: int) -> None:
    pixels, box = disc(diameter)
    found = back(pixels, box, aligned=True)
    assert overlap(found, pixels) >= 0.99
    assert np.abs(centre(found) - centre(pixels)).max() < 0.05


@pytest.mark.parametrize("diameter", DIAMETERS[:-1])
def test_torchvisions_way_is_half_a_pixel_off(diameter: int) -> None:
    pixels, box = disc(diameter)
    found = back(pixels, box, aligned=False)
    assert overlap(found, pixels) < overlap(back(pixels, box, aligned=True), pixels)
    assert 0.3 < np.abs(centre(found) - centre(pixels)).max() < 0.7


def test_a_rectangle_fills_its_box() -> None:
    pixels = np.zeros((90, 120), bool)
    pixels[11:71, 20:97] = True
    found = back(pixels, torch.tensor([[20.0, 11, 97, 71]]), aligned=True)
    assert overlap(found, pixels) > 0.998


def test_targets_and_pasting_not_aligned_are_torchvisions() -> None:
    draw = np.random.default_rng(0)
    shapes = [of_bitmap(draw.random((60, 80)) > 0.5), of_bitmap(disc(33)[0][:60, :80].copy())]
    masks = Masks.of([*shapes, (np.array([[5.0, 5], [70, 9], [33, 51]]),)])
    size = masks.shapes[1].size  # type: ignore[union-attr]
    masks = Masks.of([shapes[1], masks.shapes[2]])
    low = torch.rand(12, 2, dtype=torch.float64) * torch.tensor([size[1], size[0]]) * 0.6
    boxes = torch.cat([low, low + 3 + torch.rand(12, 2, dtype=torch.float64) * 30], 1)
    matched = torch.arange(12) % 2
    whole = torch.stack([torch.from_numpy(masks.bitmap(place, size)) for place in range(2)])
    known = project_masks_on_boxes(whole.to(torch.uint8), boxes, matched, 28)
    assert torch.equal(wanted(masks, boxes, matched, size, 28, aligned=False), known)
    values = torch.rand(12, 28, 28, dtype=torch.float64)
    theirs = paste_masks_in_image(values[:, None], boxes, size)[:, 0]
    assert torch.equal(pasted(values, boxes, size, aligned=False), theirs)
    runs = list(runs_of(values, boxes, size, aligned=False))
    assert all((one.bitmap() == (own >= INSIDE).numpy()).all() for one, own in zip(runs, theirs, strict=True))


def test_boxes_at_the_border_outside_and_without_width_are_pasted() -> None:
    boxes = torch.tensor([[-5.0, -5, 10, 10], [30, 10, 45, 25], [7, 7, 7, 7], [100, 100, 120, 120]])
    for aligned in (True, False):
        inside = boxes[:2] if not aligned else boxes
        found = pasted(torch.ones(len(inside), 28, 28), inside, (20, 40), aligned=aligned)
        assert found.shape == (len(inside), 20, 40)
        assert bool(found.isfinite().all())
    assert (pasted(torch.ones(4, 28, 28), boxes, (20, 40), aligned=True) >= INSIDE).sum((1, 2)).tolist() == [
        100,
        100,
        0,
        0,
    ]
    assert list(runs_of(torch.ones(0, 28, 28), boxes[:0], (20, 40), aligned=True)) == []


def test_regions_without_objects_want_nothing() -> None:
    none = wanted(Masks.of([]), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (20, 20), 28, aligned=True)
    assert none.shape == (0, 28, 28)


def test_what_is_pasted_within_its_box_is_what_the_whole_picture_says() -> None:
    """Random values, also of 1, in boxes that leave the picture, lie between pixels, or hold none."""
    dice = torch.Generator().manual_seed(3)
    values = torch.rand(60, 28, 28, generator=dice, dtype=torch.float64)
    values[::3] = 1
    low = torch.rand(60, 2, generator=dice, dtype=torch.float64) * 80 - 20
    corners = torch.cat([low, low + torch.rand(60, 2, generator=dice, dtype=torch.float64) * 40], 1)
    corners[::2] = corners[::2].round() + 0.5
    corners[-1] = torch.tensor([500.0, 500, 520, 530])
    whole = pasted(values, corners, (40, 60), aligned=True) >= INSIDE
    found = [runs.bitmap() for runs in runs_of(values, corners, (40, 60), aligned=True)]
    assert np.array_equal(np.stack(found), whole.numpy())
    assert whole.any()
