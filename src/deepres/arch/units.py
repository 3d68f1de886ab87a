"""Residual units, y = act(shortcut(x) + branch(x)): every order of activation and every shortcut of both papers."""

from functools import cache
from typing import Annotated, Literal

from pydantic import Field, model_validator

from deepres.arch.algebra import Node, Parallel, Sequence
from deepres.arch.atoms import (
    Activation,
    AvgPool,
    Blur,
    Conv,
    Dropout,
    DropPath,
    GlobalAveragePool,
    Identity,
    Norm,
    PadChannels,
    Scale,
)
from deepres.arch.attention_atoms import ChannelConv
from deepres.arch.bounds import Count, OddKernel, require_eps
from deepres.arch.splits import divisible, kernels, scales, splits
from deepres.base.records import Record

Shortcut = Literal["none", "A", "B", "C"]
"""none: a plain network. A: identity, zeros for new channels. B: projection where the shape changes, identity
elsewhere. C: projection everywhere (He et al. 2015, section 4.1)."""

Order = Literal["original", "bn_after_add", "relu_before_add", "relu_pre", "pre"]
"""He et al. 2016, Table 2: (a) original, (b) BN after addition, (c) ReLU before addition, (d) ReLU-only
pre-activation, (e) full pre-activation."""

_PRE = ("relu_pre", "pre")


@cache  # equal atoms are one object: large networks are made and read in half the time
def _norm(method: Literal["batch", "group", "frozen"], groups: int, eps: float) -> Norm:
    return Norm(method=method, groups=groups, eps=eps)


@cache
def _activation(function: Literal["relu", "silu", "gelu", "elu", "leaky_relu"]) -> Activation:
    return Activation(function=function)


