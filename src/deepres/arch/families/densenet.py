"""DenseNets: a row of Huang et al.'s tables -> its network of dense blocks and transitions."""

from typing import Annotated, Literal

from pydantic import Field

from deepres.arch.algebra import Node, Parallel, Sequence
from deepres.arch.architecture import Architecture, Size
from deepres.arch.atoms import Activation, AvgPool, Conv, Dropout, GlobalAveragePool, Identity, Linear, MaxPool, Norm
from deepres.arch.bounds import Classes, Count, Depths
from deepres.arch.units import conv1x1, conv3x3
from deepres.base.records import Record, build


class DenseNetConfig(Record):
    """x_l = concat(x_{l-1}, H_l(x_{l-1})): every layer adds `growth` channels (Huang et al. 2017, arXiv 1608.06993).

    `depths` has one entry a block: how many layers H. Layer 1 of a block is given the block's input, k0 channels, layer
    l k0 + growth (l - 1). Between blocks a transition leaves floor(compression C) of C channels and halves the map.

    `stem`: "imagenet" 7x7, norm, activation and max pool; "cifar" a bare 3x3. `bottleneck`: H begins with a 1x1 to
    bottleneck * growth channels, also where fewer come in ("B"); 0: H is one 3x3. `dropout_after`: every convolution
    but the stem's, transitions too (the paper), or the last one of each H alone (torchvision).

    Transitions have an activation, as the authors' code; the paper's text lists norm, convolution and pool only. The
    initialisation is our table's, He with the inputs of a value; the authors' code takes the outputs.
    """

    family: Literal["densenet"] = "densenet"
    name: str
    input: Size = (3, 224, 224)
    num_classes: Classes = 1000
    stem: Literal["imagenet", "cifar"] = "imagenet"
    stem_width: Count = 64
    depths: Depths
    growth: Count = 32
    bottleneck: Annotated[int, Field(ge=0)] = 4
    compression: Annotated[float, Field(gt=0, le=1)] = 0.5
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dropout_after: Literal["all", "3x3"] = "all"

    def architecture(self) -> Architecture:
        """The description: stem, stage1, transition1, stage2, …, final, head."""
        body: dict[str, Node] = {"stem": _stem(self)}
        channels, layer = self.stem_width, _layer(self)
        for number, depth in enumerate(self.depths, start=1):
            body[f"stage{number}"] = Sequence(parts={f"unit{n}": layer for n in range(1, depth + 1)})
            channels += depth * self.growth
            if number < len(self.depths):
                channels = int(self.compression * channels)
                body[f"transition{number}"] = _transition(self, channels)
        body["final"] = Sequence(parts={"norm": Norm(), "act": Activation()})
        head: dict[str, Node] = {"pool": GlobalAveragePool()}
        if self.num_classes:
            head["fc"] = Linear(features=self.num_classes)
        parts = {"name": self.name, "input": self.input, "body": tuple(body.items()), "head": Sequence(parts=head)}
        return build(Architecture, parts, self.name)


def _stem(config: DenseNetConfig) -> Sequence:
    if config.stem == "cifar":
        return Sequence(parts={"conv": conv3x3(config.stem_width)})
    return Sequence(
        parts={
            "conv": Conv(channels=config.stem_width, kernel=7, stride=2, padding=3),
            "norm": Norm(),
            "act": Activation(),
            "pool": MaxPool(kernel=3, stride=2, padding=1),
        }
    )


def _layer(config: DenseNetConfig) -> Parallel:
    convs = [conv1x1(config.bottleneck * config.growth)] if config.bottleneck else []
    parts: dict[str, Node] = {}
    for number, conv in enumerate([*convs, conv3x3(config.growth)], start=1):
        parts |= {f"norm{number}": Norm(), f"act{number}": Activation(), f"conv{number}": conv}
        if config.dropout and (config.dropout_after == "all" or conv.kernel == 3):
            parts[f"dropout{number}"] = Dropout(rate=config.dropout)
    return Parallel(parts={"features": Identity(), "branch": Sequence(parts=parts)}, join="concat")


def _transition(config: DenseNetConfig, channels: int) -> Sequence:
    parts: dict[str, Node] = {"norm": Norm(), "act": Activation(), "conv": conv1x1(channels)}
    if config.dropout and config.dropout_after == "all":
        parts["dropout"] = Dropout(rate=config.dropout)
    return Sequence(parts={**parts, "pool": AvgPool(kernel=2, stride=2)})
