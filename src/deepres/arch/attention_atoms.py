"""Atoms of attention over channels: a filter along them, sums and shares of groups of them."""

from typing import Annotated, Literal

from pydantic import Field

from deepres.arch.bounds import Count, OddKernel
from deepres.arch.shapes import Shape, ShapeError, map_of
from deepres.base.records import Record

Several = Annotated[int, Field(ge=2, le=64)]


class ChannelConv(Record):
    """y_c = sum over j of w_j x_(c + j), |j| <= (kernel - 1) / 2: one filter along the channels, zeros beyond them."""

    kind: Literal["channel_conv"] = "channel_conv"
    kernel: OddKernel

    def output(self, given: Shape) -> Shape:
        """(C, 1, 1) -> the same."""
        if given[1:] != (1, 1):
            raise ShapeError(f"a filter along the channels takes (C, 1, 1), given {given}; pool before it")
        return given


class GroupSum(Record):
    """y = x_1 + … + x_n over n = `parts` runs of equally many channels that stand one behind the other."""

    kind: Literal["group_sum"] = "group_sum"
    parts: Several

    def output(self, given: Shape) -> Shape:
        """(parts C, H, W) -> (C, H, W)."""
        channels, *size = map_of(given, "a sum of groups")
        return (channels // _divided(channels, self.parts), *size)


class GroupSoftmax(Record):
    """y_(r, g, c) = exp(x_(g, r, c)) / sum over s of exp(x_(g, s, c)): what each of `parts` is worth beside the others.

    Channels come in by group g, part r, c, as a convolution in `groups` gives them, and leave by part, group, c.
    Zhang et al. 2020 (arXiv 2004.08955), eq. 3.
    """

    kind: Literal["group_softmax"] = "group_softmax"
    parts: Several
    groups: Count = 1

    def output(self, given: Shape) -> Shape:
        """(groups parts C, 1, 1) -> the same."""
        if given[1:] != (1, 1):
            raise ShapeError(f"shares of groups of channels take (C, 1, 1), given {given}; pool before them")
        _divided(given[0], self.parts * self.groups)
        return given


def _divided(channels: int, parts: int) -> int:
    if channels % parts:
        raise ShapeError(f"{parts} parts share {channels} channels unevenly; give each the same number")
    return parts
