"""Guesses of a class and a box, against a slow walk over them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepres.data.boxes import Boxes, BoxTargets
from deepres.tasks.detection.detections import Truth
from deepres.tasks.localisation.measure import first_classes, right, wrong


def _iou(one: list[float], other: list[float]) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(across, 0.0) * max(down, 0.0)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other)]
    return shared / (sum(areas) - shared)


box = st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 6), st.integers(1, 6)).map(
    lambda n: [float(n[0]), float(n[1]), float(n[0] + n[2]), float(n[1] + n[3])]
)
thing = st.tuples(box, st.integers(0, 2), st.booleans())


@pytest.mark.medium
@given(
    st.lists(st.tuples(st.lists(thing, max_size=3), st.lists(thing, min_size=3, max_size=3)), min_size=1, max_size=4)
)
@settings(max_examples=200, deadline=None)
def test_it_is_a_slow_walk_over_images_guesses_and_true_boxes(
    pictures: list[tuple[list[tuple[list[float], int, bool]], list[tuple[list[float], int, bool]]]],
) -> None:
    targets = BoxTargets.of(
        [
            Boxes.of([corners for corners, _, _ in there], [label for _, label, _ in there], [off for *_, off in there])
            for there, _ in pictures
        ]
    )
    guesses = [[(corners, label) for corners, label, _ in guessed] for _, guessed in pictures]
    found = right(
        torch.tensor([[label for _, label in row] for row in guesses]),
        torch.tensor([[corners for corners, _ in row] for row in guesses]),
        Truth.marked(targets),
    )
    slow = np.zeros(found.shape, dtype=bool)
    for picture, (there, _) in enumerate(pictures):
        for place, (corners, label) in enumerate(guesses[picture]):
            for true, of_class, ignored in there:
                slow[picture, place] |= not ignored and label == of_class and _iou(corners, true) >= 0.5
    assert found.tolist() == slow.tolist()
    for most in (1, 2, 5):
        assert wrong(found, most) == sum(not any(row[:most]) for row in slow.tolist())


def test_half_is_enough_and_no_box_is_none() -> None:
    truth = Truth.marked(BoxTargets.of([Boxes.of([[0, 0, 10, 10]], [7])]))
    boxes = torch.tensor([[[0, 0, 10, 5], [0, 0, 10, 4.9], [math.nan] * 4, [0, 0, 10, 10]]])
    assert right(torch.tensor([[7, 7, 7, 6]]), boxes, truth).tolist() == [[True, False, False, False]]


def test_a_picture_is_of_the_class_of_its_first_object_that_counts() -> None:
    one = [0, 0, 4, 4]
    targets = BoxTargets.of(
        [
            Boxes.of([one, one], [2, 1]),
            Boxes.of([], []),
            Boxes.of([one, one, one], [3, 0, 2], [True, False, False]),
            Boxes.of([one], [1], [True]),
        ]
    )
    assert first_classes(targets).tolist() == [2, -1, 0, -1]
    assert first_classes(targets[torch.tensor([2, 1])]).tolist() == [0, -1]


def test_stretching_both_axes_changes_nothing() -> None:
    draw = torch.Generator().manual_seed(0)
    low, sides = (torch.rand(40, 5, 2, generator=draw) * 30 + 1 for _ in range(2))
    boxes = torch.cat([low, low + sides], 2).double()
    corners = boxes[:, 0] + torch.rand(40, 4, generator=draw)
    stretch = torch.tensor([3.5, 0.25, 3.5, 0.25])
    classes = torch.zeros(40, 5, dtype=torch.int64)
    found = [
        right(classes, boxes * by, Truth.marked(BoxTargets.of([Boxes.of(own[None] * by, [0]) for own in corners])))
        for by in (torch.ones(4), stretch)
    ]
    assert torch.equal(*found)
    assert 0 < wrong(found[0], 1) < 40
