"""What a detector minimises: sums over pictures, pictures without objects, odd sizes, ignored boxes, precision."""

from typing import Any

import pytest
import torch
from tiny import NONE, TWO, batch, config, network, pictures
from torch import Tensor

from deepres.arch.regions import Proposals
from deepres.data.boxes import Boxes
from deepres.nn.freeze import freeze
from deepres.tasks.detection import losses
from deepres.tasks.detection.detector import DetectorNetwork, create
from deepres.tasks.detection.losses import TERMS, loss

NECKS = ("fpn", "c4")


def _gradients(net: DetectorNetwork, given: Any, share: float = 1.0) -> float:
    value, _ = loss(net, given)
    (share * value).backward()  # type: ignore[no-untyped-call]
    return float(value.detach())


@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.medium
def test_parts_of_a_batch_add_up_to_it(neck: str) -> None:
    net = network(neck).double()
    images = pictures().double()
    sizes = [(64, 60), (50, 64)]
    whole = batch(images, TWO, sizes)
    value = _gradients(net, whole)
    wanted = {name: parameter.grad.clone() for name, parameter in net.named_parameters() if parameter.grad is not None}
    _, counts = loss(net, whole)
    net.zero_grad()
    parts = [whole.at(torch.tensor([place])) for place in range(2)]
    assert value == pytest.approx(sum(_gradients(net, part, 0.5) for part in parts) / 2, rel=1e-12)
    assert wanted.keys() == {name for name, parameter in net.named_parameters()}
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-9, atol=1e-12)
    each = [loss(net, part)[1] for part in parts]
    assert all(float(counts[name]) == pytest.approx(sum(float(own[name]) for own in each)) for name in counts)
    assert value == pytest.approx(sum(float(counts[term]) for term in TERMS) / 2)


@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.parametrize("boxes", [[TWO[0], NONE], [NONE, NONE]])
@pytest.mark.medium
def test_pictures_without_objects_have_negatives_and_no_term_of_boxes(neck: str, boxes: list[Boxes]) -> None:
    net = network(neck)
    value, counts = loss(net, batch(pictures(), boxes))
    value.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(value)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert counts["objectness"] > 0
    assert counts["classes"] > 0
    if not len(boxes[0]):
        assert counts["proposal_boxes"] == counts["region_boxes"] == counts["region_error"] == 0


@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.parametrize(
    ("size", "padded", "boxes"),
    [
        ((1, 1), (32, 32), NONE),
        ((1, 1), (32, 32), Boxes.of([[0, 0, 1, 1]], [0])),
        ((20, 640), (32, 640), Boxes.of([[3, 2, 600, 19], [0, 0, 5, 5]], [0, 1])),
        ((640, 20), (640, 32), Boxes.of([[2, 3, 19, 600]], [0])),
    ],
)
@pytest.mark.medium
def test_one_pixel_and_strips_are_learnt_and_answered(
    neck: str, size: tuple[int, int], padded: tuple[int, int], boxes: Boxes
) -> None:
    net = network(neck)
    images = torch.zeros(1, 3, *padded)
    images[:, :, : size[0], : size[1]] = 1
    value, _ = loss(net, batch(images, [boxes], [size]))
    assert torch.isfinite(value)
    with torch.no_grad():
        (found,) = net.eval()(images, torch.tensor([size]))
    assert bool((found.corners >= 0).all())
    assert bool((found.corners[:, 0::2] <= size[1]).all())
    assert bool((found.corners[:, 1::2] <= size[0]).all())


def test_one_class_is_enough() -> None:
    net = create(config(num_classes=1).architecture())
    value, _ = loss(net, batch(pictures(1), [Boxes.of([[8, 8, 30, 40]], [0])]))
    assert torch.isfinite(value)
    assert net.regions.get_submodule("classes").weight.shape[0] == 2


