"""A detector as data: a backbone's parts, a neck, anchors, proposals, regions, masks; what stands where in one pass.

Boxes are (x1, y1, x2, y2), float, half open, in pixels of the upright picture. Classes count from 0 and have no
background among them: background is the detector's own column 0.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from deepres.arch.algebra import Node, Parallel, Parts, Sequence, children, shape
from deepres.arch.architecture import Architecture, Place, Size
from deepres.arch.atoms import Activation, Conv, Flatten, GlobalAveragePool, Linear, MaxPool, Norm, TransposedConv
from deepres.arch.bounds import MOST, Count
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.regions import Anchors, MaskHead, Proposals, Regions
from deepres.arch.shapes import Shape
from deepres.base.errors import InputError, unknown
from deepres.base.records import Record, build


class Detector(Record):
    """boxes = regions(neck(body(x)), proposals(neck(body(x)))): all that is needed to build and to count it.

    `taps` are the parts of the body whose maps the neck is given. "fpn" (Lin et al. 2017, section 3): 1x1 to
    `neck_channels`, added from the top down, 3x3, and one more level by subsampling. "c4" (He et al. 2015, appendix A):
    one tap; the parts of the body behind it are computed for each region, under their own names. `input` is the
    (C, H, W) for which costs are stated; any other works. `backbone_name` is whose weights the body takes. With
    `context` (He et al. 2015, appendix B) the whole picture is one region more, whose features stand beside those of
    each other where classes and offsets are read off: with a C4 through the parts of the body behind the tap, with a
    pyramid (ours, the paper has none) through the same linear layers. `masks`: of each box a mask besides.
    """

    family: Literal["detector"] = "detector"
    name: str
    input: Size
    num_classes: Annotated[int, Field(ge=1, le=MOST)]
    backbone_name: str
    body: Parts
    taps: Annotated[tuple[str, ...], Field(min_length=1)]
    neck: Literal["fpn", "c4"]
    neck_channels: Count = 256
    anchors: Anchors
    proposals: Proposals = Proposals()
    regions: Regions = Regions()
    context: bool = False
    masks: MaskHead | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "Detector":
        names = [name for name, _ in self.body]
        for tap in self.taps:
            if tap not in names:
                raise unknown(f"{self.name}: tap", tap, names)
        if list(self.taps) != [name for name in names if name in self.taps]:
            raise ValueError(f"taps {', '.join(self.taps)}; wanted each once, from the input on")
        if self.neck == "c4" and (len(self.taps) > 1 or self.taps[0] == names[-1]):
            raise ValueError(
                f"neck c4 with taps {', '.join(self.taps)} of {', '.join(names)}; wanted one, with a part behind it "
                "that is computed for each region"
            )
        if self.neck == "fpn" and self.taps[-1] != names[-1]:
            raise ValueError(f"neck fpn with last tap {self.taps[-1]}; wanted {names[-1]}, the last part of the body")
        levels = len(self.taps) + (self.neck == "fpn")
        if len(self.anchors.sizes) != levels:
            raise ValueError(
                f"anchors of {len(self.anchors.sizes)} levels, the neck '{self.neck}' gives {levels}; give a row of "
                "sizes for each (--set model.anchors.sizes=32/64/… has one row between two strokes)"
            )
        methods = {node.method for _, part in self.body for node in atoms_of(part) if isinstance(node, Norm)}
        if "batch" in methods:
            raise ValueError(
                "norms of batches in the backbone, and a batch of pictures is too small for them; "
                "set model.backbone.style.norm=frozen (trained weights) or group (from nothing)"
            )
        for place in self.places:
            for given in place.given:
                shape(place.node, given, place.name)
        return self

    @property
    def backbone(self) -> Architecture:
        """The body as a network of its own, without classes: what classification's weights fit."""
        head = Sequence(parts={"pool": GlobalAveragePool()})
        return Architecture(name=self.backbone_name, input=self.input, body=self.body, head=head)

    @property
    def shared(self) -> Parts:
        """The parts of the body that are computed once a picture."""
        end = [name for name, _ in self.body].index(self.taps[-1])
        return self.body[: end + 1]

    @property
    def per_region(self) -> Parts:
        """The parts of the body that are computed for each region: none with a pyramid."""
        return self.body[len(self.shared) :]

    @property
    def maps(self) -> dict[str, Shape]:
        """The (C, H, W) of each tap, at the detector's own input size."""
        found, flowing = {}, self.input
        for name, node in self.shared:
            flowing = shape(node, flowing, name)  # type: ignore[assignment]
            found[name] = flowing
        return {tap: found[tap] for tap in self.taps}

    @property
    def levels(self) -> tuple[Shape, ...]:
        """The maps that proposals and regions look at, the finest first."""
        maps = tuple(self.maps.values())
        if self.neck == "c4":
            return maps
        pyramid = tuple((self.neck_channels, *size) for _, *size in maps)
        return (*pyramid, shape(EXTRA, pyramid[-1]))

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels between neighbours in the map of each tap; pictures are padded to multiples of the last."""
        found, flowing = {}, (self.input[0], _SIDE, _SIDE)
        for name, node in self.shared:
            flowing = shape(node, flowing, name)  # type: ignore[assignment]
            found[name] = round(_SIDE / flowing[2])
        return tuple(found[tap] for tap in self.taps)

    @property
    def places(self) -> tuple[Place, ...]:
        """Every part with weights where it stands, in the order of a pass; proposals and regions as in a test."""
        found, flowing = [], self.input
        for name, node in self.shared:
            found.append(Place(name, node, (flowing,)))
            flowing = shape(node, flowing, name)  # type: ignore[assignment]
        maps, levels = self.maps.values(), self.levels
        if self.neck == "fpn":
            pairs = enumerate(zip(maps, levels, strict=False), start=1)
            for number, (given, gives) in pairs:
                found.append(Place(f"neck.lateral{number}", self.neck_parts["lateral"], (given,)))
                found.append(Place(f"neck.output{number}", self.neck_parts["output"], (gives,)))
        entered = tuple((self._judged(level[0]), *level[1:]) for level in levels)
        for name, node in self.proposal_parts.items():
            found.append(Place(f"proposals.{name}", node, levels if name == "conv" else entered))
        number = self.proposals.after_test
        looked = number + self.context  # the whole picture beside them
        region: Shape = (levels[0][0], self.regions.pool, self.regions.pool)
        masked: Shape = (levels[0][0], self.masks.pool, self.masks.pool) if self.masks is not None else ()
        for name, node in (*self.per_region, *((f"regions.{n}", node) for n, node in self.region_parts.items())):
            last = name in ("regions.classes", "regions.boxes")
            twice = bool(masked) and not name.startswith("regions.")
            enters = (region, masked) if twice else (region,)
            each = (looked, self.regions.most) if twice else ()
            found.append(Place(name, node, enters, number if last else looked, each))
            region = region if last else shape(node, region, name)
            masked = shape(node, masked, name) if twice else masked
            if name == "regions.head" and self.context:
                region = (2 * region[0],)
        for name, node in self.mask_parts.items():
            found.append(Place(f"masks.{name}", node, (masked,), self.regions.most))
            masked = shape(node, masked, name)
        return tuple(found)

    @property
    def neck_parts(self) -> Mapping[str, Node]:
        """What a pyramid has of each level."""
        lateral = Conv(channels=self.neck_channels, kernel=1, bias=True)
        output = Conv(channels=self.neck_channels, kernel=3, padding=1, bias=True)
        return {} if self.neck == "c4" else {"lateral": lateral, "output": output}

    @property
    def proposal_parts(self) -> Mapping[str, Node]:
        """What judges the anchors, the same on all levels: a 3x3, then their objectness and offsets."""
        conv = Conv(channels=self._judged(self.levels[0][0]), kernel=3, padding=1, bias=True)
        return {
            "conv": Sequence(parts={"conv": conv, "act": Activation()}),
            "objectness": Conv(channels=self.anchors.number, kernel=1, bias=True),
            "deltas": Conv(channels=4 * self.anchors.number, kernel=1, bias=True),
        }

    @property
    def region_parts(self) -> Mapping[str, Node]:
        """What judges a region, behind the parts of the body that do: scores and offsets, background's first."""
        layers: dict[str, Node] = {}
        for number, width in enumerate(self.regions.widths, start=1):
            layers |= {f"fc{number}": Linear(features=width), f"act{number}": Activation()}
        first: Node = GlobalAveragePool() if self.per_region else Flatten()
        columns = self.num_classes + 1
        return {
            "head": Sequence(parts={"pool" if self.per_region else "flatten": first, **layers}),
            "classes": Linear(features=columns),
            "boxes": Linear(features=4 * columns),
        }

    @property
    def mask_parts(self) -> Mapping[str, Node]:
        """What draws the mask of a region, behind the parts of the body that are computed for it."""
        if self.masks is None:
            return {}
        layers: dict[str, Node] = {}
        for number, width in enumerate(self.masks.widths, start=1):
            layers |= {f"conv{number}": Conv(channels=width, kernel=3, padding=1, bias=True)}
            layers |= {f"act{number}": Activation()}
        up = TransposedConv(channels=self.masks.upsampled, kernel=2, stride=2, bias=True)
        head = Sequence(parts={**layers, "up": up, "act": Activation()})
        return {"head": head, "classes": Conv(channels=self.num_classes + 1, kernel=1, bias=True)}

    def _judged(self, channels: int) -> int:
        return self.proposals.channels or channels


