"""A whole batch at a time, on the training device: uint8 -> normalised float32, colour noise, shifts, flips, erasing.

Draws come from CPU generators, one for each purpose and step, for the whole batch as planned: an image left out changes
nothing for the others. N images, C channels, H rows, W columns.
"""

from dataclasses import replace
from math import log

import torch
from torch import Tensor
from torch.nn import functional as F

from deepres.base.errors import InputError
from deepres.data.on_device import on_device
from deepres.data.rng import generator
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.sides import only_inside
from deepres.data.transforms.statistics import Statistics

ERASED_AREA = (0.02, 0.33)  # share of the image, and aspect: Zhong et al. 2020, as in torchvision
ERASED_RATIO = (0.3, 3.3)
ERASE_TRIALS = 10
LUMA = (0.299, 0.587, 0.114)  # of ITU-R 601


def normalise(pixels: Tensor, preparation: Preparation, statistics: Statistics) -> Tensor:
    """uint8 (..., C, H, W) -> float32: x / 255, then as `Preparation.normalise` says.

    Raises:
        InputError: statistics of another number of channels, or a mean image of another size.
    """
    return normalised(_scaled(pixels), preparation, statistics)


def normalised(x: Tensor, preparation: Preparation, statistics: Statistics) -> Tensor:
    """Values in [0, 1], overwritten by what `Preparation.normalise` makes of them; errors as `normalise`."""
    if preparation.normalise == "none":
        return x
    if x.shape[-3] != len(statistics.mean):
        raise InputError(
            f"images of {x.shape[-3]} channels, statistics of {len(statistics.mean)}; set preparation.channels"
        )
    if preparation.normalise == "per_channel":
        return x.sub_(statistics.mean[:, None, None]).div_(statistics.std[:, None, None])
    if preparation.fit == "sides":  # pictures of any size
        statistics = statistics.at_size(x.shape[-2], x.shape[-1])
    image = statistics.mean_image
    if image is None or image.shape != x.shape[-3:]:
        given = "none" if image is None else f"{image.shape[-1]} x {image.shape[-2]}"
        raise InputError(
            f"preparation.normalise per_pixel: images of {x.shape[-1]} x {x.shape[-2]} px, mean image {given}; "
            f"give images of its size, or measure the statistics anew"
        )
    return x.sub_(image)


def as_seen(x: Tensor, preparation: Preparation, statistics: Statistics) -> Tensor:
    """float32 (..., C, H, W) -> uint8: `normalise` undone, as far as black and white allow."""
    if preparation.normalise == "per_channel":
        x = x * statistics.std[:, None, None] + statistics.mean[:, None, None]
    elif preparation.normalise == "per_pixel":
        if preparation.fit == "sides":
            statistics = statistics.at_size(x.shape[-2], x.shape[-1])
        assert statistics.mean_image is not None
        x = x + statistics.mean_image
    return (x * 255).round_().clamp_(0, 255).to(torch.uint8)


class BatchStage:
    """uint8 (N, C, H, W) of the network's size -> float32, normalised and augmented, for a step of the run."""

    def __init__(
        self,
        augmentation: Augmentation,
        preparation: Preparation,
        statistics: Statistics,
        *,
        seed: int,
        batch_size: int,
    ) -> None:
        self._augmentation = augmentation
        self._preparation = preparation
        self._statistics = statistics
        self._seed = seed
        self._batch_size = batch_size
        self._flips = not augmentation.sees_own_size and preparation.fit != "sides"  # else it was done one by one

    def __call__(self, pixels: Tensor, step: int, kept: Tensor, sizes: Tensor | None = None) -> Tensor:
        """`kept` int64 (N,): the images' places within the batch as planned (all, unless some were bad).

        `sizes` int64 (N, 2) are the (H, W) of pictures that are smaller than their canvas.
        """
        augmentation = self._augmentation
        x = _scaled(pixels)
        if augmentation.colour_pca:
            alphas = self._normal("colour", step)[kept] * augmentation.colour_pca
            x = add_colour(x, on_device(alphas, x.device), self._statistics)
        x = normalised(x, self._preparation, self._statistics)
        if augmentation.crop == "pad":
            x = shift(x, on_device(self.shifts(step, kept), x.device), augmentation.pad, augmentation.pad_fill)
        if augmentation.flip and self._flips:
            x = flip(x, on_device(self.flips(step, kept), x.device))
        if augmentation.erase:
            boxes = self._boxes(step, x.shape[-2], x.shape[-1])[kept]
            x = erase(x, on_device(boxes, x.device))
        return x if sizes is None else only_inside(x, sizes)

    def shifts(self, step: int, kept: Tensor) -> Tensor:
        """Rows and columns, 0 to 2 pad, at which padded images are cut: int64 (N, 2)."""
        return self._integers("shift", step, 2 * self._augmentation.pad + 1)[kept]

    def flips(self, step: int, kept: Tensor) -> Tensor:
        """Which images are mirrored: bool (N,)."""
        return self._uniform("flip", step)[kept] < self._augmentation.flip

    def _uniform(self, what: str, step: int, *shape: int) -> Tensor:
        return torch.rand(self._batch_size, *shape, generator=generator(self._seed, "batch", what, step))

    def _normal(self, what: str, step: int) -> Tensor:
        return torch.randn(self._batch_size, 3, generator=generator(self._seed, "batch", what, step))

    def _integers(self, what: str, step: int, end: int) -> Tensor:
        return torch.randint(end, (self._batch_size, 2), generator=generator(self._seed, "batch", what, step))

    def _boxes(self, step: int, height: int, width: int) -> Tensor:
        boxes = erased_boxes(self._uniform("erase", step, ERASE_TRIALS, 4), height, width)
        return boxes * (self._uniform("erased", step, 1) < self._augmentation.erase)


