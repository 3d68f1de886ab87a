"""Values that no trained network has are refused, each in a line that names the tensor and how many are like it."""

import pytest
import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.nn.weights.sound import require_sound

WANTED = {"w": torch.zeros(3), "norm.running_var": torch.zeros(2), "n": torch.zeros((), dtype=torch.int64)}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"w": torch.zeros(3, dtype=torch.int8)}, "f: w is int8, wanted real numbers: quantized weights are not read"),
        ({"w": torch.tensor([1.0, torch.nan, torch.inf])}, "f: w has 2 of 3 values that are not finite"),
        ({"w": torch.tensor([1.0, 1e300, 0.0], dtype=torch.float64)}, "f: w has 1 of 3 values that are not finite"),
        ({"w": torch.zeros(3, device="meta")}, "f: w has no values"),
        ({"w": torch.zeros(3).to_sparse()}, "f: w is sparse"),
        ({"norm.running_var": torch.tensor([0.5, -0.25])}, r"has a negative variance \(-0.25\)"),
        ({"w": torch.full((3,), torch.nan), "norm.running_var": -torch.ones(2)}, "; 1 more tensors are like it;"),
    ],
)
def test_what_is_no_weight_is_named(given: dict[str, Tensor], told: str) -> None:
    with pytest.raises(InputError, match=told):
        require_sound(given, WANTED, "f")


def test_other_precisions_integers_where_they_belong_and_strangers_pass() -> None:
    half = {"w": torch.ones(3, dtype=torch.float16), "n": torch.tensor(7), "unknown": torch.full((2,), torch.nan)}
    require_sound(half, WANTED, "f")
