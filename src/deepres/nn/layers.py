"""The few layers that torch lacks: parts side by side, filters along channels, option A, blur, drop-path, frozen norms.

What is drawn at random is drawn by operations on tensors of the pass, on its device, from torch's own generator.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import reduce
from math import comb
from operator import add, mul

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepres.arch.algebra import Feed, Join


class FrozenBatchNorm2d(nn.Module):
    """y = w (x - mean) / sqrt(var + eps) + b with four buffers that nothing learns; as torchvision's, bit by bit."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            value = torch.ones if name in ("weight", "running_var") else torch.zeros
            self.register_buffer(name, value(num_features))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}"


class Parallel(nn.Module):
    """y = act(join over the parts of part(pre(x))); a residual unit is y = act(branch(x) + shortcut(x)).

    The children are `pre`, the parts by their names, then `act`. One part alone is passed on as it is. `feed` "groups"
    and "chain" give each part its own channels (`algebra.Parallel`).
    """

    def __init__(
        self, pre: nn.Module, parts: "OrderedDict[str, nn.Module]", join: Join, act: nn.Module, feed: Feed = "all"
    ) -> None:
        super().__init__()
        self.pre = pre
        for name, part in parts.items():
            self.add_module(name, part)
        self.part_names = tuple(parts)
        self.join = join
        self.feed = feed
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        x = self.pre(x)
        y: Tensor = self.act(self._joined(self._parts(x)))
        return y

    def _parts(self, x: Tensor) -> dict[str, Tensor]:
        """What each part gives."""
        if self.feed == "all":
            return {name: self.get_submodule(name)(x) for name in self.part_names}
        given: dict[str, Tensor] = {}
        before: Tensor | None = None
        for name, group in zip(self.part_names, x.chunk(len(self.part_names), dim=1), strict=True):
            if before is not None and self.feed == "chain" and name != self.part_names[-1]:
                group = group + before
            before = given[name] = self.get_submodule(name)(group)
        return given

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


class ChannelConv(nn.Conv1d):
    """One filter along the channels, zeros beyond them, without a bias; as timm's ECA has it."""

    def __init__(self, kernel: int) -> None:
        super().__init__(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, 1, 1) -> the same."""
        return super().forward(x.flatten(1)[:, None]).flatten(1)[..., None, None]


class GroupSum(nn.Module):
    """y = x_1 + … + x_n over n = `parts` runs of channels that stand one behind the other."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        """(N, parts C, H, W) -> (N, C, H, W)."""
        return x.reshape(-1, self.parts, x.shape[1] // self.parts, *x.shape[2:]).sum(1)


class GroupSoftmax(nn.Module):
    """Shares of `parts` within each of `groups`: channels by group, part, c -> by part, group, c."""

    def __init__(self, parts: int, groups: int) -> None:
        super().__init__()
        self.parts = parts
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, 1, 1) -> the same."""
        each = x.shape[1] // (self.parts * self.groups)
        shares = x.reshape(-1, self.groups, self.parts, each).transpose(1, 2).softmax(1)
        return shares.reshape(-1, x.shape[1], 1, 1)


class ColumnMean(nn.Module):
    """The mean of columns that stand one behind the other; in training of those that drop-path keeps.

    `shared` is what the whole network draws for a pass (`draw_columns`): uniform numbers (2,), by which all joins keep
    one column alone or each draws for itself; None: each does. Draws are operations on tensors within the pass, so
    that a traced, compiled or copied network draws anew each time, as this one does.
    """

    def __init__(self, columns: int, local_drop: float, global_share: float) -> None:
        super().__init__()
        self.columns = columns
        self.local_drop = local_drop
        self.global_share = global_share
        self.most = columns
        self.shared: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, columns C, H, W) -> (N, C, H, W)."""
        chunks = x.chunk(self.columns, dim=1)
        given = [chunks[place] for place in range(self.columns)]
        shared = self.shared if self.global_share else None
        if not self.training or (shared is None and not self.local_drop):
            return reduce(add, given) / self.columns
        kept = self._kept(x, shared)
        weights = (kept / kept.sum()).to(x.dtype)
        return reduce(add, [weights[place] * given[place] for place in range(self.columns)])

    def _kept(self, x: Tensor, shared: Tensor | None) -> Tensor:
        """1 for each column that this pass keeps, 0 for the others: float32 (columns,)."""
        draws = x.new_empty((self.columns,), dtype=torch.float32).uniform_()
        local = ((draws >= self.local_drop) | (draws == draws.max())).float()
        if shared is None:
            return local
        whole = (shared[1] * self.most).floor().clamp(max=self.most - 1)  # counted from the deepest column
        place = self.columns - x.new_ones((self.columns,), dtype=torch.float32).cumsum(0)
        alone = ((place == whole) | (whole >= self.columns)).float()
        return torch.where(shared[0] < self.global_share, alone, local)


def draw_columns(joins: Sequence[ColumnMean], x: Tensor) -> None:
    """One draw for all joins of a network: does this pass of `x` keep a single column, and which (equally likely)."""
    if any(join.training and join.global_share for join in joins):
        shared = x.new_empty((2,), dtype=torch.float32).uniform_()
        for join in joins:
            join.most, join.shared = max(other.columns for other in joins), shared


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
        return x * (x.new_empty((), dtype=torch.float32).uniform_() >= self.rate).to(x.dtype)


class CountDropPath(nn.Module):
    """In training x or 0 as `draw_branches` has drawn for this pass (`kept`, 1 or 0); in evaluation (1 - rate) x.

    A branch that no network draws for draws for itself, one coin for the batch.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> the same."""
        if not self.training:
            return (1 - self.rate) * x
        kept = self.kept
        if kept is None:
            kept = (x.new_empty((), dtype=torch.float32).uniform_() >= self.rate).float()
        return x * kept.to(x.dtype)


def draw_branches(paths: Sequence[CountDropPath], x: Tensor) -> None:
    """Which branches this pass of `x` has: exactly round((1 - rate) n) of the n, uniformly without replacement."""
    if any(path.training for path in paths):
        active = round((1 - paths[0].rate) * len(paths))
        order = x.new_empty((len(paths),), dtype=torch.float32).uniform_().argsort()
        kept = x.new_zeros((len(paths),), dtype=torch.float32).scatter(0, order[:active], 1.0)
        for place, path in enumerate(paths):
            path.kept = kept[place]


def forget_draws(joins: Sequence[ColumnMean], paths: Sequence[CountDropPath]) -> None:
    """What was drawn for a pass is of no other pass."""
    for join in joins:
        join.shared = None
    for path in paths:
        path.kept = None


class SampleDropPath(nn.Module):
    """DropPath: in training b x / (1 - rate) with one coin b for each image, in evaluation x."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        if not self.training or not self.rate:
            return x
        coins = x.new_empty((x.shape[0], 1, 1, 1), dtype=torch.float32).uniform_() >= self.rate
        return x * (coins.to(x.dtype) / (1 - self.rate))
