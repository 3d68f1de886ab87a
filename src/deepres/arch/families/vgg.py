"""VGG networks, plain stacks of 3x3 layers: what residual networks are compared with."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from deepres.arch.algebra import Node, Parallel, Sequence
from deepres.arch.architecture import Architecture, Size
from deepres.arch.atoms import Activation, AdaptiveAvgPool, Dropout, Flatten, GlobalAveragePool, Linear, MaxPool, Norm
from deepres.arch.bounds import Classes, Count, Depths
from deepres.arch.units import conv3x3
from deepres.base.records import Record, build


class VggConfig(Record):
    """y = relu(norm(conv(x))) layer by layer, a 2x2 max pool at the end of each stage (Simonyan & Zisserman 2015).

    `depths` and `widths` have one entry a stage: how many 3x3 layers, and their channels. The very first layer is the
    part `stem`, every other a unit with a branch alone, so that leaving layers out reads as in a residual network.

    `norm`: with batch normalisation, as torchvision's `_bn` networks. `bias`: of the convolutions. `hidden`: widths
    of the layers before the classifier, on an average pool to `pool` x `pool`, each with ReLU and `dropout`; none: the
    classifier stands on the global average pool.
    """

    family: Literal["vgg"] = "vgg"
    name: str
    input: Size = (3, 224, 224)
    num_classes: Classes = 1000
    depths: Depths
    widths: tuple[Count, ...] = (64, 128, 256, 512, 512)
    norm: bool = True
    bias: bool = True
    hidden: tuple[Count, ...] = (4096, 4096)
    pool: Count = 7
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def _fits_together(self) -> "VggConfig":
        if len(self.depths) != len(self.widths):
            raise ValueError(f"depths {self.depths} and widths {self.widths}: wanted one of each for every stage")
        return self

    def architecture(self) -> Architecture:
        """The description: stem, stage1, …, head."""
        body: dict[str, Node] = {"stem": Sequence(parts={**_layer(self, self.widths[0]), "act": Activation()})}
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), start=1):
            layers = depth - 1 if stage == 1 else depth
            unit = Parallel(parts={"branch": Sequence(parts=_layer(self, width))}, act=Activation())
            units: dict[str, Node] = {f"unit{number}": unit for number in range(1, layers + 1)}
            body[f"stage{stage}"] = Sequence(parts={**units, "pool": MaxPool(kernel=2, stride=2)})
        parts = {"name": self.name, "input": self.input, "body": tuple(body.items()), "head": _head(self)}
        return build(Architecture, parts, self.name)


def _layer(config: VggConfig, width: int) -> dict[str, Node]:
    conv = conv3x3(width).replace(bias=config.bias)
    return {"conv": conv, "norm": Norm()} if config.norm else {"conv": conv}


def _head(config: VggConfig) -> Sequence:
    parts: dict[str, Node] = {"pool": GlobalAveragePool()}
    if config.hidden:
        hidden: dict[str, Node] = {}
        for number, width in enumerate(config.hidden, start=1):
            hidden |= {f"fc{number}": Linear(features=width), f"act{number}": Activation()}
            if config.dropout:
                hidden[f"dropout{number}"] = Dropout(rate=config.dropout)
        parts = {"pool": AdaptiveAvgPool(size=config.pool), "flatten": Flatten(), "hidden": Sequence(parts=hidden)}
    if config.num_classes:
        parts["fc"] = Linear(features=config.num_classes)
    return Sequence(parts=parts)
