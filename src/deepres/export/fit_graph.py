"""Crop, squash and pad as tensors' arithmetic that any graph can hold: a picture of any size -> the network's square.

y = floor(M x + 1/2) twice, width first, each time cut to 0 … 255, as torch resizes uint8: row i of M has the filter's
weights around i, antialiased, in steps of 2^-p that 16 bits can hold. What is cut off is never computed.
"""

import torch
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.per_image import BAR_VALUE

LARGEST = 2**15
"""Of a side in px: up to it places are exact in 32 bits, as some runtimes count."""
_MOST_WEIGHT = 2**15 - 0.5
_MOST_BITS = 22


class FitGraph(nn.Module):
    """uint8 (N, C, H, W) -> uint8 (N, C, S, S), what `data.transforms.per_image.fit` does to pictures of C channels.

    Any H and W from 1 to 32,768 px.
    """

    def __init__(self, preparation: Preparation) -> None:
        super().__init__()
        size, resize = preparation.size, preparation.resize
        if size is None:
            raise InputError(
                "preparation without a size, so pictures of any size cannot be fitted; wanted --input fitted"
            )
        if not preparation.antialias:
            raise InputError("preparation.antialias False: is not in the graph of --input image; wanted --input fitted")
        self.fit, self.size, self.resize = preparation.fit, size, resize or size
        self.cubic = preparation.interpolation == "bicubic"
        self.floored = preparation.margins == "floored"

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, S, S)."""
        rows, columns = (torch.arange(side, device=image.device) for side in image.shape[-2:])
        height, width = rows[-1] + 1, columns[-1] + 1
        new_height, new_width = self._resized(height, width), self._resized(width, height)
        x = image.to(torch.float32)
        x = _rounded(x @ self._weights(columns, width, new_width).T)
        x = _rounded(self._weights(rows, height, new_height) @ x)
        if self.fit == "pad":
            inside = self._inside(new_height)[:, None] & self._inside(new_width)
            x = torch.where(inside, x, torch.full_like(x, BAR_VALUE))
        return x.to(torch.uint8)

    def _resized(self, side: Tensor, other: Tensor) -> Tensor:
        """What `side` becomes, () int64."""
        if self.fit == "squash":
            return torch.full_like(side, self.size)
        if self.fit == "crop":
            return self.resize * side // torch.minimum(side, other)
        longest = torch.maximum(side, other)
        twice = 2 * self.size * side + longest  # half to even, as Python rounds
        whole = twice // (2 * longest)
        tie = (whole * 2 * longest == twice) & (whole % 2 == 1)
        return (whole - tie.to(torch.int64)).clamp(min=1)

    def _before(self, new: Tensor) -> Tensor:
        """How many px of what is resized are left of the square; below 0, of bars."""
        if self.fit == "pad":
            return -((self.size - new) // 2)
        half, odd = (new - self.size) // 2, (new - self.size) % 2
        return half if self.floored else half + odd * (half % 2)

    def _inside(self, new: Tensor) -> Tensor:
        place = torch.arange(self.size, device=new.device) + self._before(new)
        return (place >= 0) & (place < new)

    def _weights(self, places: Tensor, old: Tensor, new: Tensor) -> Tensor:
        """M (S, old) float32; the filter's argument is a quotient of whole numbers, so that no place is off."""
        square = torch.arange(self.size, device=places.device) + self._before(new)
        rows = torch.cat([square, torch.zeros_like(square[:1])])[:, None]  # the outermost may have the largest weight
        away = (2 * places + 1) * new - (2 * rows + 1) * old
        distance = (away.to(torch.float32) / (2 * torch.maximum(old, new)).to(torch.float32)).abs()
        weights = _cubic(distance) if self.cubic else (1 - distance).clamp(min=0)
        there = (rows >= 0) & (rows < new)
        weights = torch.where(there, weights / torch.where(there, weights.sum(1, keepdim=True), 1.0), 0.0)
        bits = (torch.log2(_MOST_WEIGHT / weights.max()).ceil() - 1).clamp(max=_MOST_BITS)
        step = torch.exp2(bits)
        return (((weights.abs() * step + 0.5).floor() * weights.sign()) / step)[:-1]


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic with a = -1/2 of distances, at least 0 (Keys 1981)."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def _rounded(x: Tensor) -> Tensor:
    return (x + 0.5).floor().clamp(0, 255)
