"""The pyramid between a backbone's maps and those that proposals and regions look at (Lin et al. 2017, section 3)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from deepres.arch.detector import EXTRA, Detector
from deepres.nn.build import modules


class Neck(nn.Module):
    """p_l = output(lateral(c_l) + upsampled(inner_(l+1))), and one level more by every second pixel of the last.

    A C4 has none: its map is passed on. Upsampling takes the nearest pixel.
    """

    def __init__(self, description: Detector) -> None:
        super().__init__()
        self.levels = 0
        if description.neck == "fpn":
            self.levels = len(description.taps)
            pairs = zip(description.maps.values(), description.levels, strict=False)
            for number, (given, gives) in enumerate(pairs, start=1):
                self.add_module(f"lateral{number}", modules(description.neck_parts["lateral"], given))
                self.add_module(f"output{number}", modules(description.neck_parts["output"], gives))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The taps' maps, the finest first -> those of the levels."""
        if not self.levels:
            return list(maps)
        found: list[Tensor] = []
        above: Tensor | None = None
        for number in range(self.levels, 0, -1):
            inner = self.get_submodule(f"lateral{number}")(maps[number - 1])
            if above is not None:
                inner = inner + F.interpolate(above, size=inner.shape[-2:], mode="nearest")
            above = inner
            found.insert(0, self.get_submodule(f"output{number}")(inner))
        return [*found, F.max_pool2d(found[-1], EXTRA.kernel, EXTRA.stride)]
