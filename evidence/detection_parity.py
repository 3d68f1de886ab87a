"""Our detectors against torchvision's: `python evidence/detection_parity.py`; writes `detection_parity.json`.

Equal weights, copied by name, with frozen norms of random statistics; float64; the same padded pictures of different
sizes. Anchors, coding and matching; the maps of the levels, proposals, detections, the four losses and the gradients of
all parameters, our drawn boxes being put into torchvision's sampler.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models.detection import FasterRCNN, _utils
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign, box_iou

from deepres.arch.catalogue.entries_resnet import resnet_imagenet
from deepres.arch.catalogue.lookup import detector_entry
from deepres.arch.detector import Anchors, Detector, DetectorConfig, Proposals, Regions
from deepres.data.boxes import Boxes, BoxTargets, Placed
from deepres.data.images import Batch
from deepres.nn.environment import hardware, versions
from deepres.tasks.detection import anchors, coding, losses, matching, names_torchvision
from deepres.tasks.detection.detector import DetectorNetwork, create

CLASSES = 4
SIZES = [(90, 122), (96, 71)]
PADDED = (96, 128)
SEEDS = [11, 12]
SAMPLED = {"proposals": 64, "regions": 16}
LEFT = {"train": 150, "test": 40}
NETWORKS = ("resnet18_fpn", "resnet50_fpn", "resnet18_c4", "resnet50_c4")
TORCHVISIONS = {"samples": 2, "aligned": False, "score_above": 0.0}


def described(name: str) -> Detector:
    """Ours, with torchvision's choices and few drawn boxes, which each picture has."""
    kind, neck = name.split("_")
    pyramid = detector_entry("fasterrcnn_resnet50_fpn")
    assert pyramid is not None
    backbone = resnet_imagenet(kind, int(kind[6:]), num_classes=0, style={"norm": "frozen"})
    c4 = neck == "c4"
    config = DetectorConfig(
        name=name,
        num_classes=CLASSES,
        backbone=backbone,
        neck="c4" if c4 else "fpn",
        anchors=Anchors(sizes=((16, 32, 64),)) if c4 else pyramid.config.anchors,
        proposals=Proposals(sampled=SAMPLED["proposals"], after_train=LEFT["train"], after_test=LEFT["test"]),
        regions=Regions(
            pool=14 if c4 else 7, widths=() if c4 else (1024, 1024), sampled=SAMPLED["regions"], **TORCHVISIONS
        ),
    )
    return config.architecture()


class _C4(nn.Module):
    """torchvision's ResNet up to the third stage, as a backbone of its generic FasterRCNN."""

    def __init__(self, body: nn.Module, out_channels: int) -> None:
        super().__init__()
        self.body, self.out_channels = body, out_channels

    def forward(self, x: Tensor) -> Tensor:
        body = self.body
        x = body.maxpool(body.relu(body.bn1(body.conv1(x))))
        found: Tensor = body.layer3(body.layer2(body.layer1(x)))
        return found


class _Stage4(nn.Module):
    def __init__(self, layer4: nn.Module) -> None:
        super().__init__()
        self.layer4 = layer4

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = self.layer4(x).mean((2, 3))
        return mean


def theirs(name: str) -> FasterRCNN:
    """torchvision's, with random weights, norms and statistics, float64."""
    kind, neck = name.split("_")
    fields: dict[str, Any] = {
        "rpn_batch_size_per_image": SAMPLED["proposals"],
        "box_batch_size_per_image": SAMPLED["regions"],
        "rpn_post_nms_top_n_train": LEFT["train"],
        "rpn_post_nms_top_n_test": LEFT["test"],
        "box_score_thresh": 0.0,
    }
    if neck == "fpn":
        found = FasterRCNN(resnet_fpn_backbone(backbone_name=kind, weights=None), CLASSES + 1, **fields)
    else:
        body = getattr(resnet, kind)(norm_layer=FrozenBatchNorm2d)
        layer4, channels = body.layer4, body.fc.in_features
        del body.layer4, body.fc
        found = FasterRCNN(
            _C4(body, channels // 2),
            rpn_anchor_generator=AnchorGenerator(((16, 32, 64),), ((0.5, 1.0, 2.0),)),
            box_roi_pool=MultiScaleRoIAlign(["0"], 14, 2),
            box_head=_Stage4(layer4),
            box_predictor=_Predictor(channels),
            **fields,
        )
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, tensor in found.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=dice)
            elif key.endswith("running_mean"):
                tensor.normal_(0, 0.1, generator=dice)
            elif "rpn.head" in key or "box_predictor" in key:
                tensor.normal_(0, 0.02, generator=dice)
            elif tensor.dim() == 1:
                tensor.uniform_(0.3, 0.7, generator=dice)
            else:
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=dice)
    return found.double().requires_grad_(True)


