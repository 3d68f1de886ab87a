"""A detector that draws masks: what it learns, what it answers, and whose weights fill it."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny import TWO, batch, network, pictures

from deepres.arch.catalogue.lookup import DETECTORS
from deepres.arch.readings.cost import cost
from deepres.arch.regions import MaskHead
from deepres.base.errors import InputError
from deepres.data.boxes import Boxes
from deepres.data.masks import Masks
from deepres.tasks.detection.losses import MASKS, loss

HEADS = {"fpn": MaskHead(pool=4, widths=(8, 8), upsampled=8), "c4": MaskHead(pool=8, widths=(), upsampled=8)}


def outlined(boxes: Boxes) -> Boxes:
    shapes = []
    for x1, y1, x2, y2 in boxes.corners.double().tolist():
        shapes.append((np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]),))
    return Boxes(boxes.corners, boxes.classes, boxes.ignored, boxes.areas, Masks.of(shapes))


@pytest.mark.medium
@pytest.mark.parametrize("neck", ["fpn", "c4"])
def test_all_learns_and_boxes_are_those_without_masks(neck: str) -> None:
    plain, ours = network(neck), network(neck, masks=HEADS[neck])
    assert ours.head_names == (*plain.head_names, "masks")
    ours.load_state_dict(plain.state_dict() | {k: v for k, v in ours.state_dict().items() if k.startswith("masks.")})
    true = [outlined(boxes) for boxes in TWO]
    total, counts = loss(ours, batch(pictures(), true))
    total.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in ours.parameters())
    assert bool((ours.get_parameter("masks.classes.weight").grad[1:].abs().amax((1, 2, 3)) > 0).any())  # type: ignore[index]
    without, _ = loss(plain, batch(pictures(), true))
    assert total.item() == pytest.approx(without.item() + float(counts[MASKS]) / 2, rel=1e-5)
    with torch.no_grad():
        found, boxes = ours.eval()(pictures()), plain.eval()(pictures())
    for mine, theirs in zip(found, boxes, strict=True):
        assert torch.equal(mine.corners, theirs.corners)
        assert theirs.masks is None
        assert mine.masks is not None
        assert mine.masks.shape == (len(mine.scores), 8, 8)
        assert bool(((mine.masks >= 0) & (mine.masks <= 1)).all())


def test_pictures_without_objects_have_no_term_and_boxes_alone_are_refused() -> None:
    ours = network(masks=HEADS["fpn"])
    none = Boxes.of([], [])
    total, counts = loss(ours, batch(pictures(), [none, none]))
    assert float(counts[MASKS]) == 0
    total.backward()
    with pytest.raises(InputError, match="draws masks, and these pictures have boxes alone"):
        loss(ours, batch(pictures(), TWO))


def test_the_published_number_of_parameters() -> None:
    config: Any = DETECTORS["maskrcnn_resnet50_fpn"].config.replace(num_classes=90)
    assert cost(config.architecture()).parameters == 44_401_393  # MaskRCNN_ResNet50_FPN_Weights.COCO_V1
    fine = DETECTORS["maskrcnn_resnet101_c4"].config.architecture()
    assert fine.places[-1].given == ((256, 28, 28),)
