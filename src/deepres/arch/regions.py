"""How a detector goes about boxes: anchors, which become proposals, which regions are learnt and answered; masks."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from deepres.arch.bounds import MOST, Count
from deepres.base.records import Record

PositiveNumber = Annotated[float, Field(gt=0, le=MOST)]
Share = Annotated[float, Field(gt=0, le=1)]
IoU = Annotated[float, Field(ge=0, le=1)]


def _rows(given: Any) -> Any:
    """Numbers alone are the sizes of one level; `32/64/128` in what a person types are those of three."""
    if isinstance(given, list | tuple) and given and not any(isinstance(row, list | tuple) for row in given):
        return [row.split(",") for row in ",".join(map(str, given)).split("/")]
    return given


class Anchors(Record):
    """Boxes around each place of a map: of `sizes` px (the root of the area) and `ratios` height / width.

    One row of sizes a level. `rounded`: corners to whole px, as py-faster-rcnn and torchvision have them.
    """

    sizes: Annotated[tuple[tuple[PositiveNumber, ...], ...], BeforeValidator(_rows), Field(min_length=1)]
    ratios: Annotated[tuple[PositiveNumber, ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    rounded: bool = True

    @model_validator(mode="after")
    def _are_alike(self) -> "Anchors":
        numbers = [len(row) for row in self.sizes]
        if len(set(numbers)) > 1 or not numbers[0]:
            told = ", ".join(map(str, numbers))
            raise ValueError(f"sizes of {told} a level: one layer judges all levels; give each the same number")
        return self

    @property
    def number(self) -> int:
        """Anchors at each place of a map."""
        return len(self.sizes[0]) * len(self.ratios)


class Proposals(Record):
    """Which anchors are learnt from, and which of them become proposals (Ren et al. 2015, section 3).

    Learning: an anchor whose IoU with an object is `positive_above` or more, or the object's largest, is positive;
    below `negative_below` with all of them, negative. `sampled` of a picture are drawn, at most `positive_share` of
    them positive; `border` "inside" draws none that crosses the border of the picture, as the paper does. Smooth L1
    bends at `knee`. Proposing: of each level the `before_*` best, clipped, of `least_px` a side at least, thinned by
    non-maximum suppression of IoU over `overlap` within a level, the `after_*` best of all levels.
    `channels` of the 3x3; None: as many as enter.
    """

    channels: Count | None = None
    before_train: Count = 2000
    before_test: Count = 1000
    after_train: Count = 2000
    after_test: Count = 1000
    overlap: Share = 0.7
    sampled: Count = 256
    positive_share: Share = 0.5
    positive_above: Share = 0.7
    negative_below: IoU = 0.3
    least_px: Annotated[float, Field(ge=0, le=MOST)] = 1e-3
    border: Literal["all", "inside"] = "all"
    knee: PositiveNumber = 1 / 9

    @model_validator(mode="after")
    def _are_apart(self) -> "Proposals":
        if self.negative_below > self.positive_above:
            raise ValueError(
                f"negative_below {self.negative_below:g} lies over positive_above {self.positive_above:g}; "
                "an anchor would be both"
            )
        return self


class Regions(Record):
    """How proposals are pooled, learnt from and answered (Girshick 2015, section 2.3; He et al. 2017 for "align").

    `pool` bins a side, of `samples` a side each (0: as many as cells); `aligned` shifts by the half pixel that
    torchvision's trained networks do not have. `widths` of the linear layers behind them (none for a C4). Learning:
    positive from IoU `positive_above` on, negative where the largest lies in `negative` (lower end counted, upper not);
    `sampled` of a picture, at most `positive_share` positive; offsets are times `deviations`. Answering: scores above
    `score_above`, boxes of `least_px` a side, non-maximum suppression of IoU over `overlap` within a class, the `most`
    best of a picture.
    """

    pool: Annotated[int, Field(ge=1, le=64)] = 7
    pooled: Literal["align", "max"] = "align"
    samples: Annotated[int, Field(ge=0, le=16)] = 2
    aligned: bool = True
    widths: tuple[Count, ...] = (1024, 1024)
    sampled: Count = 512
    positive_share: Share = 0.25
    positive_above: Share = 0.5
    negative: tuple[IoU, IoU] = (0.0, 0.5)
    deviations: tuple[PositiveNumber, PositiveNumber, PositiveNumber, PositiveNumber] = (10.0, 10.0, 5.0, 5.0)
    knee: PositiveNumber = 1 / 9
    score_above: IoU = 0.05
    overlap: Share = 0.5
    most: Count = 100
    least_px: Annotated[float, Field(ge=0, le=MOST)] = 1e-2

    @model_validator(mode="after")
    def _are_apart(self) -> "Regions":
        low, high = self.negative
        if not low < high <= self.positive_above:
            raise ValueError(
                f"negative from {low:g} to {high:g} with positive_above {self.positive_above:g}; wanted a range that "
                "ends where positives begin, or before"
            )
        return self


class MaskHead(Record):
    """A mask of each region that is answered, and of each positive one that is learnt (He et al. 2017, section 3).

    Regions are pooled anew, in `pool` bins a side of `samples` a side each; 3x3 layers of `widths`; a 2x2 layer of
    stride 2 and `upsampled` channels, and a 1x1 that has a map for each class, the background's first, which nothing
    reads: twice as many values a side as come in.
    With a C4 the parts of the body behind the tap come before these. `aligned`: pooling, what is learnt and what is
    pasted know that a pixel's middle lies at .5, as torchvision's trained networks do not.
    """

    pool: Annotated[int, Field(ge=1, le=64)] = 14
    samples: Annotated[int, Field(ge=0, le=16)] = 2
    aligned: bool = True
    widths: tuple[Count, ...] = (256, 256, 256, 256)
    upsampled: Count = 256
