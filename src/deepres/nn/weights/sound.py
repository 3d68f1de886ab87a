"""What tensors have to be before they are weights: real numbers, finite in float32, variances that are not negative."""

from collections.abc import Mapping

import torch
from torch import Tensor

from deepres.base.errors import InputError


def require_sound(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> None:
    """Refuse values that no trained network has; half, bfloat16 and double are converted as they are loaded.

    `wanted` has the network's tensors of the same names, by which what has to be a real number is known.

    Raises:
        InputError: the first tensor of integers (quantized weights), with a value that is not finite in the network's
            precision, or with a negative variance; and how many others are like it.
    """
    faults = {name: _fault(name, tensor, wanted[name]) for name, tensor in tensors.items() if name in wanted}
    found = {name: fault for name, fault in faults.items() if fault}
    if found:
        name, fault = next(iter(found.items()))
        others = f"; {len(found) - 1} more tensors are like it" if len(found) > 1 else ""
        raise InputError(f"{where}: {name} {fault}{others}; nothing was loaded, bring weights that are whole")


def _fault(name: str, given: Tensor, wanted: Tensor) -> str | None:
    if not wanted.is_floating_point():
        return None
    if not given.is_floating_point():
        kind = str(given.dtype).removeprefix("torch.")
        return f"is {kind}, wanted real numbers: quantized weights are not read, save them as float32"
    if given.is_meta or given.layout is not torch.strided:
        return "has no values" if given.is_meta else "is sparse, wanted all values"
    values = given.to(wanted.dtype)
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        return f"has {bad:,} of {values.numel():,} values that are not finite"
    if name.endswith("running_var") and bool((values < 0).any()):
        return f"has a negative variance ({float(values.min()):.4g})"
    return None
