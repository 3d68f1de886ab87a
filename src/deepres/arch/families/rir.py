"""ResNet in ResNet: two streams of channels, residual and transient, that feed each other in every layer."""

from typing import Literal

from pydantic import model_validator

from deepres.arch.algebra import Node, Parallel, Sequence
from deepres.arch.architecture import Architecture, Size
from deepres.arch.atoms import Activation, GlobalAveragePool, Identity, Linear, MaskChannels, Norm, PadChannels
from deepres.arch.bounds import Classes, Count, Depths
from deepres.arch.spare import without_units
from deepres.arch.units import conv3x3
from deepres.base.records import Record, build


class RirConfig(Record):
    """y = relu(norm(conv(x) + [r, 0])), x = [r, t]: Targ et al. 2016, arXiv 1603.08029.

    The first half of all channels is the residual stream r, the second the transient stream t: the one convolution
    over both holds W_rr, W_tr, W_rt and W_tt, and only r has a shortcut. A unit is a residual unit whose branch is two
    such layers.

    Our choice where the source was not seen: r takes half of the channels; a shortcut that changes the shape takes
    every second pixel and pads with zeros (option A); a unit's own shortcut carries both streams, and its last ReLU
    comes after the sum. `depths` and `widths` have one entry a stage: how many units, and the channels of both
    streams together.
    """

    family: Literal["rir"] = "rir"
    name: str
    input: Size = (3, 32, 32)
    num_classes: Classes = 10
    depths: Depths
    widths: tuple[Count, ...]
    without: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> "RirConfig":
        if len(self.depths) != len(self.widths):
            raise ValueError(f"depths {self.depths} and widths {self.widths}: wanted one of each for every stage")
        if odd := [width for width in self.widths if width % 2]:
            raise ValueError(f"widths {self.widths}: two equal streams cannot share {odd[0]} channels; make it even")
        if list(self.widths) != sorted(self.widths):
            raise ValueError(f"widths {self.widths}: zeros only add channels; make no stage narrower than the last")
        return self

    def architecture(self) -> Architecture:
        """The description: stem, stage1, …, head."""
        width = self.widths[0]
        body: dict[str, Node] = {
            "stem": Sequence(parts={"conv": conv3x3(width), "norm": Norm(), "act": Activation()}),
        }
        for stage, (depth, channels) in enumerate(zip(self.depths, self.widths, strict=True), start=1):
            units: dict[str, Node] = {}
            for number in range(1, depth + 1):
                units[f"unit{number}"] = _unit(width, channels, 2 if number == 1 < stage else 1)
                width = channels
            body[f"stage{stage}"] = Sequence(parts=units)
        head: dict[str, Node] = {"pool": GlobalAveragePool()}
        if self.num_classes:
            head["fc"] = Linear(features=self.num_classes)
        parts = {"name": self.name, "input": self.input, "body": tuple(body.items()), "head": Sequence(parts=head)}
        return without_units(build(Architecture, parts, self.name), self.without)


def _unit(given: int, channels: int, stride: int) -> Parallel:
    after = Sequence(parts={"norm": Norm(), "act": Activation()})
    layers: dict[str, Node] = {
        "layer1": generalised(given, channels, stride, after),
        "layer2": generalised(channels, channels, 1, Sequence(parts={"norm": Norm()})),
    }
    return Parallel(
        parts={"branch": Sequence(parts=layers), "shortcut": _widened(given, channels, stride) or Identity()},
        act=Activation(),
    )


def generalised(given: int, channels: int, stride: int, after: Node) -> Parallel:
    """y = after(conv(x) + [r, 0]), r the first half of the `given` channels."""
    mask = MaskChannels(kept=given // 2)
    wider = _widened(given, channels, stride)
    shortcut: Node = mask if wider is None else Sequence(parts={"mask": mask, "pad": wider})
    return Parallel(parts={"branch": conv3x3(channels, stride), "shortcut": shortcut}, act=after)


def _widened(given: int, channels: int, stride: int) -> PadChannels | None:
    return PadChannels(channels=channels, stride=stride) if (given, 1) != (channels, stride) else None