@pytest.mark.medium
def test_boxes_without_area_and_ignored_ones_are_no_objects() -> None:
    net = network().double()
    plain = loss(net, batch(pictures(1).double(), [TWO[0]]))[0]
    flat = Boxes.of([*TWO[0].corners.tolist(), [5, 5, 5, 9]], [0, 2, 1])
    torch.testing.assert_close(loss(net, batch(pictures(1).double(), [flat]))[0], plain)
    crowd = Boxes.of([*TWO[0].corners.tolist(), [0, 0, 64, 64]], [0, 2, 1], [False, False, True])
    drawn: list[Any] = []
    own, kept = losses.anchors_drawn, losses.regions_drawn

    def anchors_seen(*given: Any) -> Any:
        drawn.append(own(*given))
        return drawn[-1]

    def regions_seen(*given: Any) -> Any:
        drawn.append(kept(*given))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "anchors_drawn", anchors_seen)
        patch.setattr(losses, "regions_drawn", regions_seen)
        value, _ = loss(net, batch(pictures(1).double(), [crowd]))
    assert torch.isfinite(value)
    anchors, regions = drawn
    assert len(regions.matched) > 0
    assert set(anchors.matched.tolist()) >= {0, 1}
    assert -1 not in regions.matched.tolist()  # all of the picture is crowd: no background is learnt from it


def test_anchors_that_cross_the_border_are_not_drawn_where_the_paper_leaves_them_out() -> None:
    net = network("c4", proposals=Proposals(sampled=64, border="inside"))
    judged = net.proposals(net.levels(pictures(1)), (64, 64))
    anchors = torch.cat(judged.anchors)
    objects = losses.Objects(TWO[0].corners, TWO[0].classes, torch.zeros(0, 4))
    drawn = losses.anchors_drawn(net, anchors, objects, (64, 50), 3)
    own = anchors[drawn.places]
    assert len(own) > 0
    assert bool((own[:, :2] >= 0).all() and (own[:, 2] <= 50).all() and (own[:, 3] <= 64).all())
    value, _ = loss(net, batch(pictures(1, 32, 32), [NONE], [(4, 4)]))  # no anchor lies within
    assert torch.isfinite(value)


@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.medium
def test_bfloat16_learns_nearly_the_same_and_chooses_in_float32(neck: str) -> None:
    net = network(neck)
    given = batch(pictures(), TWO)
    value, _ = loss(net, given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near, counts = loss(net, given)
        near.backward()  # type: ignore[no-untyped-call]
    assert near.dtype == torch.float32
    assert near.item() == pytest.approx(value.item(), rel=0.1)
    assert all(count.dtype == torch.float32 for count in counts.values())
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.parametrize("style", [{}, {"order": "pre"}, {"se_ratio": 0.25, "blur": 4}])
@pytest.mark.medium
def test_taking_up_frozen_norms_changes_neither_loss_nor_gradients(neck: str, style: dict[str, Any]) -> None:
    plain = config(neck)
    backbone = plain.backbone.replace(style=plain.backbone.style.replace(**style))
    net = create(plain.replace(backbone=backbone).architecture()).double()
    dice = torch.Generator().manual_seed(0)
    for name, tensor in net.state_dict().items():
        if "running_var" in name or ("norm" in name and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5, generator=dice)
        elif "running_mean" in name or ("norm" in name and name.endswith("bias")):
            tensor.normal_(0, 0.3, generator=dice)
    given = batch(pictures().double(), TWO)
    value = _gradients(net, given)
    found = {name: parameter.grad.clone() for name, parameter in net.named_parameters() if parameter.grad is not None}
    net.zero_grad()
    net.eval()  # then each norm is computed where it stands
    assert _gradients(net, given) == pytest.approx(value, rel=1e-12)
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-8, atol=1e-10)


@pytest.mark.medium
def test_frozen_parts_and_norms_stay_bitwise() -> None:
    net = network()
    freeze(net, ("stem", "stage1"))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    for _ in range(2):
        loss(net, batch(pictures(), TWO))[0].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
    moved = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name, p in net.named_parameters() if p.requires_grad}
    assert not any(".norm" in name or name.startswith(("stem", "stage1")) for name in moved)


@pytest.mark.slow
def test_a_tiny_detector_learns_where_a_square_is() -> None:
    net = network(norm="group", num_classes=1)
    dice = torch.Generator().manual_seed(0)
    images, boxes = torch.zeros(4, 3, 64, 64), []
    for image in images:
        x, y = (int(v) for v in torch.randint(0, 40, (2,), generator=dice))
        image[:, y : y + 20, x : x + 20] = 1
        boxes.append(Boxes.of([[x, y, x + 20, y + 20]], [0]))
    given = batch(images, boxes)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    values: list[Tensor] = []
    for _ in range(25):
        value, _ = loss(net, given)
        values.append(value.detach())
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad()
    assert values[-1] < 0.6 * values[0]
