"""Residual units: y = act(shortcut(x) + branch(x)), basic and bottleneck, with the shortcuts of He et al. 2015."""

from typing import Literal

from deepres.spec.algebra import Node, Parallel, Sequence
from deepres.spec.atoms import Activation, Conv, Identity, Norm, PadChannels

Shortcut = Literal["none", "A", "B", "C"]
"""none: a plain network. A: identity, zeros for new channels. B: projection where the shape changes, identity
elsewhere. C: projection everywhere (He et al. 2015, section 4.1)."""


def conv3x3(channels: int, stride: int = 1, groups: int = 1) -> Conv:
    """A 3x3 convolution that keeps the size at stride 1."""
    return Conv(channels=channels, kernel=3, stride=stride, padding=1, groups=groups)


def conv1x1(channels: int, stride: int = 1) -> Conv:
    """A 1x1 convolution."""
    return Conv(channels=channels, kernel=1, stride=stride)


def basic_branch(width: int, stride: int) -> Sequence:
    """Two 3x3 convolutions, each with its norm, one ReLU between (Fig. 2 and Fig. 5 left)."""
    return Sequence(
        parts={
            "conv1": conv3x3(width, stride),
            "norm1": Norm(),
            "act1": Activation(),
            "conv2": conv3x3(width),
            "norm2": Norm(),
        }
    )


def bottleneck_branch(width: int, channels: int, stride: int, stride_on: Literal["1x1", "3x3"]) -> Sequence:
    """1x1 down to `width`, 3x3, 1x1 up to `channels` (Fig. 5 right).

    `stride_on` is the layer that subsamples: the first 1x1 as in the paper, or the 3x3 ("v1.5").
    """
    first, second = (stride, 1) if stride_on == "1x1" else (1, stride)
    return Sequence(
        parts={
            "conv1": conv1x1(width, first),
            "norm1": Norm(),
            "act1": Activation(),
            "conv2": conv3x3(width, second),
            "norm2": Norm(),
            "act2": Activation(),
            "conv3": conv1x1(channels),
            "norm3": Norm(),
        }
    )


def shortcut(option: Shortcut, given: int, channels: int, stride: int) -> Node | None:
    """The shortcut from `given` to `channels` channels under an option; None for a plain network."""
    changes = given != channels or stride != 1
    if option == "none":
        return None
    if option == "C" or (option == "B" and changes):
        return Sequence(parts={"conv": conv1x1(channels, stride), "norm": Norm()})
    return PadChannels(channels=channels, stride=stride) if changes else Identity()


def residual(branch: Node, shortcut: Node | None) -> Parallel:
    """y = relu(shortcut(x) + branch(x)), eq. (1) and (2); without a shortcut y = relu(branch(x))."""
    parts = {"branch": branch} if shortcut is None else {"branch": branch, "shortcut": shortcut}
    return Parallel(parts=parts, act=Activation())
