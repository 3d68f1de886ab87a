"""Answers batch by batch: neither cuts nor order change what is there in the end; doubles and numbers that are none are refused."""

import pytest
import torch

from deepres.base.errors import InputError, RunError
from deepres.tasks.collected import Collected, require_finite


def test_any_cut_in_any_order_gives_the_same_columns() -> None:
    value, places = torch.rand(7, 2), torch.tensor([4, 0, 6, 2, 5, 1, 3])
    whole, one, other = Collected(), Collected(), Collected()
    whole.add(indices=places, value=value)
    other.add(indices=places[5:], value=value[5:])
    for cut in (slice(3, 5), slice(3)):
        one.add(indices=places[cut], value=value[cut])
    one.merge(other)
    assert whole.columns()["indices"].tolist() == list(range(7))
    assert torch.equal(whole.columns()["value"], value[places.argsort()])
    assert all(torch.equal(column, one.columns()[name]) for name, column in whole.columns().items())


def test_none_and_an_image_that_comes_twice_are_refused() -> None:
    with pytest.raises(InputError, match="no images were given"):
        Collected().columns()
    twice = Collected()
    twice.add(indices=torch.tensor([3, 1, 3]))
    with pytest.raises(InputError, match="image 3 was given more than once"):
        twice.columns()


def test_outputs_that_are_no_numbers_are_told_by_image() -> None:
    outputs = torch.zeros(4, 2)
    require_finite(outputs, torch.arange(4))
    outputs[1, 0], outputs[3, 1] = torch.nan, torch.inf
    with pytest.raises(RunError, match=r"the logits of 2 of 4 images are not finite \(image 11, 13\)"):
        require_finite(outputs, torch.arange(10, 14), "logits")
