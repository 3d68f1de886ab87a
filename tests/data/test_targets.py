"""What stands beside an image: cut, said, written and matched, for each form."""

import pytest
import torch

from deepres.base.errors import InputError
from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.targets import FORMS, form_of

NAMES = ("cat", "dog", "eel")
ONE = torch.tensor([0, 2, 1, 0])
SEVERAL = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]])
BOXES = BoxTargets.of([Boxes.of([(0, 0, 2, 3)], [1])])
NUMBERS = torch.tensor([[0.5, 1.0, 2.0], [0.25, 1.0, 3.0]], dtype=torch.float64)


def test_each_form_is_known_by_its_targets() -> None:
    assert [form_of(targets).name for targets in (ONE, SEVERAL, NUMBERS, BOXES)] == list(FORMS)


@pytest.mark.parametrize(
    ("targets", "words", "cells"),
    [
        (ONE, ["cat", "eel", "dog", "cat"], ["cat", "eel", "dog", "cat"]),
        (SEVERAL, ["cat", "cat; dog", "none", "cat; eel"], ["1 0 0", "1 1 0", "0 0 0", "1 0 1"]),
        (NUMBERS, ["cat 0.5, dog 1, eel 2", "cat 0.25, dog 1, eel 3"], ["0.5 1.0 2.0", "0.25 1.0 3.0"]),
    ],
)
def test_it_is_said_and_written(targets: torch.Tensor, words: list[str], cells: list[str]) -> None:
    form = form_of(targets)
    assert [form.words(one, NAMES) for one in targets] == words
    assert [" ".join(form.cells(one, NAMES)) for one in targets] == cells
    assert len(form.header(NAMES)) == len(form.cells(targets[0], NAMES))


def test_a_cut_of_several_classes_goes_by_the_rarest() -> None:
    targets = torch.zeros(40, 3)
    targets[:30, 0] = 1
    targets[:8, 1] = 1
    targets[38:, 2] = 1  # two images are no group to be cut
    groups, names = FORMS["classes"].strata(targets, NAMES)
    assert groups == [1] * 8 + [0] * 22 + [3] * 8 + [0] * 2
    assert names[3] == "images of no class"
    assert len(names) == len(NAMES) + 1


def test_numbers_are_cut_as_one_group() -> None:
    assert FORMS["numbers"].strata(NUMBERS, NAMES)[0] == [0, 0]


@pytest.mark.parametrize(
    ("targets", "names", "message"),
    [
        (torch.tensor([0, 0]), ("cat",), r"set: one class only \('cat'\), wanted at least two to tell apart"),
        (torch.tensor([0, 2]), NAMES, "set: class 'dog' has no image to train on"),
        (torch.tensor([[1.0, 0, 0]]), NAMES, r"set: class 'dog' \(and 1 more\) is on no image to train on"),
        (NUMBERS, NAMES, "set: column 'dog' is 1 for every image to train on, which leaves nothing to learn"),
    ],
)
def test_what_leaves_nothing_to_learn_is_refused(targets: torch.Tensor, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        form_of(targets).require_learnable(targets, names, "set")


def test_one_class_only_is_refused_of_one_class_an_image_alone() -> None:
    FORMS["classes"].require_learnable(torch.tensor([[1.0], [0.0]]), ("cat",), "set")
    FORMS["numbers"].require_learnable(NUMBERS[:, :1], ("age",), "set")


def test_names_in_another_order_are_matched_by_name() -> None:
    given, wanted = ("eel", "cat"), NAMES
    assert FORMS["class"].matched(torch.tensor([0, 1]), given, wanted).tolist() == [2, 0]
    assert FORMS["classes"].matched(torch.tensor([[1.0, 0.0]]), given, wanted).tolist() == [[0, 0, 1]]
    assert FORMS["numbers"].matched(NUMBERS, NAMES, ("eel", "cat")).tolist() == [[2.0, 0.5], [3.0, 0.25]]
    for form, have, want in (("class", NAMES, given), ("classes", NAMES, given), ("numbers", given, NAMES)):
        with pytest.raises(ValueError, match="dog"):
            FORMS[form].matched({"class": ONE, "classes": SEVERAL, "numbers": NUMBERS[:, :2]}[form], have, want)
