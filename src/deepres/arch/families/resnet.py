"""ResNets, their plain twins and their descendants: a row of a paper's table -> its network."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from deepres.arch.algebra import Node, Sequence
from deepres.arch.architecture import Architecture, Size
from deepres.arch.atoms import Blur, Conv, Dropout, DropPath, GlobalAveragePool, Linear, MaxPool
from deepres.arch.bounds import Classes, Count, Depths
from deepres.arch.spare import without_units
from deepres.arch.units import (
    Shortcut,
    Style,
    basic_convs,
    bottleneck_convs,
    branch,
    conv3x3,
    residual,
    shortcut,
    single_convs,
)
from deepres.base.records import Record, build


class ResNetConfig(Record):
    """What tells one residual network from another; `architecture()` writes the description out.

    `depths` and `widths` have one entry a stage: how many units, and how many channels its 3x3 layers have. Each
    stage after the first begins by halving the map.

    `final`: norm and activation behind the last unit, where activations come first.
    `stem`: "imagenet" 7x7 and max pool, "cifar" 3x3, "deep" three 3x3 and max pool (ResNet-C), "tiered" the same with
    3/8 of the width in the first (timm), "rs" three 3x3 and a strided 3x3. `stem_norm`: False leaves norm and
    activation after the last of them to the first unit. `stem_bias`, `pool_ceil`: the released Caffe networks' conv1
    bias, and max pool without padding, partial windows kept.
    `width_factor` and `groups`: inner channels of a bottleneck are floor(width * width_factor) * groups.
    `drop_path` is the rate of the last unit and falls linearly to the first; `drop_path_per` as in `DropPath`.
    `active_units`: exactly so many units, drawn anew for each batch, have their branch in training.
    `without`: units that are left out, by dotted name; the others stay as they are (`arch/spare.py`).
    """

    family: Literal["resnet"] = "resnet"
    name: str
    input: Size = (3, 224, 224)
    num_classes: Classes = 1000
    stem: Literal["imagenet", "cifar", "deep", "tiered", "rs"] = "imagenet"
    stem_width: Count = 64
    stem_norm: bool = True
    stem_bias: bool = False
    final: bool = True
    pool_ceil: bool = False
    unit: Literal["single", "basic", "bottleneck"] = "basic"
    depths: Depths
    widths: tuple[Count, ...] = (64, 128, 256, 512)
    expansion: Count = 4
    width_factor: Annotated[float, Field(gt=0)] = 1.0
    groups: Count = 1
    shortcut: Shortcut = "B"
    style: Style = Style()
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    drop_path_per: Literal["batch", "sample"] = "batch"
    active_units: Count | None = None
    head_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    without: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> "ResNetConfig":
        if len(self.depths) != len(self.widths):
            raise ValueError(f"depths {self.depths} and widths {self.widths}: wanted one of each for every stage")
        if self.groups > 1 and self.unit != "bottleneck":
            raise ValueError(
                f"groups {self.groups} with unit '{self.unit}': only bottlenecks are grouped; set unit=bottleneck"
            )
        if self.style.scales > 1 and self.unit != "bottleneck":
            raise ValueError(f"style.scales {self.style.scales} with unit '{self.unit}'; set unit=bottleneck")
        if not self.stem_norm and not self.style.pre_activated:
            raise ValueError(
                "stem_norm false with an order that does not begin with an activation; set style.order=pre"
            )
        if self.active_units is not None and (self.drop_path or self.shortcut == "none"):
            other = f"drop_path {self.drop_path:g}" if self.drop_path else "shortcut 'none'"
            raise ValueError(f"active_units {self.active_units} with {other}; give one of the two")
        if self.active_units is not None and self.active_units > sum(self.depths):
            raise ValueError(f"active_units {self.active_units} of {sum(self.depths)} units; wanted 1 to all of them")
        return self

    def architecture(self) -> Architecture:
        """The description in the algebra: stem, stage1 …, final where activations come first, head."""
        body: dict[str, Node] = {"stem": _stem(self)}
        channels, done = self.stem_width, 0
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), start=1):
            stride = 1 if number == 1 else 2
            body[f"stage{number}"], channels = _stage(self, channels, width, depth, stride, done)
            done += depth
        after = self.style.before() if self.final else None
        if after is not None:
            body["final"] = after
        head: dict[str, Node] = {"pool": GlobalAveragePool()}
        if self.head_dropout:
            head["dropout"] = Dropout(rate=self.head_dropout)
        if self.num_classes:
            head["fc"] = Linear(features=self.num_classes)
        parts = {"name": self.name, "input": self.input, "body": tuple(body.items()), "head": Sequence(parts=head)}
        return without_units(build(Architecture, parts, self.name), self.without)


def _stem(config: ResNetConfig) -> Sequence:
    style, width = config.style, config.stem_width
    parts: dict[str, Node] = {}

    def layer(number: str, conv: Conv, bare: bool = False) -> None:
        parts[f"conv{number}"] = style.of(conv)
        if not bare:
            parts.update({f"norm{number}": style.norm_atom(), f"act{number}": style.act_atom()})

    if config.stem == "cifar":
        layer("", conv3x3(width), bare=not config.stem_norm)
        return Sequence(parts=parts)
    if config.stem == "imagenet":
        seven = Conv(channels=width, kernel=7, stride=2, padding=3, bias=config.stem_bias)
        layer("", seven, bare=not config.stem_norm)
    else:
        layer("1", conv3x3(3 * width // 8 if config.stem == "tiered" else width // 2, 2))
        layer("2", conv3x3(width // 2))
        layer("3", conv3x3(width), bare=not config.stem_norm)
    if config.stem == "rs":
        layer("4", conv3x3(width, 2))
    elif style.blur is not None:
        parts |= {"pool": MaxPool(kernel=2, stride=1), "blur": Blur(kernel=style.blur, stride=2)}
    else:
        padding = 0 if config.pool_ceil else 1
        parts["pool"] = MaxPool(kernel=3, stride=2, padding=padding, ceil=config.pool_ceil)
    return Sequence(parts=parts)


def _stage(config: ResNetConfig, given: int, width: int, depth: int, stride: int, done: int) -> tuple[Sequence, int]:
    style = config.style
    channels = config.expansion * width if config.unit == "bottleneck" else width
    units: dict[str, Node] = {}
    made: dict[tuple[object, ...], Node] = {}  # equal units are one object, which saves time and changes nothing
    for number in range(1, depth + 1):
        step = stride if number == 1 else 1
        very_first = done == 0 and number == 1
        drop_path = _drop_path(config, done + number)
        kind = (given, step, very_first, drop_path)
        if kind not in made:
            changes = given != channels or step != 1
            by_stem = very_first and config.stem_norm and style.pre_activated
            behind = {"paper": changes or very_first, "changing": changes, "none": False}[style.activated]
            shared = style.before() if style.pre_activated and behind and not by_stem else None
            made[kind] = residual(
                branch(
                    _convs(config, width, channels, step),
                    style,
                    activated=by_stem or shared is not None,
                    changes=changes,
                    drop_path=drop_path,
                ),
                shortcut(config.shortcut, given, channels, step, style),
                style,
                channels=channels,
                stride=step,
                shared=shared,
            )
        units[f"unit{number}"] = made[kind]
        given = channels
    return Sequence(parts=units), channels


def _convs(config: ResNetConfig, width: int, channels: int, stride: int) -> list[Conv]:
    if config.unit == "single":
        return single_convs(channels, stride)
    if config.unit == "basic":
        return basic_convs(width, channels, stride)
    inner = int(width * config.width_factor) * config.groups
    return bottleneck_convs(inner, channels, stride, config.style, config.groups)


def _drop_path(config: ResNetConfig, number: int) -> DropPath | None:
    """Unit l of L: rate l / L times the last one's ("batch", Huang et al. 2016, eq. 4); "sample" begins at 0."""
    total = sum(config.depths)
    if config.active_units is not None:
        return DropPath(rate=1 - config.active_units / total, per="count")
    if not config.drop_path:
        return None
    share = number / total if config.drop_path_per == "batch" else (number - 1) / max(1, total - 1)
    return DropPath(rate=config.drop_path * share, per=config.drop_path_per)
