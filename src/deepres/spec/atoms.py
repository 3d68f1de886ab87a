"""The smallest parts of a network: frozen records that know their output shape, and nothing of tensors.

A shape is (C, H, W) without the batch, or (C,) after the global pool. Channels that come in are never
written down: they are what the part before gives.
"""

from math import prod
from typing import Annotated, Literal

from pydantic import Field

from deepres.base.records import Record

Shape = tuple[int, ...]
Count = Annotated[int, Field(ge=1)]


class ShapeError(ValueError):
    """An atom cannot take the shape that it is given; the fold adds the dotted name."""


class Identity(Record):
    """y = x."""

    kind: Literal["identity"] = "identity"

    def output(self, given: Shape) -> Shape:
        """(...) -> the same."""
        return given


class Conv(Record):
    """y = w * x (+ b): cross-correlation, `channels` filters of kernel x kernel, zero padding on every side."""

    kind: Literal["conv"] = "conv"
    channels: Count
    kernel: Count
    stride: Count = 1
    padding: Annotated[int, Field(ge=0)] = 0
    dilation: Count = 1
    groups: Count = 1
    bias: bool = False

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (channels, H', W'), H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1."""
        channels, *size = _map(given, "a convolution")
        if channels % self.groups or self.channels % self.groups:
            raise ShapeError(
                f"{self.groups} groups divide {channels} input and {self.channels} output channels unevenly; "
                "choose groups that divide both"
            )
        window = self.dilation * (self.kernel - 1) + 1
        return (self.channels, *(_slide(side, window, self.stride, self.padding, given) for side in size))


class Norm(Record):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, per channel over the batch (Ioffe & Szegedy 2015).

    `momentum` is the weight of the newest batch in the running mean and variance that evaluation uses.
    """

    kind: Literal["norm"] = "norm"
    eps: Annotated[float, Field(gt=0)] = 1e-5
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> the same."""
        return _map(given, "a norm")


class Activation(Record):
    """y = max(0, x)."""

    kind: Literal["activation"] = "activation"
    function: Literal["relu"] = "relu"

    def output(self, given: Shape) -> Shape:
        """(...) -> the same."""
        return given


class MaxPool(Record):
    """The largest of each kernel x kernel window; padding counts as minus infinity."""

    kind: Literal["max_pool"] = "max_pool"
    kernel: Count
    stride: Count
    padding: Annotated[int, Field(ge=0)] = 0

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (C, H', W'), as a convolution's."""
        channels, *size = _map(given, "a pool")
        return (channels, *(_slide(side, self.kernel, self.stride, self.padding, given) for side in size))


class GlobalAveragePool(Record):
    """The mean of each channel's map."""

    kind: Literal["global_average_pool"] = "global_average_pool"

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (C,)."""
        return (_map(given, "the global pool")[0],)


class PadChannels(Record):
    """Option A of He et al. 2015, section 3.3: every `stride`-th pixel, and zeros for the channels that are new.

    The zeros stand behind the real channels, as in the re-implementation by Gross & Wilber 2016; other
    places differ by a permutation of channels only.
    """

    kind: Literal["pad_channels"] = "pad_channels"
    channels: Count
    stride: Count = 1

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (channels, ceil(H / stride), ceil(W / stride)), channels >= C."""
        channels, *size = _map(given, "an option-A shortcut")
        if channels > self.channels:
            raise ShapeError(
                f"an option-A shortcut cannot go from {channels} to {self.channels} channels, zeros only add; "
                "use a projection shortcut (option B)"
            )
        return (self.channels, *(-(-side // self.stride) for side in size))


class Dropout(Record):
    """In training y = x m / (1 - rate), m zero with probability `rate` for each element; in evaluation y = x."""

    kind: Literal["dropout"] = "dropout"
    rate: Annotated[float, Field(ge=0, lt=1)]

    def output(self, given: Shape) -> Shape:
        """(...) -> the same."""
        return given


class Linear(Record):
    """y = W x + b."""

    kind: Literal["linear"] = "linear"
    features: Count
    bias: bool = True

    def output(self, given: Shape) -> Shape:
        """(C,) -> (features,)."""
        if len(given) != 1:
            raise ShapeError(f"a linear layer takes (C,), given {given}; pool before it")
        return (self.features,)


Atom = Identity | Conv | Norm | Activation | MaxPool | GlobalAveragePool | PadChannels | Dropout | Linear


def elements(shape: Shape) -> int:
    """The number of values in one image's tensor of that shape."""
    return prod(shape)


def _map(given: Shape, what: str) -> tuple[int, int, int]:
    if len(given) != 3:
        raise ShapeError(f"{what} takes (C, H, W), given {given}; place it before the global pool")
    return given[0], given[1], given[2]


def _slide(side: int, window: int, stride: int, padding: int, given: Shape) -> int:
    room = side + 2 * padding - window
    if room < 0:
        raise ShapeError(f"a window of {window} does not fit {given} with padding {padding}; use a larger image")
    return room // stride + 1
