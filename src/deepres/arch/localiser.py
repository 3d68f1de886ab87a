"""Networks that say of every class whether it is at a place, and where exactly: per-class RPN and R-CNN as data.

He et al. 2015, appendix C. They are a body with a head of sibling layers, so that all readings of a description hold of
them: of each anchor at each place of the last map C logistic outputs (`classes1` …) and 4 C offsets (`boxes1` …), by
1x1 layers; or of the whole picture, which then is a region that somebody has cut out, by linear layers.
"""

from math import log
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from deepres.arch.algebra import Node, Parallel, Sequence
from deepres.arch.architecture import PLACES, Architecture, Size
from deepres.arch.atoms import Conv, GlobalAveragePool, Linear
from deepres.arch.bounds import MOST
from deepres.arch.detector import Description, Detector
from deepres.arch.families.resnet import ResNetConfig
from deepres.base.records import Record, build

OFFSETS = 4
PREFIXES = {True: "localrpn_", False: "localrcnn_"}
"""How names begin, before that of the backbone: with anchors, and of whole regions."""


def _named(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    from deepres.arch.catalogue.lookup import residual  # which knows these networks too

    return residual(given)


class LocaliserConfig(Record):
    """What tells one such network from another; `architecture()` writes its description out.

    `anchors` at each place of the last map, of which the task says what they are; 0: none, the picture is the region.
    The backbone's own input and classes do not count; its name in the catalogue stands for it.
    """

    family: Literal["localiser"] = "localiser"
    name: str
    input: Size = (3, 224, 224)
    num_classes: Annotated[int, Field(ge=1, le=MOST)] = 1000
    backbone: Annotated[ResNetConfig, BeforeValidator(_named)]
    anchors: Annotated[int, Field(ge=0, le=256)] = 9

    def architecture(self) -> Architecture:
        """The backbone's parts, and the layers on their last map.

        Logistic outputs begin at a chance of 1 in C + 1 (ours): of a thousand at one half the first steps would learn
        nothing but that they are rare.
        """
        body = self.backbone.replace(input=self.input, num_classes=0, head_dropout=0.0).architecture().body
        number, bias = self.num_classes, -log(self.num_classes)
        layers: dict[str, Node] = {}
        for place in range(1, max(1, self.anchors) + 1):
            if self.anchors:
                layers[f"classes{place}"] = Conv(channels=number, kernel=1, bias=True, bias_init=bias)
                layers[f"boxes{place}"] = Conv(channels=OFFSETS * number, kernel=1, bias=True)
            else:
                layers[f"classes{place}"] = Linear(features=number, bias_init=bias)
                layers[f"boxes{place}"] = Linear(features=OFFSETS * number)
        pool: dict[str, Node] = {} if self.anchors else {"pool": GlobalAveragePool()}
        head = Sequence(parts={**pool, PLACES: Parallel(parts=layers, join="concat")})
        parts = {"name": self.name, "input": self.input, "body": body, "head": head}
        return build(Architecture, parts, self.name)


def on(backbone: ResNetConfig, anchors: int) -> LocaliserConfig:
    """The network on that backbone."""
    return LocaliserConfig(name=f"{PREFIXES[anchors > 0]}{backbone.name}", backbone=backbone, anchors=anchors)


def anchors_of(description: Description | None) -> int | None:
    """How many anchors a network has at each place, 0 of whole regions; None of another kind of network."""
    if description is None or isinstance(description, Detector) or not isinstance(description.head, Sequence):
        return None
    name, last = description.head.parts[-1]
    if name != PLACES or not isinstance(last, Parallel):
        return None
    return len(last.parts) // 2 if len(description.head.parts) == 1 else 0


def backbone_of(description: Architecture) -> Architecture:
    """The body as a network of its own, without classes: what classification's weights fit."""
    name = description.name
    for prefix in PREFIXES.values():
        name = name.removeprefix(prefix)
    head = Sequence(parts={"pool": GlobalAveragePool()})
    return Architecture(name=name, input=description.input, body=description.body, head=head)