_SIDE = 1024  # px, at which the maps of all strides come out even
EXTRA = MaxPool(kernel=1, stride=2)
"""One level more than the taps: every second pixel of the last, for the largest anchors."""


def _named(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    from deepres.arch.catalogue.lookup import residual  # which knows detectors too

    return frozen(residual(given))


class DetectorConfig(Record):
    """What tells one detector from another; `architecture()` writes its description out.

    `num_classes` are those of objects; with `context` the whole picture is looked at as well, with `masks` a box has
    one. The backbone's own input
    and classes do not count; its name in the catalogue stands for it with frozen norms. `backbone.style.norm` is
    "frozen" (constants, as weights brought them) or "group".
    """

    family: Literal["detector"] = "detector"
    name: str
    input: Size = (3, 600, 1000)
    num_classes: Annotated[int, Field(ge=1, le=MOST)] = 80
    backbone: Annotated[ResNetConfig, BeforeValidator(_named)]
    neck: Literal["fpn", "c4"] = "fpn"
    neck_channels: Count = 256
    anchors: Anchors
    proposals: Proposals = Proposals()
    regions: Regions = Regions()
    context: bool = False
    masks: MaskHead | None = None

    def architecture(self) -> Detector:
        """The description in the algebra: the backbone's parts, and what stands on them."""
        backbone = self.backbone.replace(input=self.input, num_classes=0, head_dropout=0.0)
        body = backbone.architecture().body
        names = [name for name, _ in body]
        stages = [name for name in names if name.startswith("stage")]
        last = names[-1]  # the final norm, where activations come first
        taps = (*stages[:-1], last) if self.neck == "fpn" else (stages[-2:-1] or stages)
        kept = ("input", "num_classes", "neck", "neck_channels", "anchors", "proposals", "regions", "context", "masks")
        fields = {name: getattr(self, name) for name in kept}
        named = {"name": self.name, "backbone_name": backbone.name, "body": body, "taps": tuple(taps)}
        return build(Detector, {**named, **fields}, self.name)


Description = Architecture | Detector
"""Of any network: told apart by `family`, which only a detector has."""


def naming(description: Description, where: str) -> Architecture:
    """The description as one of a network that answers of the whole picture; InputError where it is a detector's."""
    if isinstance(description, Detector) or description.says_places:
        raise InputError(f"{where}: {description.name} finds boxes; wanted a network that answers of the whole picture")
    return description


def frozen(backbone: ResNetConfig, eps: float | None = None) -> ResNetConfig:
    """The backbone with norms that are constants, of another `eps` if wanted."""
    changes: dict[str, Any] = {"norm": "frozen"} if eps is None else {"norm": "frozen", "eps": eps}
    return backbone.replace(style=backbone.style.replace(**changes))


def atoms_of(node: Node) -> list[Node]:
    """All atoms of a part."""
    inner = children(node) if isinstance(node, Sequence | Parallel) else ()
    return [found for _, child in inner for found in atoms_of(child)] if inner else [node]