class Mixing(Record):
    """How shortcut and branch are brought together: He et al. 2016, Table 1 and Fig. 2.

    y = shortcut_scale shortcut + branch_scale branch; with `gate`, g = sigmoid(W_g x + gate_bias) by a 1x1 convolution:
    "exclusive" y = (1 - g) shortcut + g branch, "shortcut" y = (1 - g) shortcut + branch. A `shortcut_scale` of 0 is a
    plain network. In units that change the shape W_g has the unit's stride and channels: our choice, not stated.
    """

    shortcut_scale: float = 1.0
    branch_scale: float = 1.0
    gate: Literal["exclusive", "shortcut"] | None = None
    gate_bias: float = 0.0
    shortcut_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Style(Record):
    """What all units of a network share.

    `norm`, `norm_groups`, `eps`, `activation`: of every norm and activation. `bias`: every convolution has one.
    `padding` of a 3x3 that subsamples: "same" is TensorFlow's (`Conv`). `stride_on`: the layer of a bottleneck that
    subsamples, the first 1x1 as in the 2015 paper, or the 3x3 ("v1.5"). `projection`: a strided 1x1 convolution, or an
    average pool before a 1x1 of stride 1 (ResNet-D); `projection_norm`: a norm behind it, where activations come last.
    `zeros`: where option A's stand (`PadChannels`).
    `activated`: the pre-activated units whose shortcut leaves behind their first activation: those that change the
    shape and the network's first ("paper": He et al. 2016, appendix), the former alone ("changing"), or none.
    `se_ratio`: hidden units of squeeze-and-excitation per channel, to the nearest multiple of `se_multiple`, at least
    that: 8 as the field has it, 1 as its paper (they differ for 64 channels only). `eca_kernel`: of efficient channel
    attention in its place, odd, or "auto": from the number of channels. `blur`: size of the filter before subsampling.
    `dropout`: before the last convolution of the branch.
    The first 3x3 of a unit can be several layers (`splits.py`): `scales` of a bottleneck, its inner channels so many
    times; `radix` splits, subsampled by a pool behind or before them (`radix_pool`); two `kernels`, each given all
    channels ("whole") or half of them ("halves"), `kernels_ratio` hidden units per channel, to multiples of
    `kernels_multiple`.
    """

    order: Order = "original"
    norm: Literal["batch", "group", "frozen"] = "batch"
    norm_groups: Count = 32
    eps: Annotated[float, Field(ge=0)] = 1e-5
    bias: bool = False
    padding: Literal["symmetric", "same"] = "symmetric"
    activation: Literal["relu", "silu", "gelu", "elu", "leaky_relu"] = "relu"
    stride_on: Literal["1x1", "3x3"] = "3x3"
    projection: Literal["conv", "pool"] = "conv"
    projection_norm: bool = True
    zeros: Literal["behind", "around"] = "behind"
    activated: Literal["paper", "changing", "none"] = "paper"
    mixing: Mixing = Mixing()
    se_ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    se_multiple: Count = 8
    eca_kernel: OddKernel | Literal["auto"] | None = None
    blur: Annotated[int, Field(ge=2, le=7)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    scales: Annotated[int, Field(ge=1, le=64)] = 1
    radix: Annotated[int, Field(ge=1, le=64)] | None = None
    radix_pool: Literal["behind", "before"] = "behind"
    kernels: Literal["whole", "halves"] | None = None
    kernels_ratio: Annotated[float, Field(gt=0, le=1)] = 1 / 16
    kernels_multiple: Count = 8

    @model_validator(mode="after")
    def _divides(self) -> "Style":
        if self.eca_kernel is not None and self.se_ratio is not None:
            raise ValueError(f"eca_kernel {self.eca_kernel} with se_ratio {self.se_ratio:g}; give one of the two")
        several = self.several
        if len(several) > 1:
            raise ValueError(f"{several[0]} with {several[1]}; give one of the two")
        if several and (self.pre_activated or self.blur is not None):
            other = f"order '{self.order}'" if self.pre_activated else f"blur {self.blur}"
            raise ValueError(f"{several[0]} with {other}, wanted activations behind the weights and no blur")
        return require_eps(self, self.eps, self.norm)

    @property
    def several(self) -> tuple[str, ...]:
        """What makes several layers of a unit's first 3x3, in words: nothing where it is one."""
        given = {"scales": self.scales if self.scales > 1 else None, "radix": self.radix, "kernels": self.kernels}
        return tuple(f"{name} {value}" for name, value in given.items() if value is not None)

    @property
    def pre_activated(self) -> bool:
        """Whether activations stand before the weights."""
        return self.order in _PRE

    def norm_atom(self) -> Norm:
        """A norm of this network."""
        return _norm(self.norm, self.norm_groups, self.eps)

    def of(self, conv: Conv) -> Conv:
        """The convolution as this network has it: with a bias, padded as TensorFlow does."""
        if self.padding == "same" and conv.stride > 1 and conv.kernel > 1:
            conv = conv.replace(padding="same")
        return conv.replace(bias=True) if self.bias else conv

    def act_atom(self) -> Activation:
        """An activation of this network."""
        return _activation(self.activation)

    def before(self) -> Sequence | None:
        """What stands before the first weights of a pre-activated unit, and after the last unit."""
        if not self.pre_activated:
            return None
        norm = {"norm": self.norm_atom()} if self.order == "pre" else {}
        return Sequence(parts={**norm, "act": self.act_atom()})


@cache
def conv3x3(channels: int, stride: int = 1, groups: int = 1) -> Conv:
    """A 3x3 convolution that keeps the size at stride 1."""
    return Conv(channels=channels, kernel=3, stride=stride, padding=1, groups=groups)


@cache
def conv1x1(channels: int, stride: int = 1, bias: bool = False) -> Conv:
    """A 1x1 convolution."""
    return Conv(channels=channels, kernel=1, stride=stride, bias=bias)


def single_convs(channels: int, stride: int) -> list[Conv]:
    """One 3x3 ("ResNet-110 (1-layer)" of He et al. 2016, Table 3)."""
    return [conv3x3(channels, stride)]


def basic_convs(width: int, channels: int, stride: int) -> list[Conv]:
    """Two 3x3 (He et al. 2015, Fig. 5 left)."""
    return [conv3x3(width, stride), conv3x3(channels)]


def bottleneck_convs(width: int, channels: int, stride: int, style: Style, groups: int = 1) -> list[Conv]:
    """1x1 down to `width`, 3x3, 1x1 up to `channels` (He et al. 2015, Fig. 5; grouped: Xie et al. 2017, Fig. 3c)."""
    first, second = (stride, 1) if style.stride_on == "1x1" else (1, stride)
    return [conv1x1(width * style.scales, first), conv3x3(width, second, groups), conv1x1(channels)]


def branch(
    convs: list[Conv], style: Style, *, activated: bool, changes: bool = False, drop_path: DropPath | None = None
) -> Sequence:
    """The convolutions with norms and activations around them, in the network's order.

    `activated` says that what enters is activated already (shared with the shortcut, or by the stem), `changes` that
    the unit's shape does.
    """
    parts: dict[str, Node] = {}
    split = next((place for place, conv in enumerate(convs, start=1) if conv.kernel == 3), 0) if style.several else 0
    for number, conv in enumerate(convs, start=1):
        first, last, conv = number == 1, number == len(convs), style.of(conv)
        if number == split:
            parts |= _several(conv, style, number, changes)
            continue
        if style.pre_activated and not (first and activated):
            parts |= {f"norm{number}": style.norm_atom()} if style.order == "pre" else {}
            parts[f"act{number}"] = style.act_atom()
        if last and style.dropout:
            parts["dropout"] = Dropout(rate=style.dropout)
        blurred = style.blur is not None and conv.stride > 1 and conv.kernel > 1
        parts[f"conv{number}"] = conv.replace(stride=1) if blurred else conv
        if style.order == "relu_pre" or (not style.pre_activated and not (last and style.order == "bn_after_add")):
            parts[f"norm{number}"] = style.norm_atom()
        if not style.pre_activated and (not last or style.order == "relu_before_add"):
            parts[f"act{number}"] = style.act_atom()
        if blurred and style.blur is not None:
            parts["blur"] = Blur(kernel=style.blur, stride=conv.stride)
    if style.se_ratio is not None:
        channels, unit = convs[-1].channels, style.se_multiple
        parts["se"] = squeeze_excitation(channels, max(1, round(channels * style.se_ratio / unit)) * unit)
    if style.eca_kernel is not None:
        auto, channels = style.eca_kernel == "auto", convs[-1].channels
        parts["eca"] = efficient_attention(_attention_kernel(channels) if auto else int(style.eca_kernel))
    if style.mixing.branch_scale != 1:
        parts["scale"] = Scale(factor=style.mixing.branch_scale)
    if drop_path is not None:
        parts["drop_path"] = drop_path
    return Sequence(parts=parts)


def _several(conv: Conv, style: Style, number: int, changes: bool) -> dict[str, Node]:
    """The layers that stand for a unit's n-th, a 3x3, with what pools before or behind them."""
    norm, act = style.norm_atom(), style.act_atom()
    if style.scales > 1:
        return {"scales": scales(conv, style.scales, norm, act, changes=changes)}
    if style.kernels is not None:
        least = style.kernels_multiple
        hidden = divisible(conv.channels * style.kernels_ratio, least, least)
        return {f"kernels{number}": kernels(conv, hidden, norm, act, halved=style.kernels == "halves")}
    weighed: dict[str, Node] = {f"splits{number}": splits(conv.replace(stride=1), style.radix or 1, norm, act)}
    if conv.stride == 1:
        return weighed
    pool = AvgPool(kernel=3, stride=conv.stride, padding=1, padded=True)
    before = style.radix_pool == "before"  # another name, for descriptions are compared by names
    return {"pool_before": pool, **weighed} if before else {**weighed, "pool": pool}


@cache
def squeeze_excitation(channels: int, hidden: int) -> Parallel:
    """y = x sigmoid(W2 relu(W1 mean(x) + b1) + b2), channel by channel (Hu et al. 2018, eq. 2-4)."""
    gate: dict[str, Node] = {
        "pool": GlobalAveragePool(keep_map=True),
        "fc1": conv1x1(hidden, bias=True),
        "act": Activation(),
        "fc2": conv1x1(channels, bias=True),
        "sigmoid": Activation(function="sigmoid"),
    }
    return Parallel(parts={"signal": Identity(), "gate": Sequence(parts=gate)}, join="multiply")


@cache
def efficient_attention(kernel: int) -> Parallel:
    """y = x sigmoid(w * mean(x)), w along the channels, without a bias (ECA; Wang et al. 2020, section 3.2)."""
    gate: dict[str, Node] = {
        "pool": GlobalAveragePool(keep_map=True),
        "conv": ChannelConv(kernel=kernel),
        "sigmoid": Activation(function="sigmoid"),
    }
    return Parallel(parts={"signal": Identity(), "gate": Sequence(parts=gate)}, join="multiply")


def _attention_kernel(channels: int) -> int:
    """|log2(C) / 2 + 1 / 2| and the next odd number where that is even, 3 at least (ibid.; timm's least)."""
    return max(3, channels.bit_length() // 2 | 1)


def shortcut(option: Shortcut, given: int, channels: int, stride: int, style: Style) -> Node | None:
    """The shortcut from `given` to `channels` channels under an option; None for a plain network."""
    if option == "none" or style.mixing.shortcut_scale == 0:
        return None
    path = _path(option, given, channels, stride, style)
    more: dict[str, Node] = {}
    if style.mixing.shortcut_scale != 1:
        more["scale"] = Scale(factor=style.mixing.shortcut_scale)
    if style.mixing.shortcut_dropout:
        more["dropout"] = Dropout(rate=style.mixing.shortcut_dropout)
    return Sequence(parts={"path": path, **more}) if more else path


def _path(option: Shortcut, given: int, channels: int, stride: int, style: Style) -> Node:
    changes = given != channels or stride != 1
    if option == "A" or not (changes or option == "C"):
        return PadChannels(channels=channels, stride=stride, zeros=style.zeros) if changes else Identity()
    parts: dict[str, Node] = {}
    if style.projection == "pool" and stride != 1:
        parts["pool"] = AvgPool(kernel=stride, stride=stride, ceil=True)
    elif style.blur is not None and stride != 1:
        parts["blur"] = Blur(kernel=style.blur, stride=stride)
    parts["conv"] = style.of(conv1x1(channels, 1 if parts else stride))
    if (
        style.projection_norm and not style.pre_activated
    ):  # He et al. 2016, appendix: pre-activated projections have no norm after them
        parts["norm"] = style.norm_atom()
    return Sequence(parts=parts)


def residual(
    branch: Node, shortcut: Node | None, style: Style, *, channels: int, stride: int, shared: Node | None = None
) -> Parallel:
    """y = act(shortcut(x) + branch(x)); `shared` stands before both; a gate joins them where the style has one."""
    parts: dict[str, Node] = {"branch": branch} if shortcut is None else {"branch": branch, "shortcut": shortcut}
    mixing = style.mixing
    if mixing.gate is not None and shortcut is not None:
        parts["gate"] = Sequence(
            parts={
                "conv": conv1x1(channels, stride, bias=True).replace(bias_init=mixing.gate_bias),
                "sigmoid": Activation(function="sigmoid"),
            }
        )
    after: Node = Identity()
    if style.order == "original":
        after = style.act_atom()
    elif style.order == "bn_after_add":
        after = Sequence(parts={"norm": style.norm_atom(), "act": style.act_atom()})
    gated = "gate" in parts
    return Parallel(
        parts=parts,
        join=("exclusive_gate" if mixing.gate == "exclusive" else "shortcut_gate") if gated else "add",
        pre=Identity() if shared is None else shared,
        act=after,
    )
