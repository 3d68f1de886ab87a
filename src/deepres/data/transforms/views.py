"""Which pictures of an image a network is shown in evaluation: whole or cut, at one short side or at several."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.per_image import resize_short_side, with_channels
from deepres.data.transforms.resizing import central

ViewCut = Literal["centre", "corners", "whole"]
MOST_PIXELS_AT_ONCE = 2**25
"""Of the pictures of one task, as far as they are squares: 33 images at the paper's five scales, 250 at 224 px."""


class Views(Record):
    """The image at each short side of `sides`, from the first on, and of each what `cut` takes.

    "centre": the central `crop` x `crop`; "corners": the four corners and the centre, of that size, cut from the whole
    resized image as torchvision's FiveCrop does; "whole": all of it, so that sizes differ.
    Resizing is the preparation's; images that it keeps as they are (fit None) are never enlarged.
    """

    sides: tuple[int, ...] = Field(min_length=1)
    cut: ViewCut
    crop: int | None = None
    where: str = "showing"  # names the protocol in an error

    @property
    def num_pictures(self) -> int:
        """Of each image."""
        return len(self.sides) * (5 if self.cut == "corners" else 1)

    def at_once(self, batch_size: int) -> int:
        """How many images a task of at most `batch_size` has, so that their pictures fit into memory."""
        pixels = sum(side * side if self.crop is None else self.crop * self.crop for side in self.sides)
        each = pixels * (5 if self.cut == "corners" else 1)
        return max(1, min(batch_size, MOST_PIXELS_AT_ONCE // each))

    def pictures(self, image: Tensor, preparation: Preparation, name: str = "image") -> tuple[Tensor, ...]:
        """uint8 (..., C, H, W) -> `num_pictures` tensors uint8 (..., C, h, w).

        Raises:
            InputError: an image that is kept as it is would have to be enlarged.
            BadImageError: so long a strip that its resized form would fill the memory.
        """
        image = with_channels(image, preparation.channels, name)
        shown: list[Tensor] = []
        for side in self.sides:
            height, width = image.shape[-2:]
            if preparation.fit is None and side > min(height, width):
                raise InputError(
                    f"protocol {self.where}: wants a short side of {side} px, {name} has {width} x {height} and these "
                    "weights take images as they are; use center or flip, or name sizes within the image"
                )
            resized = resize_short_side(image, side, preparation, name) if side != min(height, width) else image
            shown.extend(self._cut(resized))
        return tuple(shown)

    def _cut(self, resized: Tensor) -> list[Tensor]:
        if self.cut == "whole":
            return [resized]
        assert self.crop is not None
        if self.cut == "centre":
            return [central(resized, self.crop)]
        from torchvision.transforms.v2 import functional

        return list(functional.five_crop(resized, [self.crop, self.crop]))
