"""The few layers that torch lacks: parts side by side with a join, mean of columns, option A, blur, drop-path."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import reduce
from math import comb
from operator import add, mul

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepres.spec.algebra import Join


class Parallel(nn.Module):
    """y = act(join over the parts of part(pre(x))); a residual unit is y = act(branch(x) + shortcut(x)).

    The children are `pre`, the parts by their names, then `act`. One part alone is passed on as it is.
    """

    def __init__(self, pre: nn.Module, parts: "OrderedDict[str, nn.Module]", join: Join, act: nn.Module) -> None:
        super().__init__()
        self.pre = pre
        for name, part in parts.items():
            self.add_module(name, part)
        self.part_names = tuple(parts)
        self.join = join
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        x = self.pre(x)
        given = {name: self.get_submodule(name)(x) for name in self.part_names}
        y: Tensor = self.act(self._joined(given))
        return y

    def _joined(self, given: dict[str, Tensor]) -> Tensor:
        match self.join:
            case "concat":
                return torch.cat(list(given.values()), dim=1)
            case "multiply":
                return reduce(mul, given.values())
            case "mean":
                return reduce(add, given.values()) / len(given)
            case "add":
                return reduce(add, given.values())
            case "exclusive_gate" | "shortcut_gate":
                gate = given.pop("gate")
                if "shortcut" in given:
                    given["shortcut"] = (1 - gate) * given["shortcut"]
                if "branch" in given and self.join == "exclusive_gate":
                    given["branch"] = gate * given["branch"]
                return reduce(add, given.values())


class SameConv2d(nn.Conv2d):
    """TensorFlow's padding "same": H' = ceil(H / stride), of an odd number of zeros one more behind than before."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        pads: list[int] = []
        for place in (1, 0):
            side, stride = x.shape[2 + place], self.stride[place]
            total = (
                ((side + stride - 1) // stride - 1) * stride + self.dilation[place] * (self.kernel_size[place] - 1) + 1
            )
            pads += [(total - side) // 2, total - side - (total - side) // 2]
        return super().forward(F.pad(x, pads))


class ColumnMean(nn.Module):
    """The mean of columns that stand one behind the other; in training of those that drop-path keeps.

    `whole` is the column that alone is kept in this forward pass, counted from the deepest (0); None where each join
    draws for itself. `draw_columns` sets it.
    """

    def __init__(self, columns: int, local_drop: float, global_share: float) -> None:
        super().__init__()
        self.columns = columns
        self.local_drop = local_drop
        self.global_share = global_share
        self.whole: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, columns C, H, W) -> (N, C, H, W)."""
        given = x.chunk(self.columns, dim=1)
        kept = [given[place] for place in self._kept()] if self.training else given
        return reduce(add, kept) / len(kept)

    def _kept(self) -> Sequence[int]:
        if self.whole is not None:
            return (self.columns - 1 - self.whole,) if self.whole < self.columns else range(self.columns)
        if not self.local_drop:
            return range(self.columns)
        draws = torch.rand(self.columns, device="cpu").tolist()
        kept = [place for place, draw in enumerate(draws) if draw >= self.local_drop]
        return kept or (max(range(self.columns), key=draws.__getitem__),)


def draw_columns(joins: Sequence[ColumnMean]) -> None:
    """One draw for all joins of a network: does this batch keep a single column, and which (each equally likely)."""
    if any(join.training and join.global_share for join in joins):
        coin, place = torch.rand(2, device="cpu").tolist()
        whole = int(place * max(join.columns for join in joins))
        for join in joins:
            join.whole = whole if coin < join.global_share else None


class PadChannels(nn.Module):
    """Every `stride`-th pixel, and zeros behind the real channels, or `around` them (He et al. 2015, option A)."""

    def __init__(self, new_channels: int, stride: int, *, around: bool = False) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.before = new_channels // 2 if around else 0
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + new_channels, ceil(H / stride), ceil(W / stride))."""
        return F.pad(
            x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.new_channels - self.before)
        )


class MaskChannels(nn.Module):
    """The first `kept` channels, zeros in the others."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        return F.pad(x[:, : self.kept], (0, 0, 0, 0, 0, x.shape[1] - self.kept))


class Scale(nn.Module):
    """y = factor x."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> the same."""
        return self.factor * x


def binomial(size: int) -> Tensor:
    """The outer product of a row of Pascal's triangle with itself, sum 1: (size, size)."""
    row = torch.tensor([float(comb(size - 1, place)) for place in range(size)])
    return torch.outer(row, row) / row.sum() ** 2


class Blur(nn.Module):
    """Each channel filtered by the binomial kernel, reflected at the border, every `stride`-th pixel (Zhang 2019)."""

    weight: Tensor

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.register_buffer("weight", binomial(kernel), persistent=False)
        self.channels = channels
        self.stride = stride
        self.padding = ((kernel - 1) // 2, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        filters = self.weight.to(x.dtype).expand(self.channels, 1, *self.weight.shape)
        return F.conv2d(F.pad(x, self.padding * 2, mode="reflect"), filters, stride=self.stride, groups=self.channels)


class BatchDropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training b x, one coin b for the batch; in evaluation (1 - rate) x."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> the same."""
        if not self.training:
            return (1 - self.rate) * x
        return x * (torch.rand((), device="cpu") >= self.rate).to(x.device, x.dtype)


class CountDropPath(nn.Module):
    """In training x or 0 as `draw_branches` has drawn for this batch (`kept`, 1 or 0); in evaluation (1 - rate) x."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> the same."""
        if not self.training:
            return (1 - self.rate) * x
        assert self.kept is not None, "draw_branches comes first"
        return x * self.kept.to(x.device, x.dtype)


def draw_branches(paths: Sequence[CountDropPath]) -> None:
    """Which branches this batch has: exactly round((1 - rate) n) of the n, uniformly without replacement."""
    if any(path.training for path in paths):
        active = round((1 - paths[0].rate) * len(paths))
        kept = torch.zeros(len(paths), device="cpu")
        kept[torch.randperm(len(paths), device="cpu")[:active]] = 1
        for path, one in zip(paths, kept.unbind(), strict=True):
            path.kept = one


class SampleDropPath(nn.Module):
    """DropPath: in training b x / (1 - rate) with one coin b for each image, in evaluation x."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> the same."""
        if not self.training or not self.rate:
            return x
        coins = torch.rand(len(x), device=x.device) >= self.rate
        return x * (coins.to(x.dtype) / (1 - self.rate)).view(-1, *[1] * (x.dim() - 1))
