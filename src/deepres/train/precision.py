"""In which precision and memory layout a step runs: chosen from what the hardware is built for, and said."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepres.base.errors import unknown
from deepres.nn.hardware import best_layout, multiplies_bfloat16, require_float32
from deepres.train.config import TrainingPrecision


@dataclass(frozen=True)
class Precision:
    """`dtype` of convolutions and matrix products (weights and optimiser stay float32), and the layout of maps."""

    device: torch.device
    dtype: torch.dtype
    channels_last: bool

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which a forward pass and its loss run."""
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def place(self, network: nn.Module) -> nn.Module:
        """The network on the device, in the layout."""
        network = network.to(self.device)
        return network.to(memory_format=torch.channels_last) if self.channels_last else network

    def images(self, images: Tensor) -> Tensor:
        """A batch in the layout."""
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    @property
    def name(self) -> str:
        """`float32`, `bfloat16` or `float16`."""
        return str(self.dtype).removeprefix("torch.")

    def __str__(self) -> str:
        layout = "channels last" if self.channels_last else "channels first"
        return f"{self.name}, {layout}, on {self.device}"


def choose(choice: TrainingPrecision, device: torch.device, *, training: bool = True) -> Precision:
    """bfloat16 where the processor multiplies it in hardware, float32 elsewhere; the layout that is best there.

    float16 is taken where it is asked for, in training alone: GPUs without bfloat16 multiply it fast.

    Raises:
        InputError: another word than these four; float16 where nothing is trained.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "auto": None}
    if not training:
        del known["float16"]  # nothing scales what a network answers
    if choice not in known:
        raise unknown("precision", str(choice), known)
    dtype = known[choice] or (torch.bfloat16 if multiplies_bfloat16(device) else torch.float32)
    if dtype is torch.float32:
        require_float32(device)
    return Precision(device, dtype, best_layout(device) is torch.channels_last)
