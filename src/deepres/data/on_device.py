"""How tensors come to the device that computes, without waiting for it, and how sums in float64 are taken there."""

import torch
from torch import Tensor

from deepres.base.errors import InputError

NO_FLOAT64 = {"mps"}
"""Kinds of devices that have no float64: Apple's GPUs."""


def on_device(drawn: Tensor, device: torch.device) -> Tensor:
    """The tensor there. To a GPU it goes through pinned memory: a copy from any other waits for the step before it."""
    if device.type == "cuda" and drawn.device.type == "cpu":
        return drawn.pin_memory().to(device, non_blocking=True)
    return drawn.to(device)


def finer(x: Tensor) -> Tensor:
    """The tensor in float64, where it lies; on the CPU, where its device has none."""
    return (x.cpu() if x.device.type in NO_FLOAT64 else x).double()


def require_float64(device: torch.device) -> None:
    """Refuse a device without float64 for what is computed in it there: boxes, and how they move with the picture.

    Raises:
        InputError: it has none.
    """
    if device.type in NO_FLOAT64:
        raise InputError(
            f"--device {device}: boxes are moved in float64, which it lacks; leave --device out, or say cpu"
        )


def held_by(device: torch.device, x: Tensor) -> torch.device:
    """Where a tensor lies that is wanted on the device: the CPU for float64, where the device has none."""
    return torch.device("cpu") if x.dtype is torch.float64 and device.type in NO_FLOAT64 else device