class PixelStage:
    """What `BatchStage` makes, by the same draws, in [0, 1]: what it fills with 0 has the mean colour here."""

    def __init__(
        self,
        augmentation: Augmentation,
        preparation: Preparation,
        statistics: Statistics,
        *,
        seed: int,
        batch_size: int,
    ) -> None:
        plain = preparation.normalise == "none"
        mean = torch.zeros_like(statistics.mean) if plain else statistics.mean
        centred = replace(statistics, mean=mean, std=torch.ones_like(mean), mean_image=None)
        preparation = preparation.replace(normalise="per_channel")
        self._stage = BatchStage(augmentation, preparation, centred, seed=seed, batch_size=batch_size)
        self._mean = mean[:, None, None]

    def __call__(self, pixels: Tensor, step: int, kept: Tensor, sizes: Tensor | None = None) -> Tensor:
        """As `BatchStage`."""
        return self._stage(pixels, step, kept, sizes).add_(self._mean)


def in_channels(x: Tensor, channels: int) -> Tensor:
    """`per_image.with_channels` for values in [0, 1], (..., C, H, W), unrounded."""
    if x.shape[-3] == channels:
        return x
    if channels == 3:
        return x.expand(*x.shape[:-3], 3, *x.shape[-2:])
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(-3, keepdim=True)


def add_colour(x: Tensor, alphas: Tensor, statistics: Statistics) -> Tensor:
    """x + sum_k alpha_k lambda_k p_k, one shift of all pixels per image (Krizhevsky et al. 2012, 4.1).

    `x` in [0, 1], (N, 3, H, W); `alphas` (N, 3); lambda and p are the eigenvalues and eigenvectors of the covariance of
    RGB values in [0, 1]. The paper does not say on which scale; in 0..255 its formula would add hundreds.
    """
    shifts = (alphas * statistics.eigenvalues) @ statistics.eigenvectors.T
    return x + shifts[:, :, None, None]


def shift(x: Tensor, offsets: Tensor, pad: int, fill: str) -> Tensor:
    """The H x W crop at `offsets` (N, 2) (rows, columns; 0..2 pad) of each image padded by `pad` on every side."""
    if fill == "reflect" and pad >= min(x.shape[-2:]):
        raise InputError(
            f"augmentation.pad {pad}: a reflection needs images above {pad} px, given {x.shape[-1]} x {x.shape[-2]}; "
            f"lower the pad, or set pad_fill=zero"
        )
    height, width = x.shape[-2:]
    padded = F.pad(x, (pad,) * 4, mode="constant" if fill == "zero" else "reflect")
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(x), device=x.device), :, offsets[:, 0], offsets[:, 1]]


def flip(x: Tensor, flips: Tensor) -> Tensor:
    """Left and right exchanged where `flips`, bool (N,), is true."""
    return torch.where(flips[:, None, None, None], x.flip(-1), x)


def erased_boxes(uniform: Tensor, height: int, width: int) -> Tensor:
    """Boxes (N, 4) int64: top, left, height, width, from numbers in [0, 1), (N, trials, 4).

    Area uniform in [0.02, 0.33] of the image, aspect log-uniform in [0.3, 3.3]; of the trials the first that is smaller
    than the image in both directions; empty (0, 0, 0, 0) where none is.
    """
    area = height * width * (ERASED_AREA[0] + uniform[..., 0] * (ERASED_AREA[1] - ERASED_AREA[0]))
    low, high = (log(ratio) for ratio in ERASED_RATIO)
    ratio = (low + uniform[..., 1] * (high - low)).exp()
    heights, widths = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    tops = (uniform[..., 2] * (height - heights + 1)).floor()
    lefts = (uniform[..., 3] * (width - widths + 1)).floor()
    valid = (heights < height) & (widths < width)
    boxes = torch.stack([tops, lefts, heights, widths], dim=-1) * valid[..., None]
    first = valid.to(torch.uint8).argmax(1)
    return boxes[torch.arange(len(boxes)), first].to(torch.int64)


def erase(x: Tensor, boxes: Tensor) -> Tensor:
    """0 (the mean, once normalised) inside each image's box; `boxes` int64 (N, 4): top, left, height, width."""
    top, left, height, width = (side[:, None] for side in boxes.unbind(1))
    rows, columns = torch.arange(x.shape[-2], device=x.device), torch.arange(x.shape[-1], device=x.device)
    in_rows, in_columns = (rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width)
    return x.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0.0)


def _scaled(pixels: Tensor) -> Tensor:
    assert pixels.dtype == torch.uint8
    return pixels.to(torch.float32).div_(255)
