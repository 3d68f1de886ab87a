"""ResNets and their plain twins (He et al. 2015): a row of the paper's tables -> its network."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from deepres.base.records import Record
from deepres.spec.algebra import Node, Sequence
from deepres.spec.atoms import Activation, Conv, Count, GlobalAveragePool, Linear, MaxPool, Norm
from deepres.spec.network import Network, Size
from deepres.spec.units import Shortcut, basic_branch, bottleneck_branch, conv3x3, residual, shortcut


class ResNetConfig(Record):
    """What tells one ResNet from another; `network()` writes the description out.

    `depths` and `widths` have one entry a stage: how many units, and how many channels its 3x3 layers have. Each
    stage after the first begins by halving the map. `stride_on` concerns bottlenecks only.
    """

    family: Literal["resnet"] = "resnet"
    name: str
    input: Size = (3, 224, 224)
    num_classes: Annotated[int, Field(ge=0)] = 1000
    stem: Literal["imagenet", "cifar"] = "imagenet"
    stem_width: Count = 64
    unit: Literal["basic", "bottleneck"] = "basic"
    depths: tuple[Count, ...]
    widths: tuple[Count, ...] = (64, 128, 256, 512)
    shortcut: Shortcut = "B"
    stride_on: Literal["1x1", "3x3"] = "3x3"

    @model_validator(mode="after")
    def _one_width_a_stage(self) -> "ResNetConfig":
        if len(self.depths) != len(self.widths):
            raise ValueError(f"depths {self.depths} and widths {self.widths}: wanted one of each for every stage")
        return self

    def network(self) -> Network:
        """The description in the algebra: stem, stage1 …, head."""
        body: dict[str, Node] = {"stem": _stem(self)}
        channels = self.stem_width
        for number, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), start=1):
            body[f"stage{number}"], channels = _stage(self, channels, width, depth, stride=1 if number == 1 else 2)
        head: dict[str, Node] = {"pool": GlobalAveragePool()}
        if self.num_classes:
            head["fc"] = Linear(features=self.num_classes)
        return Network(name=self.name, input=self.input, body=tuple(body.items()), head=Sequence(parts=head))


def _stem(config: ResNetConfig) -> Sequence:
    if config.stem == "cifar":
        return Sequence(parts={"conv": conv3x3(config.stem_width), "norm": Norm(), "act": Activation()})
    return Sequence(
        parts={
            "conv": Conv(channels=config.stem_width, kernel=7, stride=2, padding=3),
            "norm": Norm(),
            "act": Activation(),
            "pool": MaxPool(kernel=3, stride=2, padding=1),
        }
    )


def _stage(config: ResNetConfig, given: int, width: int, depth: int, stride: int) -> tuple[Sequence, int]:
    channels = 4 * width if config.unit == "bottleneck" else width
    units: dict[str, Node] = {}
    for number in range(1, depth + 1):
        step = stride if number == 1 else 1
        if config.unit == "bottleneck":
            branch = bottleneck_branch(width, channels, step, config.stride_on)
        else:
            branch = basic_branch(width, step)
        units[f"unit{number}"] = residual(branch, shortcut(config.shortcut, given, channels, step))
        given = channels
    return Sequence(parts=units), channels
