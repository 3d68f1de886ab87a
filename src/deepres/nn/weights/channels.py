"""Weights of RGB images for images of another number of channels: the stem as timm adapts it, mean and std likewise."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from deepres.arch.architecture import Architecture
from deepres.base.errors import InputError
from deepres.nn.build import build

RGB = 3


@lru_cache(maxsize=16)
def stems(description: Architecture) -> tuple[str, ...]:
    """The tensors whose shape hangs on the channels of the images: kernels (out, channels, h, w), most often one."""
    channels, *size = description.input
    other = description.replace(input=(channels + 1, *size))
    here, there = (build(net).state_dict() for net in (description, other))
    return tuple(name for name, tensor in here.items() if tensor.shape != there[name].shape)


def channels_of(tensors: Mapping[str, Tensor], description: Architecture) -> int | None:
    """Of how many channels the images were that weights, under the description's names, were trained on."""
    found = {tensors[name].shape[1] for name in stems(description) if name in tensors and tensors[name].dim() == 4}
    return found.pop() if len(found) == 1 else None


def adapted(tensors: Mapping[str, Tensor], description: Architecture, where: str) -> dict[str, Tensor]:
    """The tensors with kernels for the description's channels; as they are where they have them already.

    w'[:, 0] = sum over c of w[:, c] for one channel, so that a grey image answers as its RGB copy; for n channels
    w'[:, i] = w[:, i mod 3] * 3 / n. This is timm's `adapt_input_conv`.

    Raises:
        InputError: weights of grey images, or of other than RGB, for images of another number of channels.
    """
    channels, given = description.input[0], channels_of(tensors, description)
    if given is None or given == channels:
        return dict(tensors)
    if given != RGB:
        grey = "; or turn the images grey with --set preparation.channels=1" if given == 1 else ""
        raise InputError(
            f"{where}: weights of images of {given} channel{'s' * (given > 1)}, the network takes {channels}; only "
            f"those of RGB are known to serve others; wanted in_chans={given} (--set model.input={given},…){grey}"
        )
    return {**tensors, **{name: _kernels(tensors[name], channels) for name in stems(description)}}


def is_adapted(tensors: Mapping[str, Tensor], description: Architecture) -> bool:
    """Whether `adapted` changes these tensors."""
    return channels_of(tensors, description) not in (None, description.input[0])


def adapted_values(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A mean or a std of RGB for other channels: its average for one, repeated for more; others as they are."""
    if len(values) != RGB or channels == RGB:
        return values
    return (sum(values) / RGB,) if channels == 1 else tuple(values[place % RGB] for place in range(channels))


def adaptation_text(channels: int) -> str:
    """What `adapted` and `adapted_values` do, for a person to read."""
    if channels == 1:
        return "weights of RGB images for 1 channel: the first kernels summed over the colours, mean and std averaged"
    return (
        f"weights of RGB images for {channels} channels: the first kernels in turn, scaled by 3/{channels}, "
        "mean and std in turn"
    )


def _kernels(given: Tensor, channels: int) -> Tensor:
    whole = given.float()
    if channels == 1:
        return whole.sum(1, keepdim=True).to(given.dtype)
    places = torch.arange(channels) % RGB
    return (whole[:, places] * (RGB / channels)).to(given.dtype)
