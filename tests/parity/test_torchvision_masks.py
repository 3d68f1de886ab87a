"""torchvision's Mask R-CNN: the same masks, loss and gradients from the same weights, and its states both ways."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import maskrcnn_loss, paste_masks_in_image

from deepres.arch.catalogue.lookup import detector_entry
from deepres.arch.detector import Detector
from deepres.data.boxes import Boxes
from deepres.data.masks import Masks
from deepres.tasks.detection import losses
from deepres.tasks.detection import names_torchvision as names
from deepres.tasks.detection.detector import DetectorNetwork, create
from deepres.tasks.detection.masks import pasted

sys.path.insert(0, str(Path(__file__).parents[2] / "evidence"))
import detection_parity as parity

pytestmark = pytest.mark.slow


def described() -> Detector:
    """With torchvision's choices, few boxes drawn, and all that are found kept."""
    entry = detector_entry("maskrcnn_resnet50_fpn")
    assert entry is not None
    config = entry.config
    masks = config.masks
    assert masks is not None
    proposals = config.proposals.replace(
        sampled=parity.SAMPLED["proposals"], after_train=parity.LEFT["train"], after_test=parity.LEFT["test"]
    )
    regions = config.regions.replace(sampled=parity.SAMPLED["regions"], **parity.TORCHVISIONS)
    config = config.replace(
        num_classes=parity.CLASSES, proposals=proposals, regions=regions, masks=masks.replace(aligned=False)
    )
    return config.architecture()


@pytest.fixture(scope="module")
def pair() -> tuple[DetectorNetwork, Any]:
    other = MaskRCNN(
        resnet_fpn_backbone(backbone_name="resnet50", weights=None),
        parity.CLASSES + 1,
        rpn_batch_size_per_image=parity.SAMPLED["proposals"],
        box_batch_size_per_image=parity.SAMPLED["regions"],
        rpn_post_nms_top_n_train=parity.LEFT["train"],
        rpn_post_nms_top_n_test=parity.LEFT["test"],
        box_score_thresh=0.0,
    )
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, tensor in other.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=dice)
            elif key.endswith("running_mean"):
                tensor.normal_(0, 0.1, generator=dice)
            elif "rpn.head" in key or "predictor" in key:
                tensor.normal_(0, 0.02, generator=dice)
            elif tensor.dim() == 1:
                tensor.uniform_(0.3, 0.7, generator=dice)
            else:
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=dice)
    other = other.double().requires_grad_(True)
    detector = described()
    state = {key: tensor.clone() for key, tensor in other.state_dict().items()}
    ours = create(detector).double()
    ours.load_state_dict(names.to_ours(state, detector))
    back = names.to_theirs(ours.state_dict(), detector)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in state.items())
    return ours, other


def outlined(boxes: Boxes) -> Boxes:
    """With octagons within the boxes."""
    shapes = []
    for x1, y1, x2, y2 in boxes.corners.tolist():
        angles = np.arange(8) * np.pi / 4 + 0.3
        x, y = (x1 + x2) / 2 + (x2 - x1) / 2 * np.cos(angles), (y1 + y2) / 2 + (y2 - y1) / 2 * np.sin(angles)
        shapes.append((np.stack([x, y], 1),))
    return Boxes(boxes.corners, boxes.classes, boxes.ignored, boxes.areas, Masks.of(shapes))


@pytest.mark.long
def test_the_same_masks_in_the_same_boxes(pair: tuple[DetectorNetwork, Any]) -> None:
    ours, other = (network.eval() for network in pair)
    x = parity.pictures()
    with torch.no_grad():
        found = ours(x, torch.tensor(parity.SIZES))
        maps = other.backbone(x)
        proposed, _ = other.rpn(ImageList(x, parity.SIZES), maps)
        wanted, _ = other.roi_heads(maps, proposed, parity.SIZES)
    assert sum(len(each["masks"]) for each in wanted) >= 50
    for mine, theirs, size in zip(found, wanted, parity.SIZES, strict=True):
        assert mine.masks is not None
        assert torch.equal(mine.classes + 1, theirs["labels"])
        assert (mine.corners - theirs["boxes"]).abs().max() < 1e-5
        logits = torch.logit(theirs["masks"][:, 0])
        assert (torch.logit(mine.masks) - logits).abs().max() < 1e-5
        assert mine.masks.shape[1:] == (28, 28)
        pixels = pasted(mine.masks, mine.corners, size, aligned=False)
        known = paste_masks_in_image(theirs["masks"], theirs["boxes"], size)[:, 0]
        assert torch.equal(pixels >= 0.5, known >= 0.5)
        assert (pixels - known).abs().max() < 1e-5


