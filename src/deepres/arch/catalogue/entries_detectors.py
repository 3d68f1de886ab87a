"""Detectors by name: Faster and Mask R-CNN on the papers' backbones, with a pyramid or with the fourth stage's map."""

from dataclasses import dataclass
from typing import Any

from deepres.arch.catalogue.entries_resnet import HE_2015, resnet_imagenet
from deepres.arch.detector import DetectorConfig
from deepres.arch.regions import Anchors, MaskHead, Proposals, Regions

FPN = "Feature Pyramid Networks, Lin et al. 2017, arXiv 1612.03144"
MASKS = "Mask R-CNN, He et al. 2017, arXiv 1703.06870"


@dataclass(frozen=True)
class DetectorEntry:
    """As `Entry`, of a detector."""

    config: DetectorConfig
    paper: str
    table: str
    published: str = ""
    note: str = ""


def _backbone(depth: int, **style: Any) -> dict[str, Any]:
    config = resnet_imagenet(f"resnet{depth}", depth, num_classes=0, style={"norm": "frozen", **style})
    return {"backbone": config}


def _entries() -> list[DetectorEntry]:
    entries = []
    levels = Anchors(sizes=((32,), (64,), (128,), (256,), (512,)))
    for depth in (18, 34, 50, 101):
        config = DetectorConfig(name=f"fasterrcnn_resnet{depth}_fpn", anchors=levels, **_backbone(depth))
        note = "stride in the 3x3 (v1.5), as torchvision has it" if depth > 34 else "as torchvision has it"
        entries.append(DetectorEntry(config, FPN, "section 4", "", note))
    for depth in (50, 101):
        config = DetectorConfig(
            name=f"fasterrcnn_resnet{depth}_c4",
            neck="c4",
            anchors=Anchors(sizes=((128, 256, 512),)),
            proposals=Proposals(before_train=12000, before_test=6000, after_test=300, border="inside"),
            regions=Regions(pool=14, widths=(), sampled=128, negative=(0.1, 0.5), overlap=0.3),
            **_backbone(depth, stride_on="1x1"),
        )
        note = (
            "stage4, its stride in the 1x1, for each region of 14x14; RoIAlign, the paper's is model.regions.pooled=max"
        )
        entries.append(DetectorEntry(config, HE_2015, "appendix A", "", note))
    return [*entries, *_masked({entry.config.name: entry.config for entry in entries})]


def _masked(known: dict[str, DetectorConfig]) -> list[DetectorEntry]:
    """The same with masks; the C4's is as fine as the pyramid's, the paper's half as fine (model.masks.pool=14)."""
    fpn = known["fasterrcnn_resnet50_fpn"].replace(name="maskrcnn_resnet50_fpn", masks=MaskHead())
    c4 = known["fasterrcnn_resnet101_c4"].replace(name="maskrcnn_resnet101_c4", masks=MaskHead(pool=28, widths=()))
    fine = "masks of 28 x 28; the paper's C4 has 14 x 14, which is model.masks.pool=14"
    return [
        DetectorEntry(fpn, MASKS, "section 3", "", "masks of 28 x 28; stride in the 3x3 (v1.5), as torchvision has it"),
        DetectorEntry(c4, MASKS, "section 3", "", fine),
    ]


ENTRIES: tuple[DetectorEntry, ...] = tuple(_entries())
