"""What is drawn on the host, on the training device, without waiting for what that still computes."""

import torch
from torch import Tensor


def on_device(drawn: Tensor, device: torch.device) -> Tensor:
    """The tensor there. To a GPU it goes through pinned memory: a copy from any other waits for the step before it."""
    if device.type == "cuda" and drawn.device.type == "cpu":
        return drawn.pin_memory().to(device, non_blocking=True)
    return drawn.to(device)