class _Predictor(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(channels, CLASSES + 1)
        self.bbox_pred = nn.Linear(channels, 4 * (CLASSES + 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(x), self.bbox_pred(x)


def pair(name: str) -> tuple[DetectorNetwork, FasterRCNN]:
    """Both with the same weights, which go from them to us and back, where all must be equal."""
    other, detector = theirs(name), described(name)
    state = {key: tensor.clone() for key, tensor in other.state_dict().items()}
    ours = create(detector).double()
    ours.load_state_dict(names_torchvision.to_ours(state, detector))
    back = names_torchvision.to_theirs(ours.state_dict(), detector)
    if state.keys() != back.keys() or any(not torch.equal(state[key], back[key]) for key in state):
        raise AssertionError(f"{name}: weights changed on the way")
    return ours, other


def pictures() -> Tensor:
    """Noise, zeros where a picture is padded: float64 (2, 3, H, W)."""
    x = torch.randn(2, 3, *PADDED, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for number, (height, width) in enumerate(SIZES):
        x[number, :, height:], x[number, :, :, width:] = 0, 0
    return x


def objects() -> list[Boxes]:
    """Of two pictures: three objects and five."""
    corners = [[10, 12, 60, 70], [40, 30, 118, 88], [80, 5, 110, 40]]
    more = [[5, 5, 30, 40], [20, 50, 70, 94], [40, 10, 68, 60], [2, 70, 18, 86], [30, 30, 70, 70]]
    return [Boxes.of(corners, [0, 3, 1]), Boxes.of(more, [2, 2, 0, 1, 3])]


def small_parts() -> dict[str, float]:
    """Anchors, coding and matching on 1,000 boxes: how many values differ."""
    dice = torch.Generator().manual_seed(3)

    def boxes(number: int) -> Tensor:
        low = torch.rand(number, 2, generator=dice, dtype=torch.float64) * 300
        return torch.cat([low, low + 1 + torch.rand(number, 2, generator=dice, dtype=torch.float64) * 100], 1)

    sizes = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
    maps = [torch.zeros(1, 1, -(-96 // s), -(-160 // s), dtype=torch.float64) for s in (4, 8, 16, 32, 64)]
    generator = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)
    (wanted,) = generator(ImageList(torch.zeros(1, 3, 96, 160), [(96, 160)]), maps)
    ours = torch.cat(anchors.anchors(Anchors(sizes=sizes), (96, 160), maps))
    coder = _utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
    some, others = boxes(1000), boxes(1000)
    offsets = torch.randn(1000, 4, generator=dice, dtype=torch.float64) * 8
    deviations = (10, 10, 5, 5)
    matched = matching.match(some, others[:200], others[:0], 0.7, (0.0, 0.3))
    theirs = _utils.Matcher(0.7, 0.3, allow_low_quality_matches=True)(box_iou(others[:200], some))
    return {
        "anchors": _differing(ours, wanted),
        "encoding": _differing(coding.encode(some, others, deviations), coder.encode_single(some, others)),
        "decoding": _differing(coding.decode(offsets, some, deviations), coder.decode_single(offsets, some)),
        "matching": _differing(matched, theirs),
    }


def _differing(ours: Tensor, wanted: Tensor) -> int:
    return int((ours != wanted).sum()) if ours.shape == wanted.shape else -1


def answers(name: str) -> dict[str, float]:
    """The largest differences of maps, proposals and detections."""
    ours, other = (network.eval() for network in pair(name))
    x = pictures()
    with torch.no_grad():
        levels = ours.levels(x)
        maps = other.backbone(x)
        maps = {"0": maps} if isinstance(maps, Tensor) else maps
        judged = ours.proposals(levels, PADDED)
        found = ours.proposals.proposed(judged, SIZES, training=False)
        wanted, _ = other.rpn(ImageList(x, SIZES), maps)
        boxes = ours(x, torch.tensor(SIZES))
        given, _ = other.roi_heads(maps, wanted, SIZES)
    return {
        "maps": max(_gap(mine, their) for mine, their in zip(levels, maps.values(), strict=True)),
        "proposals": max(_gap(mine, their) for mine, their in zip(found, wanted, strict=True)),
        "num_proposals": sum(map(len, wanted)),
        "boxes": max(_gap(mine.corners, their["boxes"]) for mine, their in zip(boxes, given, strict=True)),
        "scores": max(_gap(mine.scores, their["scores"]) for mine, their in zip(boxes, given, strict=True)),
        "num_other_classes": sum(
            _differing(mine.classes + 1, their["labels"]) for mine, their in zip(boxes, given, strict=True)
        ),
        "num_detections": sum(len(their["boxes"]) for their in given),
    }


def batch(x: Tensor, boxes: list[Boxes]) -> Batch:
    """The pictures with their objects, placed as training has them."""
    where = Placed(torch.zeros(len(x), 2, 3, dtype=torch.float64), torch.tensor(SIZES), torch.tensor(SEEDS))
    return Batch(x, replace(BoxTargets.of(boxes), where=where), torch.arange(len(x)))


class _Sampler:
    """Draws as ours, from the same seeds, and remembers how many."""

    def __init__(self, number: int, share: float, what: str) -> None:
        self.number, self.share, self.what = number, share, what

    def __call__(self, labels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        masks: tuple[list[Tensor], list[Tensor]] = ([], [])
        for own, seed in zip(labels, SEEDS, strict=True):
            matched = torch.where(own >= 1, 0, torch.where(own == 0, matching.NEGATIVE, matching.NEITHER))
            places = matching.draw(matched, self.number, self.share, seed, self.what)
            assert len(places) == self.number, f"{len(places)} of {self.number} drawn: means would differ"
            drawn = torch.zeros_like(own, dtype=torch.uint8)
            drawn[places] = 1
            masks[0].append(drawn * (own >= 1))
            masks[1].append(drawn * (own == 0))
        return masks


def learning(name: str) -> dict[str, Any]:
    """The largest differences of the four losses, relative ones of all gradients."""
    ours, other = (network.train() for network in pair(name))
    x, true = pictures(), objects()
    total, counts = losses.loss(ours, batch(x, true))
    total.backward()
    other.rpn.fg_bg_sampler = _Sampler(SAMPLED["proposals"], 0.5, "anchors")
    other.roi_heads.fg_bg_sampler = _Sampler(SAMPLED["regions"], 0.25, "regions")
    targets = [{"boxes": boxes.corners.double(), "labels": boxes.classes + 1} for boxes in true]
    maps = other.backbone(x)
    maps = {"0": maps} if isinstance(maps, Tensor) else maps
    proposed, first = other.rpn(ImageList(x, SIZES), maps, targets)
    _, second = other.roi_heads(maps, proposed, SIZES, targets)
    wanted = {
        "objectness": first["loss_objectness"],
        "proposal_boxes": first["loss_rpn_box_reg"],
        "classes": second["loss_classifier"],
        "region_boxes": second["loss_box_reg"],
    }
    sum(wanted.values()).backward()  # type: ignore[union-attr]
    gradients = names_torchvision.to_theirs({key: p.grad for key, p in ours.named_parameters()}, ours.description)
    gaps = {key: _relative(gradients[key], p.grad) for key, p in other.named_parameters()}
    means = {key: float(counts[key]) / len(x) for key in wanted}
    found = {f"{key}_loss": abs(means[key] - value.item()) for key, value in wanted.items()}
    return {**found, "terms": means, "loss": total.item(), "gradients": max(gaps.values()), "num_gradients": len(gaps)}


def _gap(ours: Tensor, wanted: Tensor) -> float:
    if ours.shape != wanted.shape:
        return float("inf")
    return float((ours - wanted).abs().max()) if len(ours) else 0.0


def _relative(ours: Tensor | None, wanted: Tensor | None) -> float:
    assert ours is not None
    assert wanted is not None
    return float((ours - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))


def main() -> None:
    """Compare all and write what was found."""
    rows = []
    for name in NETWORKS:
        rows.append({"network": name, **answers(name), **learning(name)})
        print(json.dumps(rows[-1]), file=sys.stderr)
    facts = {
        "claim": "with the same weights our detectors and torchvision's find the same boxes and learn the same",
        "command": "python evidence/detection_parity.py",
        "hardware": hardware(torch.device("cpu")),
        "versions": versions(),
        "n": len(rows),
        "seeds": [0],
        "unit": "largest absolute difference (of gradients: relative to the largest of the parameter), 2 pictures of "
        f"{', '.join(f'{width} x {height}' for height, width in SIZES)} px in {PADDED[1]} x {PADDED[0]}, float64; "
        "of the small parts how many of 1,000 boxes differ",
        "small_parts": small_parts(),
        "rows": rows,
    }
    (Path(__file__).parent / "detection_parity.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
