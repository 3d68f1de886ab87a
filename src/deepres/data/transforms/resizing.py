"""Pictures resized, cut and padded as torchvision's transforms do, bit by bit; torchvision itself loads for seconds."""

import platform
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def resized(image: Tensor, size: Sequence[int], interpolation: str, *, antialias: bool) -> Tensor:
    """uint8 (..., C, H, W) of that (H, W), or of one number the short side, the long one rounded down.

    `interpolation` is bilinear or bicubic. As `torchvision.transforms.v2.functional.resize`: in whole numbers where
    the processor is built for that, else in float32, rounded to the nearest even.
    """
    *leading, channels, height, width = image.shape
    if len(size) == 1:
        short, long = sorted((height, width))
        longer = int(size[0] * long / short)
        size = (size[0], longer) if height <= width else (longer, size[0])
    new = (size[0], size[1])
    if new == (height, width):
        return image
    if not image.numel():
        return image.reshape(*leading, channels, *new)
    x = image.reshape(-1, channels, height, width)
    strides = x.stride()
    if x.is_contiguous(memory_format=torch.channels_last) and len(x) == 1 and x.numel() != strides[0]:
        x = x.as_strided(tuple(x.shape), (x.numel(), *strides[1:]))  # else what comes out would lie otherwise
    fast = (
        x.device.type == "cpu" and new != (1, 1) and _in_whole_numbers(interpolation)
    )  # torch fails an assertion there
    whole = x.dtype in (torch.float32, torch.float64) or fast
    found = F.interpolate(
        x if whole else x.float(), size=new, mode=interpolation, align_corners=False, antialias=antialias
    )
    if not whole:
        found = (found.clamp_(0, 255) if interpolation == "bicubic" else found).round_().to(x.dtype)
    return found.reshape(*leading, channels, *new)


def central(image: Tensor, side: int) -> Tensor:
    """The middle square of `side` px of (..., H, W), which black is put around where it is smaller."""
    height, width = image.shape[-2:]
    if side > height or side > width:
        across, down = max(0, side - width), max(0, side - height)
        image = F.pad(image, (across // 2, (across + 1) // 2, down // 2, (down + 1) // 2))
        height, width = image.shape[-2:]
    top, left = round((height - side) / 2), round((width - side) / 2)
    return image[..., top : top + side, left : left + side]


def _in_whole_numbers(interpolation: str) -> bool:
    fast = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or platform.machine() in ("aarch64", "arm64")
    return interpolation == "bicubic" or fast
