"""The smallest parts of a network: frozen records that know their output shape, and nothing of tensors.

A shape is (C, H, W) without the batch, or (C,) after the global pool. What comes in is what the part before gives.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from deepres.arch.attention_atoms import ChannelConv, GroupSoftmax, GroupSum
from deepres.arch.bounds import Count, Kernel, Padding, require_bias, require_eps
from deepres.arch.shapes import Shape, ShapeError, elements, map_of, windows
from deepres.base.records import Record


class Identity(Record):
    """y = x."""

    kind: Literal["identity"] = "identity"

    def output(self, given: Shape) -> Shape:
        """(...) -> the same."""
        return given


class Conv(Record):
    """y = w * x (+ b): cross-correlation, `channels` filters of kernel x kernel, zero padding on every side.

    Padding "same" is TensorFlow's: zeros so that H' = ceil(H / stride), of an odd number one more behind than before.
    `bias_init` is what the initialisation gives every b (a gate's first opening).
    """

    kind: Literal["conv"] = "conv"
    channels: Count
    kernel: Kernel
    stride: Count = 1
    padding: Padding | Literal["same"] = 0
    dilation: Count = 1
    groups: Count = 1
    bias: bool = False
    bias_init: float = 0.0

    @model_validator(mode="after")
    def _begins_somewhere(self) -> "Conv":
        if self.padding == "same" and self.dilation * (self.kernel - 1) + 1 < self.stride:
            raise ValueError(f"padding 'same' of kernel {self.kernel}, stride {self.stride}: nothing is padded; say 0")
        return require_bias(self, self.bias, self.bias_init)

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (channels, H', W'), H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1."""
        channels, *size = map_of(given, "a convolution")
        if channels % self.groups or self.channels % self.groups:
            told = f"{self.groups} groups divide {channels} input and {self.channels} output channels unevenly"
            raise ShapeError(f"{told}; choose groups that divide both")
        if self.padding == "same":
            return (self.channels, *(-(-side // self.stride) for side in size))
        window = self.dilation * (self.kernel - 1) + 1
        return (self.channels, *(windows(side, window, self.stride, self.padding, given) for side in size))


class Norm(Record):
    """y = gamma (x - mean) / sqrt(var + eps) + beta.

    "batch": mean and variance per channel over the batch (Ioffe & Szegedy 2015); evaluation uses running ones, in which
    the newest batch weighs `momentum`. "group": per image over `groups` groups of channels (Wu & He 2018). "frozen":
    running statistics, gamma and beta are constants; only there may eps be 0. Without `affine` gamma is 1 and beta 0.
    """

    kind: Literal["norm"] = "norm"
    method: Literal["batch", "group", "frozen"] = "batch"
    eps: Annotated[float, Field(ge=0)] = 1e-5
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    groups: Count = 32
    affine: bool = True

    @model_validator(mode="after")
    def _divides(self) -> "Norm":
        return require_eps(self, self.eps, self.method)

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> the same; for "group" `groups` divides C."""
        channels, height, width = map_of(given, "a norm")
        if self.method == "group" and (channels % self.groups or channels * height * width == self.groups):
            why = "do not divide it" if channels % self.groups else "hold one value each"
            raise ShapeError(f"{self.groups} groups of {given} {why}; choose other norm_groups")
        return given


class Activation(Record):
    """y = f(x), element by element: relu is max(0, x), sigmoid 1 / (1 + exp(-x)), the others as torch has them."""

    kind: Literal["activation"] = "activation"
    function: Literal["relu", "sigmoid", "silu", "gelu", "elu", "leaky_relu", "tanh"] = "relu"

    def output(self, given: Shape) -> Shape:
        """(...) -> the same."""
        return given


class MaxPool(Record):
    """The largest of each kernel x kernel window; padding counts as minus infinity. `ceil` keeps a partial window."""

    kind: Literal["max_pool"] = "max_pool"
    kernel: Count
    stride: Count
    padding: Padding = 0
    ceil: bool = False

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (C, H', W'), as a convolution's."""
        channels, *size = map_of(given, "a pool")
        return (channels, *(windows(side, self.kernel, self.stride, self.padding, given, self.ceil) for side in size))


class AvgPool(Record):
    """The mean of each kernel x kernel window, padding left out of it, or `padded` counted as zeros in it.

    `ceil` keeps a partial window.
    """

    kind: Literal["avg_pool"] = "avg_pool"
    kernel: Count
    stride: Count
    padding: Padding = 0
    ceil: bool = False
    padded: bool = False

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (C, H', W'), as a convolution's."""
        channels, *size = map_of(given, "a pool")
        return (channels, *(windows(side, self.kernel, self.stride, self.padding, given, self.ceil) for side in size))


class Blur(Record):
    """A fixed binomial filter ([1, 1], [1, 2, 1], [1, 3, 3, 1] … outer product, sum 1) on each channel, then every
    `stride`-th pixel (Zhang 2019). Reflection padding of floor and ceil((kernel - 1) / 2)."""

    kind: Literal["blur"] = "blur"
    kernel: Annotated[int, Field(ge=2, le=7)] = 4
    stride: Count = 2

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (C, ceil(H / stride), ceil(W / stride))."""
        channels, *size = map_of(given, "a blur")
        if min(size) <= self.kernel // 2:
            raise ShapeError(f"a blur of {self.kernel} cannot reflect {given}; use a larger image")
        return (channels, *(-(-side // self.stride) for side in size))


class GlobalAveragePool(Record):
    """The mean of each channel's map; `keep_map` leaves it a map of one pixel."""

    kind: Literal["global_average_pool"] = "global_average_pool"
    keep_map: bool = False

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (C,), or (C, 1, 1)."""
        channels = map_of(given, "the global pool")[0]
        return (channels, 1, 1) if self.keep_map else (channels,)


class AdaptiveAvgPool(Record):
    """The mean over size x size windows that together cover the map, whatever its size.

    Row i of the result is the mean of the rows floor(i H / size) to ceil((i + 1) H / size) - 1; columns alike.
    """

    kind: Literal["adaptive_avg_pool"] = "adaptive_avg_pool"
    size: Count

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (C, size, size)."""
        return (map_of(given, "a pool")[0], self.size, self.size)


class ColumnMean(Record):
    """y = (x_1 + … + x_n) / n over n columns of equal channels that stand one behind the other (FractalNet's join).

    In training, drop-path (Larsson et al. 2017, section 3). Local: each column is left out with probability
    `local_drop`, one at least is kept, and the mean is over those kept, one draw for the batch. Global: in
    `global_share` of all batches one column alone is kept, the same at every join of the network, the n-th being the
    deepest everywhere; a join that this column does not pass takes the mean. In evaluation, the mean.
    """

    kind: Literal["column_mean"] = "column_mean"
    columns: Count
    local_drop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    global_share: Annotated[float, Field(ge=0, le=1)] = 0.0

    def output(self, given: Shape) -> Shape:
        """(columns C, H, W) -> (C, H, W)."""
        channels, *size = map_of(given, "a mean of columns")
        if channels % self.columns:
            raise ShapeError(f"{self.columns} columns share {channels} channels unevenly; give each the same number")
        return (channels // self.columns, *size)


class PadChannels(Record):
    """Option A of He et al. 2015, section 3.3: every `stride`-th pixel, and zeros for the channels that are new.

    They stand behind the real channels (Gross & Wilber 2016), or half of them before ("around"): a permutation.
    """

    kind: Literal["pad_channels"] = "pad_channels"
    channels: Count
    stride: Count = 1
    zeros: Literal["behind", "around"] = "behind"

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (channels, ceil(H / stride), ceil(W / stride)), channels >= C."""
        channels, *size = map_of(given, "an option-A shortcut")
        if channels > self.channels:
            raise ShapeError(
                f"an option-A shortcut cannot go from {channels} to {self.channels} channels, zeros only add; "
                "use a projection shortcut (option B)"
            )
        return (self.channels, *(-(-side // self.stride) for side in size))


class MaskChannels(Record):
    """The first `kept` channels as they are, zeros in the others."""

    kind: Literal["mask_channels"] = "mask_channels"
    kept: Annotated[int, Field(ge=0)]

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> the same, kept <= C."""
        if self.kept > map_of(given, "a mask")[0]:
            raise ShapeError(f"a mask that keeps {self.kept} channels is given {given}; keep fewer")
        return given


class Scale(Record):
    """y = factor x."""

    kind: Literal["scale"] = "scale"
    factor: float

    def output(self, given: Shape) -> Shape:
        """(...) -> the same."""
        return given


class Dropout(Record):
    """In training y = x m / (1 - rate), m zero with probability `rate` for each element; in evaluation y = x."""

    kind: Literal["dropout"] = "dropout"
    rate: Annotated[float, Field(ge=0, lt=1)]

    def output(self, given: Shape) -> Shape:
        """(...) -> the same."""
        return given


class DropPath(Record):
    """A branch that is sometimes left out in training.

    "batch" (stochastic depth, Huang et al. 2016): y = b x with one b ~ Bernoulli(1 - rate) for the whole batch; in
    evaluation y = (1 - rate) x. "sample" (the field's DropPath): y = b x / (1 - rate) with one b for each image; in
    evaluation y = x. "count" (effective paths, Veit et al. 2016): of all such branches of the network the share
    1 - rate, to the nearest number, has b = 1 in y = b x, drawn anew for each batch, uniformly without replacement, and
    the others b = 0; in evaluation y = (1 - rate) x (ours: the paper does not state it).
    """

    kind: Literal["drop_path"] = "drop_path"
    rate: Annotated[float, Field(ge=0, lt=1)]
    per: Literal["batch", "sample", "count"] = "batch"

    def output(self, given: Shape) -> Shape:
        """(...) -> the same."""
        return given


class Flatten(Record):
    """Channels, rows and columns in one."""

    kind: Literal["flatten"] = "flatten"

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (C H W,)."""
        return (elements(given),)


class Linear(Record):
    """y = W x + b; `bias_init` is what the initialisation gives every b."""

    kind: Literal["linear"] = "linear"
    features: Count
    bias: bool = True
    bias_init: float = 0.0

    @model_validator(mode="after")
    def _begins_somewhere(self) -> "Linear":
        return require_bias(self, self.bias, self.bias_init)

    def output(self, given: Shape) -> Shape:
        """(C,) -> (features,)."""
        if len(given) != 1:
            raise ShapeError(f"a linear layer takes (C,), given {given}; pool before it")
        return (self.features,)


class TransposedConv(Record):
    """A convolution's gradient by its input: each value becomes `channels` patches of kernel x kernel, added up."""

    kind: Literal["transposed_conv"] = "transposed_conv"
    channels: Count
    kernel: Kernel
    stride: Count = 1
    bias: bool = False

    def output(self, given: Shape) -> Shape:
        """(C, H, W) -> (channels, H', W'), H' = (H - 1) stride + kernel."""
        _, *size = map_of(given, "a transposed convolution")
        return (self.channels, *((side - 1) * self.stride + self.kernel for side in size))


Atom = (
    Identity
    | Conv
    | TransposedConv
    | ChannelConv
    | GroupSum
    | GroupSoftmax
    | Norm
    | Activation
    | MaxPool
    | AvgPool
    | Blur
    | GlobalAveragePool
    | AdaptiveAvgPool
    | ColumnMean
    | PadChannels
    | MaskChannels
    | Scale
    | Dropout
    | DropPath
    | Flatten
    | Linear
)
