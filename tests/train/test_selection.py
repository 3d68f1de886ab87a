"""Which epoch is kept: the rule against a slow one over all epochs, its bounds, and its sentence."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from deepres.tasks.validation import by_error
from deepres.train.selection import alike, choice_text, chosen
from deepres.train.state import Best


def wilson_high(wrong: int, images: int) -> float:
    """Wilson 1927, by hand."""
    z, p = norm.ppf(0.975), wrong / images
    middle = p + z**2 / (2 * images)
    return float((middle + z * np.sqrt(p * (1 - p) / images + z**2 / (4 * images**2))) / (1 + z**2 / images))


def epochs(wrong: list[int], images: int) -> tuple[Best | None, Best | None, list[dict[str, Any]]]:
    """What a run keeps of epochs with so many wrong of `images`, as the training loop does it, and its history."""
    best = kept = None
    rows = []
    for number, count in enumerate(wrong, 1):
        this = Best.of(number, 10 * number, by_error(count / images, 1.0, images))
        best = this if best is None or this.value < best.value else best
        kept = this if alike(best, this.value) else kept
        rows.append({"val_error": this.value, "val_loss": 1.0})
    return best, kept, rows


@pytest.mark.medium
@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_kept_as_they_come_is_the_last_within_the_interval_of_the_best_of_all(wrong: list[int]) -> None:
    best, kept, _ = epochs(wrong, 50)
    high = wilson_high(min(wrong), 50)
    assert best is not None
    assert kept is not None
    assert best.epoch == 1 + wrong.index(min(wrong))
    assert kept.epoch == max(number for number, count in enumerate(wrong, 1) if count / 50 <= high)


@pytest.mark.parametrize(
    ("images", "wrong", "auto"),
    [
        (50, [20, 2, 4, 5], 4),  # 2 of 50: up to 13.5 %
        (50, [20, 2, 4, 7], 3),
        (5000, [2000, 200, 400, 500], 2),  # the same shares of many more are told apart
        (10, [0, 2], 2),
        (10, [0, 3], 1),
        (1, [0, 0, 1], 2),  # 0 of 1: up to 79 %
        (50, [50, 50, 50], 3),
    ],
)
def test_few_images_tell_less_than_many(images: int, wrong: list[int], auto: int) -> None:
    best, kept, rows = epochs(wrong, images)
    picked = chosen("auto", best, kept)
    assert picked is not None
    assert picked.epoch == auto
    assert chosen("last", best, kept) is None
    assert chosen("best", best, kept) == best
    assert choice_text("last", best, kept, rows) == ""


def test_it_says_how_sure_the_choice_is() -> None:
    best, kept, rows = epochs([30, 10, 2, 4, 5, 9, 3, 3], 50)
    assert choice_text("auto", best, kept, rows) == (
        "epoch 8 of 8 is kept, the last of 5 that 50 held-out images cannot tell from the best, epoch 3: "
        "error 4.0 % (95 % interval 1.1 to 13.5 %); its own is 6.0 %"
    )
    assert choice_text("best", best, kept, rows) == (
        "epoch 3 of 8 is kept, the best on 50 held-out images: error 4.0 % (95 % interval 1.1 to 13.5 %), "
        "within which 5 of 8 epochs lie"
    )
    best, kept, rows = epochs([300, 20, 400], 500)
    assert choice_text("auto", best, kept, rows) == (
        "epoch 2 of 3 is kept, the best on 500 held-out images: error 4.0 % (95 % interval 2.6 to 6.1 %), "
        "which no other epoch reaches"
    )


def test_where_nothing_is_known_or_nothing_to_choose_it_is_silent_and_old_states_keep_their_best() -> None:
    best, kept, rows = epochs([3], 50)
    assert choice_text("auto", best, kept, rows) == ""
    assert choice_text("auto", None, None, rows * 2) == ""
    old = Best.of(2, 20, by_error(0.04, 1.0))
    assert chosen("auto", old, None) == old
    assert alike(old, 0.04)
    assert not alike(old, 0.0400001)
