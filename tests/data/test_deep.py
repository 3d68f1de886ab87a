"""Values of more than 8 bits become 255 v / levels, rounded; what lies above white is white."""

import numpy as np
import pytest

from deepres.data.deep import to_8_bits


@pytest.mark.parametrize("levels", [4095, 65535, 1000])
def test_whole_numbers_are_rounded_as_exact_arithmetic_does(levels: int) -> None:
    values = np.array([0, 1, levels // 2, levels - 1, levels, levels + 1, 2 * levels], dtype=np.int64)
    exact = [min(255, (2 * 255 * int(v) + levels) // (2 * levels)) for v in values]
    assert np.abs(to_8_bits(values, levels).astype(int) - exact).max() <= 0
    assert to_8_bits(values, levels).dtype == np.uint8


def test_other_numbers_are_rounded_and_cut() -> None:
    assert to_8_bits(np.array([-1.0, 0.25, 0.5, 1.0, 7.0]), 1.0).tolist() == [0, 64, 128, 255, 255]