@pytest.mark.long
def test_the_same_fifth_loss_and_gradients_from_the_same_drawn_boxes(pair: tuple[DetectorNetwork, Any]) -> None:
    ours, other = (network.train() for network in pair)
    x, true = parity.pictures(), [outlined(boxes) for boxes in parity.objects()]
    ours.zero_grad()
    other.zero_grad()
    total, counts = losses.loss(ours, parity.batch(x, true))
    total.backward()
    other.rpn.fg_bg_sampler = parity._Sampler(parity.SAMPLED["proposals"], 0.5, "anchors")
    other.roi_heads.fg_bg_sampler = parity._Sampler(parity.SAMPLED["regions"], 0.25, "regions")
    targets = [_theirs(boxes, size) for boxes, size in zip(true, parity.SIZES, strict=True)]
    maps = other.backbone(x)
    proposed, first = other.rpn(ImageList(x, parity.SIZES), maps, targets)
    _, second = other.roi_heads(maps, proposed, parity.SIZES, targets)
    assert abs(float(counts["masks"]) / len(x) - second["loss_mask"].item()) < 1e-5
    assert second["loss_mask"].item() > 0.1
    sum({**first, **second}.values()).backward()  # type: ignore[union-attr]
    gradients = names.to_theirs({key: p.grad for key, p in ours.named_parameters()}, ours.description)
    gaps = {key: parity._relative(gradients[key], p.grad) for key, p in other.named_parameters()}
    assert any("mask" in key for key in gaps)
    assert max(gaps.values()) < 1e-5


def _theirs(boxes: Boxes, size: tuple[int, int]) -> dict[str, Tensor]:
    assert boxes.masks is not None
    masks = [torch.from_numpy(boxes.masks.bitmap(place, size)) for place in range(len(boxes))]
    return {
        "boxes": boxes.corners.double(),
        "labels": boxes.classes + 1,
        "masks": torch.stack(masks).to(torch.uint8),
    }


def test_the_loss_alone_is_theirs() -> None:
    from deepres.tasks.detection.mask_head import mask_loss

    draw = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 5, 28, 28, generator=draw, dtype=torch.float64)
    masks = torch.rand(6, 40, 60, generator=draw) > 0.5
    boxes = torch.tensor([[3.0, 4, 30, 33]] * 6, dtype=torch.float64) + torch.arange(6)[:, None]
    labels = torch.tensor([1, 2, 3, 4, 1, 2])
    known = maskrcnn_loss(logits, [boxes], [masks.to(torch.uint8)], [labels], [torch.arange(6)])
    from deepres.data.run_lengths import of_bitmap
    from deepres.tasks.detection.masks import wanted

    own = Masks.of([of_bitmap(one.numpy()) for one in masks])
    aims = wanted(own, boxes, torch.arange(6), (40, 60), 28, aligned=False)
    found = mask_loss(logits[torch.arange(6), labels], aims, torch.zeros(6, dtype=torch.int64), 1)
    assert abs(float(found) - float(known)) < 1e-12


def test_a_state_of_91_columns_goes_in_and_comes_out_bitwise() -> None:
    with torch.device("meta"):
        network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items() if "num_batches" not in key}
    draw = torch.Generator().manual_seed(0)
    state = {key: torch.rand(shape, generator=draw) for key, shape in shapes.items()}
    detector = names.config_of(state, "a test", names.COCO_V1[1] + "e1").architecture()
    assert (detector.name, detector.num_classes) == ("maskrcnn_resnet50_fpn", 90)
    assert detector.masks is not None
    assert not detector.masks.aligned
    ours = create(detector)
    ours.load_state_dict(names.to_ours(state, detector))
    back, told = names.returned(ours.state_dict(), detector)
    assert all(torch.equal(back[key], tensor) for key, tensor in state.items())
    assert any("eps 0" in one for one in told)
    older = {_as_before(key): tensor for key, tensor in state.items()}
    assert names.to_ours(older, detector).keys() == names.to_ours(state, detector).keys()


def _as_before(key: str) -> str:
    """As the published file has them."""
    head, _, rest = key.partition("mask_head.")
    return f"{head}mask_head.mask_fcn{int(rest[0]) + 1}.{rest.rpartition('.')[2]}" if rest else key
