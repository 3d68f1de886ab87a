"""Boxes drawn on pictures."""

import numpy as np
import pytest
import torch

from deepres.data.box_drawing import COLOURS, as_tensor, drawn
from deepres.data.boxes import Boxes
from deepres.data.masks import Masks
from deepres.data.run_lengths import of_bitmap

GREY = torch.full((3, 400, 600), 128, dtype=torch.uint8)


def pixels(*given: object, **more: object) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(drawn(*given, **more))  # type: ignore[arg-type]


def colour(label: int) -> list[int]:
    return [int(COLOURS[label][at : at + 2], 16) for at in (1, 3, 5)]


def test_frames_lie_on_the_edges_of_their_boxes_in_the_colour_of_their_class() -> None:
    boxes = Boxes.of([[100, 150, 300, 350], [350, 100, 500, 300]], [0, 2])
    picture = pixels(GREY, boxes, ("a", "b", "c"))
    assert picture.shape == (400, 600, 3)
    for x, y, label in ((100, 250, 0), (299, 250, 0), (200, 349, 0), (350, 200, 2), (499, 299, 2)):
        assert picture[y, x].tolist() == colour(label)
    assert (picture[250, 200] == 128).all()
    assert (picture[250, 302] == 128).all()


def test_masks_lie_half_transparent_below_the_frames_and_the_surest_on_top() -> None:
    inside = np.zeros((2, 400, 600), bool)
    inside[0, 150:350, 100:200] = True
    inside[1, 200:300, 150:300] = True
    boxes = Boxes.of([[100, 150, 200, 350], [150, 200, 300, 300]], [0, 2], masks=Masks.of(list(map(of_bitmap, inside))))
    plain = pixels(GREY, Boxes.of(boxes.corners, boxes.classes), ("a", "b", "c"), (0.5, 0.9))
    picture = pixels(GREY, boxes, ("a", "b", "c"), (0.5, 0.9))
    first = [round(128 + (level - 128) / 2) for level in colour(0)]
    assert picture[340, 120].tolist() == pytest.approx(first, abs=1)
    both = [round(was + (level - was) / 2) for was, level in zip(first, colour(2), strict=True)]
    assert picture[250, 175].tolist() == pytest.approx(both, abs=1)
    elsewhere = ~inside.any(0)
    assert (picture[elsewhere] == plain[elsewhere]).all()
    assert picture[250, 299].tolist() == colour(2)


def test_ignored_boxes_are_dashed() -> None:
    whole, dashed = (
        pixels(GREY, Boxes.of([[100, 150, 300, 350]], [0], [ignored]), ("a",)) for ignored in (False, True)
    )
    edge = (whole[349, 100:300] == colour(0)).all(1).mean(), (dashed[349, 100:300] == colour(0)).all(1).mean()
    assert edge[0] == 1
    assert 0.3 < edge[1] < 0.7


@pytest.mark.parametrize("corners", [(0, 0, 600, 400), (0, 0, 5, 5), (595, 395, 600, 400), (-3, 0, 2, 2), (7, 7, 7, 7)])
def test_names_stay_on_the_picture_wherever_a_box_is(corners: tuple[int, ...]) -> None:
    picture = pixels(GREY, Boxes.of([corners], [1]), ("a", "a long name of a class"), [0.5])
    assert (picture == colour(1)).all(2).sum() > 1000  # the ground of its name


def test_names_do_not_cover_one_another() -> None:
    same = Boxes.of([[100, 150, 300, 350]] * 2, [0, 1])
    picture = pixels(GREY, same, ("one", "two"))
    assert min((picture == colour(label)).all(2).sum() for label in (0, 1)) > 200


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 1, 1), (1, 20, 5000), (3, 128, 128)])
def test_small_grey_and_long_pictures_are_drawn_on(shape: tuple[int, int, int]) -> None:
    picture = drawn(torch.zeros(shape, dtype=torch.uint8), Boxes.of([[0, 0, shape[2], shape[1]]], [0]), ("a",))
    assert picture.mode == "RGB"
    assert picture.width % shape[2] == picture.height % shape[1] == 0
    assert max(picture.size) <= max(4000, *shape)
    assert as_tensor(picture).shape == (3, picture.height, picture.width)


def test_without_boxes_it_is_the_picture() -> None:
    assert (pixels(GREY, Boxes.of([], []), ()) == 128).all()
