"""The few layers that torch lacks: parts side by side with a join, and the option-A shortcut."""

from collections import OrderedDict
from functools import reduce
from operator import add
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Parallel(nn.Module):
    """y = act(join over the parts of part(x)); a residual unit is y = act(branch(x) + shortcut(x)).

    The children are the parts by their names, then `act`. One part alone is passed on as it is.
    """

    def __init__(self, parts: "OrderedDict[str, nn.Module]", join: Literal["add", "concat"], act: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.part_names = tuple(parts)
        self.join = join
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        given = [self.get_submodule(name)(x) for name in self.part_names]
        joined = torch.cat(given, dim=1) if self.join == "concat" else reduce(add, given)
        y: Tensor = self.act(joined)
        return y


class PadChannels(nn.Module):
    """Every `stride`-th pixel, and zeros behind the real channels (He et al. 2015, option A)."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + new_channels, ceil(H / stride), ceil(W / stride))."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))
