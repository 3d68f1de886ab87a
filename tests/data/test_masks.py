"""Masks: pycocotools' pixels on real outlines; moved with their picture, rasterised where they end up."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as theirs

from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.masks import Masks, area, covered
from deepres.data.run_lengths import of_bitmap, read

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
MIRROR = torch.tensor([[-1.0, 0, 40], [0, 1, 0]], dtype=torch.float64)
TWICE = torch.tensor([[2.0, 0, 0], [0, 2, 0]], dtype=torch.float64)
CUT = torch.tensor([[1.0, 0, -7], [0, 1, -4]], dtype=torch.float64)
TURNED = torch.tensor([[0.0, -1, 30], [1, 0, 0]], dtype=torch.float64)
PARTS = (
    np.array([[3.2, 4.1], [18.7, 5.5], [15.1, 22.9], [6.0, 17.3]]),
    np.array([[22.0, 20.0], [35.5, 21.2], [28.4, 28.8]]),
)
SIZE = (30, 40)


def shapes_of(annotation: dict[str, Any], size: tuple[int, int]) -> Any:
    drawn = annotation["segmentation"]
    if isinstance(drawn, dict):
        return read(drawn)
    return tuple(np.array(part, dtype=np.float64).reshape(-1, 2) for part in drawn)


def theirs_of(annotation: dict[str, Any], height: int, width: int, scale: float = 1.0) -> Any:
    drawn = annotation["segmentation"]
    if isinstance(drawn, list):
        drawn = [[value * scale for value in part] for part in drawn]
    told = theirs.frPyObjects(drawn, height, width)
    return theirs.decode(told if isinstance(told, dict) else theirs.merge(told)).astype(bool)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("file", "number", "crowds"),
    [
        ("detection/fruits_nuts_coco/data/trainval.json", 165, 0),
        ("eval_fixtures/coco_val2014_100/instances_val2014_100.json", 839, 9),
    ],
)
def test_real_outlines_have_the_pixels_of_pycocotools(shared: Path, file: str, number: int, crowds: int) -> None:
    facts = json.loads((shared / "data" / file).read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in facts["images"]}
    assert len(facts["annotations"]) == number
    assert sum(isinstance(one["segmentation"], dict) for one in facts["annotations"]) == crowds
    for one in facts["annotations"]:
        height, width = size = sizes[one["image_id"]]
        masks = Masks.of([shapes_of(one, size)])
        assert (masks.bitmap(0, size) == theirs_of(one, height, width)).all()
        if isinstance(one["segmentation"], list):  # the polygon is scaled, not its pixels
            half = (round(height * 0.47), round(width * 0.47))
            smaller = masks.moved(torch.tensor([[0.47, 0, 0], [0, 0.47, 0]], dtype=torch.float64))
            assert (smaller.bitmap(0, half) == theirs_of(one, *half, scale=0.47)).all()


def test_a_mirror_moves_polygons_and_run_lengths_alike() -> None:
    polygons = Masks.of([PARTS])
    pixels = polygons.bitmap(0, SIZE)
    runs = Masks.of([of_bitmap(pixels)])
    assert (runs.moved(MIRROR).bitmap(0, SIZE) == pixels[:, ::-1]).all()
    assert (polygons.moved(MIRROR).bitmap(0, SIZE) != pixels[:, ::-1]).mean() < 0.02  # edges are drawn from one side
    assert (runs.moved(MIRROR).moved(MIRROR).bitmap(0, SIZE) == pixels).all()
    assert (polygons.moved(MIRROR).moved(MIRROR).bitmap(0, SIZE) == pixels).all()


def test_run_lengths_are_cut_enlarged_and_turned_exactly() -> None:
    pixels = np.random.default_rng(0).random(SIZE) > 0.5
    runs = Masks.of([of_bitmap(pixels)])
    assert (runs.moved(TWICE).bitmap(0, (60, 80)) == pixels.repeat(2, 0).repeat(2, 1)).all()
    assert (runs.moved(CUT).bitmap(0, (20, 25)) == pixels[4:24, 7:32]).all()
    assert (runs.moved(TURNED).bitmap(0, (40, 30)) == np.rot90(pixels, -1)).all()
    assert (runs.moved(CUT).moved(TWICE).bitmap(0, (40, 50)) == pixels[4:24, 7:32].repeat(2, 0).repeat(2, 1)).all()


def test_a_smaller_pixel_belongs_to_what_covers_half_of_it() -> None:
    draw = np.random.default_rng(1)
    pixels = draw.random((12, 12)) > 0.5
    found = covered(pixels, np.array([[1 / 3, 0, 0], [0, 1 / 3, 0]]), (4, 4))
    assert (found == (pixels.reshape(4, 3, 4, 3).mean((1, 3)) >= 0.5)).all()
    fine = pixels.repeat(7, 0).repeat(7, 1)  # cells of 7 x 7, of which 12 make a pixel of the result
    found = covered(pixels, np.array([[7 / 12, 0, 0], [0, 7 / 12, 0]]), (7, 7))
    assert (found == (fine.reshape(7, 12, 7, 12).mean((1, 3)) >= 0.5)).all()


def test_scaled_polygons_keep_what_scaled_pixels_lose() -> None:
    round_one = np.stack([20 + 9 * np.cos(np.arange(0, 6.28, 0.05)), 15 + 9 * np.sin(np.arange(0, 6.28, 0.05))], 1)
    thing = Masks.of([(round_one,)])
    large = thing.moved(TWICE).moved(TWICE).bitmap(0, (120, 160))
    coarse = thing.bitmap(0, SIZE).repeat(4, 0).repeat(4, 1)
    y, x = np.mgrid[:120, :160] + 0.5
    true = (x - 80) ** 2 + (y - 60) ** 2 <= 36**2
    assert (large != true).sum() * 4 < (coarse != true).sum()


def test_masks_are_chosen_joined_and_moved_with_their_boxes() -> None:
    runs = of_bitmap(np.ones(SIZE, bool))
    masks = Masks.of([PARTS, runs, ()])
    boxes = Boxes.of([[3, 4, 19, 23], [0, 0, 40, 30], [1, 1, 5, 5]], [0, 1, 2], masks=masks)
    targets = BoxTargets.of([boxes, Boxes.of([], []), boxes[1:]])
    assert targets.masks is not None
    assert targets.masks.shapes == (PARTS, runs, (), runs, ())
    chosen = targets[[2, 0]]
    assert chosen.masks is not None
    assert chosen.masks.shapes == (runs, (), PARTS, runs, ())
    last = targets[2].masks
    assert last is not None
    assert last.shapes == (runs, ())
    assert not last.bitmap(1, SIZE).any()
    assert boxes[torch.tensor([True, False, True])].masks.shapes == (PARTS, ())  # type: ignore[union-attr]
    assert len(targets.joined(BoxTargets.of([Boxes.of([], [])])).masks or ()) == 5  # without objects, without masks
    assert targets.joined(BoxTargets.of([Boxes.of([[0, 0, 1, 1]], [0])])).masks is None
    moved = boxes.moved(MIRROR, SIZE)
    assert moved.masks is not None
    assert torch.equal(moved.corners[0], torch.tensor([21.0, 4, 37, 23]))
    assert (moved.masks.bitmap(0, SIZE) == masks.moved(MIRROR).bitmap(0, SIZE)).all()
    assert BoxTargets.of([boxes, boxes]).renumbered(torch.tensor([2, 1, 0])).masks is not None


def test_the_area_of_a_polygon() -> None:
    assert area(np.array([[0.0, 0], [4, 0], [4, 3]])) == 6
    assert area(np.array([[0.0, 0], [4, 0], [2, 0]])) == 0
