"""Boxes of objects, beside loops over single boxes."""

from typing import Any

import numpy as np
import pytest
import torch

from deepres.base.errors import InputError
from deepres.data.box_form import ObjectBoxes
from deepres.data.boxes import Boxes, BoxTargets

FORM, NAMES = ObjectBoxes(), ("car", "dog", "owl")


def some(seed: int = 0, number: int = 6, side: int = 100) -> list[Boxes]:
    draw = np.random.default_rng(seed)
    pictures = []
    for place in range(number):
        low = draw.uniform(0, side - 20, (place % 4, 2))
        corners = np.concatenate([low, low + draw.uniform(2, 20, low.shape)], 1)
        classes, ignored = draw.integers(0, 3, len(low)), draw.random(len(low)) < 0.3
        pictures.append(Boxes.of(corners, classes, ignored, draw.uniform(1, 99, len(low))))
    return pictures


def same(one: Boxes, other: Boxes) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in vars(one) if name != "masks")


@pytest.mark.parametrize(
    "places", [[3, 0, 3], [], slice(1, 5), slice(None, None, 1), torch.tensor([5, 4]), torch.arange(6) > 2, [-1]]
)
def test_places_of_a_batch_are_those_of_a_list(places: Any) -> None:
    pictures = some()
    whole = BoxTargets.of(pictures, ids=[7, 9, 11, 2, 5, 1], remarks=[[i, 2 * i, 0] for i in range(6)])
    found = whole[places]
    chosen = torch.arange(6)[places].tolist()
    assert len(found) == len(chosen)
    assert all(same(mine, pictures[place]) for mine, place in zip(found, chosen, strict=True))
    assert found.ids.tolist() == [[7, 9, 11, 2, 5, 1][place] for place in chosen]
    assert found.remarks[:, 1].tolist() == [2 * place for place in chosen]


def test_one_picture_is_asked_by_its_number_and_beyond_the_last_there_is_none() -> None:
    whole = BoxTargets.of(some())
    assert same(whole[-1], whole[5])
    with pytest.raises(IndexError):
        whole[6]
    assert len(list(whole)) == 6 == len(whole)
    assert BoxTargets.of([]).tolist() == []
    assert whole.to("cpu").tolist() == whole.tolist()


def test_boxes_move_as_points_do_are_clipped_and_small_ones_are_ignored() -> None:
    pictures = some(1)
    matrices = torch.tensor([[[-0.5, 0, 40.0], [0, 0.5, -3.0]]], dtype=torch.float64).expand(6, 2, 3)
    sizes = torch.tensor([[30, 40]]).expand(6, 2)  # (H, W)
    moved = BoxTargets.of(pictures).moved(matrices, sizes)
    for mine, given in zip(moved, pictures, strict=True):
        for row, (x1, y1, x2, y2) in enumerate(given.corners.double().tolist()):
            wanted = [
                min(max(40 - x2 / 2, 0), 40),
                min(max(y1 / 2 - 3, 0), 30),
                min(max(40 - x1 / 2, 0), 40),
                min(max(y2 / 2 - 3, 0), 30),
            ]
            assert mine.corners[row].tolist() == pytest.approx(wanted, abs=1e-5)
            small = wanted[2] - wanted[0] < 1 or wanted[3] - wanted[1] < 1
            assert bool(mine.ignored[row]) == (bool(given.ignored[row]) or small)
            assert float(mine.areas[row]) == pytest.approx(float(given.areas[row]) / 4)
    assert bool((moved.corners[:, :2] <= moved.corners[:, 2:]).all())
    assert bool(moved.ignored.any())


@pytest.mark.parametrize("corner", [(0, 0), (54, 0), (0, 38), (54, 38)])
def test_mirrored_twice_it_is_the_same_and_once_it_is_measured_from_the_other_side(corner: tuple[int, int]) -> None:
    x, y = corner
    given = Boxes.of([[x, y, x + 10, y + 10]], [0])
    mirror = torch.tensor([[-1.0, 0, 64], [0, 1, 0]], dtype=torch.float64)
    once = given.moved(mirror, (48, 64))
    assert once.corners.tolist() == [[64 - (x + 10), y, 64 - x, y + 10]]
    assert torch.equal(once.moved(mirror, (48, 64)).corners, given.corners)
    assert once.areas.tolist() == [100]


def test_a_cut_goes_by_the_rarest_class_and_few_go_with_the_many() -> None:
    on = [[0], [0, 1], [0, 1], [0, 1], [0, 1], [0, 2], [], [0], [0], [], [0], [0]]
    targets = BoxTargets.of([Boxes.of([[0, 0, 5, 5]] * len(labels), labels) for labels in on])
    groups, called = FORM.strata(targets, NAMES)
    assert groups == [0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]  # class 2 and the pictures without objects are too few
    assert called[-1] == "images without objects"
    assert FORM.counts(targets, NAMES) == [10, 4, 1]


def test_boxes_are_told_as_a_person_reads_them() -> None:
    boxes = Boxes.of([[0, 0, 5, 5]] * 4, [1, 1, 0, 1])
    assert FORM.words(boxes, NAMES) == "dog (3), car"
    assert FORM.words(Boxes.of([], []), NAMES) == "no object"
    assert FORM.on(boxes, NAMES) == ["car", "dog"]


def test_classes_are_matched_by_name() -> None:
    targets = BoxTargets.of([Boxes.of([[0, 0, 5, 5]] * 2, [0, 1])])
    assert FORM.matched(targets, NAMES, ("dog", "cat", "car")).classes.tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"^dog$"):
        FORM.matched(targets, NAMES, ("car", "owl"))


def test_pictures_of_which_none_has_an_object_teach_nothing() -> None:
    ignored = Boxes.of([[0, 0, 5, 5]], [0], [True])
    with pytest.raises(InputError, match="x: no object in any of 2 images to train on; nothing to learn from"):
        FORM.require_learnable(BoxTargets.of([ignored, Boxes.of([], [])]), NAMES, "x")
    FORM.require_learnable(BoxTargets.of([Boxes.of([[0, 0, 5, 5]], [2])]), ("a", "b", "c"), "x")
