"""Laws of detectors that are asked in several ways: what adds nothing changes nothing, mirrors mirror, copies agree."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import network, pictures
from torch import Tensor
from torch.nn import functional as F

from deepres.arch.regions import Anchors, Proposals, Regions
from deepres.data.boxes import Boxes, BoxTargets, Placed
from deepres.data.images import Batch
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import imagenet_statistics
from deepres.tasks.detection.detector import DetectorNetwork
from deepres.tasks.detection.inference import for_inference
from deepres.tasks.detection.looking import Jointly, Looker, jointly
from deepres.tasks.detection.protocol import BoxProtocol
from deepres.tasks.detection.regions import Found
from deepres.tasks.detection.voting import moved_boxes, thinned, union, voted
from deepres.tasks.together import Participant, SizedBatch, with_others

FREE = Regions(pool=3, widths=(16,), score_above=0.0, most=20)
FREE_C4 = Regions(pool=4, widths=(), score_above=0.0, most=20)
KINDS = [("fpn", FREE), ("c4", FREE_C4)]
IN_ORDER = (0, 1, 2)


def tiny(neck: str, regions: Regions, seed: int = 0, **fields: Any) -> DetectorNetwork:
    """With weights large enough that boxes move and scores differ."""
    net = network(neck, seed, regions=regions, **fields).eval()
    with torch.no_grad():
        for part in ("classes", "boxes"):
            net.regions.get_parameter(f"{part}.weight").mul_(4)
    return net


def batch(images: Tensor, sizes: list[tuple[int, int]] | None = None, others: tuple[Batch, ...] = ()) -> SizedBatch:
    own = torch.tensor(sizes or [tuple(images.shape[-2:])] * len(images))
    where = Placed(torch.zeros(len(images), 2, 3, dtype=torch.float64), own, torch.zeros(len(images)))
    targets = replace(BoxTargets.of([Boxes.of([], [])] * len(images)), where=where)
    return SizedBatch(images, targets, torch.arange(len(images)), others=others)


def asked(nets: list[DetectorNetwork], given: Batch, orders: Any = None, **protocol: Any) -> list[Found]:
    members = [Looker(net, 0, (0,), order) for net, order in zip(nets, orders or [IN_ORDER] * len(nets), strict=True)]
    with torch.no_grad():
        found: list[Found] = Jointly(members, BoxProtocol(**protocol))(given)
    return found


def plain(net: DetectorNetwork, given: Batch) -> list[Found]:
    with torch.no_grad():
        found: list[Found] = net(given.images, given.targets.where.sizes)  # type: ignore[union-attr]
    assert sum(len(one.scores) for one in found) >= 20
    return found


def assert_same(found: list[Found], wanted: list[Found], atol: float = 0.0) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.classes, other.classes)
        torch.testing.assert_close(one.scores, other.scores, rtol=0, atol=atol)
        torch.testing.assert_close(one.corners, other.corners, rtol=0, atol=atol)


SIZES = [(64, 64), (50, 37), (33, 64)]


@pytest.mark.parametrize(("neck", "regions"), KINDS)
@pytest.mark.parametrize("context", [False, True])
@pytest.mark.medium
def test_one_look_is_the_plain_answer_bitwise(neck: str, regions: Regions, context: bool) -> None:
    net, given = tiny(neck, regions, context=context), batch(pictures(3), SIZES)
    assert_same(asked([net], given), plain(net, given))


@pytest.mark.parametrize(("neck", "regions"), KINDS)
@pytest.mark.medium
def test_refinement_of_boxes_that_stay_where_they_are_is_the_plain_answer(neck: str, regions: Regions) -> None:
    """Proposals of which no two overlap, and offsets of 0: the second look sees the same, and votes are of equals."""
    kept = Proposals(after_test=40, overlap=0.29)
    net = tiny(neck, regions.replace(overlap=0.3), proposals=kept).double()
    with torch.no_grad():
        net.regions.get_parameter("boxes.weight").zero_()
        given = batch(pictures(3).double(), SIZES)
        boxes = net.proposals.proposed(net.proposals(net.levels(given.images), (64, 64)), SIZES, training=False)
    if neck == "fpn":  # whose levels are thinned each by itself: where they overlap, there is something to vote on
        wanted = [
            thinned(*_said(net, given, boxes, row), SIZES[row], net.regions.config, voting=True) for row in range(3)
        ]
    else:
        wanted = plain(net, given)
    assert_same(asked([net], given, refine=True), wanted, 1e-9)


def _said(net: DetectorNetwork, given: Batch, boxes: list[Tensor], row: int) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        own, size = boxes[row], [SIZES[row]]
        levels = [level[row : row + 1] for level in net.levels(given.images)]
        chances = net.looked_at(levels, [own], size)[0].softmax(1)[:, 1:]
    return chances, own[:, None].expand(-1, 3, -1)


@pytest.mark.medium
def test_refinement_looks_at_moved_boxes_and_keeps_the_old_ones() -> None:
    """By hand: boxes of the likeliest class, looked at again, old and new thinned at .3 and voted."""
    net, given = tiny("c4", FREE_C4), batch(pictures(1))
    with torch.no_grad():
        levels = net.levels(given.images)
        boxes = net.proposals.proposed(net.proposals(levels, (64, 64)), [(64, 64)], training=False)

        def said(own: Tensor) -> tuple[Tensor, Tensor]:
            from deepres.tasks.detection.coding import decode

            scores, offsets = net.looked_at(levels, [own], [(64, 64)])
            chances = scores.softmax(1)[:, 1:]
            corners = [decode(offsets[:, 1 + c], own, (10, 10, 5, 5)) for c in range(3)]
            return chances, torch.stack(corners, 1)

        first = said(boxes[0])
        moved = torch.stack([first[1][p, c] for p, c in enumerate(first[0].argmax(1).tolist())]).clamp(0, 64)
        moved = moved[(moved[:, 2:] - moved[:, :2] >= 0.01).all(1)]
        assert len(moved) > 30
        assert not torch.equal(moved, boxes[0])
        second = said(moved)
        both = (torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]]))
        wanted = thinned(*both, (64, 64), net.regions.config, voting=True)
    assert_same(asked([net], given, refine=True), [wanted], 1e-5)
    (found,) = asked([net], given, refine=True)
    assert not torch.equal(found.scores, plain(net, given)[0].scores)


@pytest.mark.parametrize(("neck", "regions"), KINDS)
@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.medium
def test_the_mirror_of_a_mirrored_picture_mirrors_the_answer(neck: str, regions: Regions, refine: bool) -> None:
    net, sizes = tiny(neck, regions).double(), [(64, 64), (50, 37)]
    images = pictures(2).double()
    images[1, :, 50:], images[1, :, :, 37:] = 0, 0
    mirrored = images.clone()
    for own, (height, width) in zip(mirrored, sizes, strict=True):
        own[:, :height, :width] = own[:, :height, :width].flip(-1)
    wanted = asked([net], batch(images, sizes), mirror=True, refine=refine)
    found = asked([net], batch(mirrored, sizes), mirror=True, refine=refine)
    for one, other, (_, width) in zip(found, wanted, sizes, strict=True):
        corners = torch.stack(
            [width - other.corners[:, 2], other.corners[:, 1], width - other.corners[:, 0], other.corners[:, 3]], 1
        )
        assert len(corners) == 20
        assert torch.equal(one.classes, other.classes)
        torch.testing.assert_close(one.scores, other.scores, rtol=0, atol=1e-4)
        torch.testing.assert_close(one.corners, corners, rtol=0, atol=1e-4)
    alone = plain(net, batch(images, sizes))
    assert not torch.equal(wanted[0].scores, alone[0].scores)


@pytest.mark.parametrize(("neck", "regions"), KINDS)
@pytest.mark.parametrize("context", [False, True])
@pytest.mark.medium
def test_one_scale_is_the_plain_answer(neck: str, regions: Regions, context: bool) -> None:
    net, given = tiny(neck, regions, context=context), batch(pictures(3), SIZES)
    own = Preparation(fit="sides", resize=64, longest=64)
    member = Participant(net, own, imagenet_statistics(), IN_ORDER)
    joint, prepared = jointly([member], BoxProtocol(scales=(64,)))
    assert [one.resize for one, _ in prepared] == [64]
    with torch.no_grad():
        assert_same(joint(given), plain(net, given))


@pytest.mark.medium
def test_regions_are_looked_at_in_the_two_sizes_that_suit_them_and_the_larger_values_count() -> None:
    """By hand: of three sizes the two between which a region has a side of 224 px; at the ends the last two."""
    net = tiny("c4", FREE_C4, anchors=Anchors(sizes=((64, 128, 256),)))
    images = [F.interpolate(pictures(1, 320, 320), scale_factor=factor) for factor in (1.0, 0.5, 2.0)]
    given = batch(images[0], others=tuple(batch(one) for one in images[1:]))
    member = Looker(net, 0, (1, 0, 2), IN_ORDER)  # sides of 160, 320 and 640 px, the smallest first
    with torch.no_grad():
        found = Jointly([member], BoxProtocol(scales=(160, 320, 640)))(given)[0]
        levels = {place: net.levels(one) for place, one in enumerate(images)}
        proposals = net.proposals(levels[0], (320, 320))
        (boxes,) = net.proposals.proposed(proposals, [(320, 320)], training=False)
        features = []
        for box in boxes:
            side = float((box[2:] - box[:2]).prod().sqrt())
            pair = ((1, 0.5), (0, 1.0)) if side > 224 else ((0, 1.0), (2, 2.0))
            seen = [net.seen(levels[place], [box[None] * by], [tuple(images[place].shape[-2:])]) for place, by in pair]
            features.append(torch.maximum(*seen))
        sides = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
        assert len({float(side) > 224 for side in sides}) == 2
        scores, offsets = net.regions(torch.cat(features))
        wanted = net.regions.answered(scores, offsets, boxes, (320, 320))
    assert_same([found], [wanted], 1e-4)


@pytest.mark.parametrize(("neck", "regions"), KINDS)
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.medium
def test_copies_together_answer_as_one(neck: str, regions: Regions, number: int, refine: bool) -> None:
    net, given = tiny(neck, regions), batch(pictures(3), SIZES)
    wanted = asked([net], given, refine=True) if refine else plain(net, given)
    assert_same(asked([net] * number, given, refine=refine), wanted, 1e-6)


@pytest.mark.medium
def test_of_different_networks_scores_and_boxes_are_averaged_over_the_proposals_of_all() -> None:
    nets, given = [tiny("c4", FREE_C4, seed) for seed in (0, 1)], batch(pictures(1))
    with torch.no_grad():
        every = [net.levels(given.images) for net in nets]
        proposals = [
            net.proposals.proposed(net.proposals(levels, (64, 64)), [(64, 64)], training=False)[0]
            for net, levels in zip(nets, every, strict=True)
        ]
        boxes = torch.cat(proposals)
        from deepres.tasks.detection.coding import decode

        scores, corners = [], []
        for net, levels in zip(nets, every, strict=True):
            said, offsets = net.looked_at(levels, [boxes], [(64, 64)])
            scores.append(said.softmax(1)[:, 1:])
            corners.append(torch.stack([decode(offsets[:, 1 + c], boxes, (10, 10, 5, 5)) for c in range(3)], 1))
        wanted = thinned(sum(scores) / 2, sum(corners) / 2, (64, 64), nets[0].regions.config, voting=False)  # type: ignore[arg-type]
    assert_same(asked(nets, given), [wanted], 1e-5)


@pytest.mark.medium
def test_classes_of_a_member_in_another_order_are_matched() -> None:
    net, given = tiny("c4", FREE_C4), batch(pictures(2))
    other = tiny("c4", FREE_C4)
    order = (2, 0, 1)  # the member's class for each of the first one's
    columns = [0, *(1 + order.index(place) for place in range(3))]
    with torch.no_grad():
        for part, each in (("classes", 1), ("boxes", 4)):
            for kind in ("weight", "bias"):
                values = other.regions.get_parameter(f"{part}.{kind}")
                values.copy_(values.reshape(4, each, *values.shape[1:])[columns].flatten(0, 1).clone())
    assert_same(asked([net, other], given, [IN_ORDER, order]), plain(net, given), 1e-5)
    assert not torch.equal(asked([net, other], given)[0].scores, plain(net, given)[0].scores)


@pytest.mark.medium
def test_a_detector_made_ready_answers_the_same_way() -> None:
    net, given = tiny("fpn", FREE), batch(pictures(2))
    ready = for_inference(net, "cpu", "float32")
    for protocol in ({"refine": True}, {"mirror": True}):
        with torch.inference_mode():
            found = Jointly([Looker(ready, 0, (0,), IN_ORDER)], BoxProtocol(**protocol))(given)
        assert_same(found, asked([net], given, **protocol), 1e-4)


@pytest.mark.medium
def test_nothing_proposed_is_nothing_found() -> None:
    net = tiny("c4", FREE_C4, proposals=Proposals(least_px=100.0))
    for protocol in ({"refine": True}, {"mirror": True, "refine": True}):
        (found,) = asked([net], batch(pictures(1)), **protocol)
        assert (len(found.scores), found.corners.shape) == (0, (0, 4))


@pytest.mark.medium
def test_pictures_are_prepared_once_for_all_who_want_them_alike() -> None:
    own, other = (Preparation(fit="sides", resize=side, longest=2 * side) for side in (60, 80))
    statistics = imagenet_statistics()
    nets = [tiny("c4", FREE_C4, seed) for seed in range(3)]
    members = [Participant(net, how, statistics, IN_ORDER) for net, how in zip(nets, (own, own, other), strict=True)]
    joint, prepared = jointly(members, BoxProtocol(scales=(60, 80)))
    assert [one.resize for one, _ in prepared] == [60, 80]
    assert [(member.proposes_in, member.pictures) for member in joint.members] == [(0, (0, 1))] * 2 + [(1, (0, 1))]


def test_batches_of_several_loaders_go_together() -> None:
    first, second = ([batch(pictures(1)) for _ in range(2)] for _ in range(2))
    every = list(with_others(first, [second]))
    assert [len(one.others) for one in every] == [1, 1]  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="zip"):
        list(with_others(first, [second[:1]]))


def test_a_vote_of_equal_boxes_is_the_box() -> None:
    box = torch.tensor([[1.3, 2.7, 30.1, 41.9]])
    kept = Found(box, torch.tensor([1]), torch.tensor([0.7]))
    scores = torch.tensor([0.7, 0.2, 0.1])
    assert torch.equal(voted(kept, box.expand(3, 4), torch.ones(3, dtype=torch.int64), scores), box)


def test_a_vote_is_the_mean_by_score_of_near_boxes_of_the_class() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [0, 0, 10, 4.9], [0, 0, 10, 9]])
    classes, scores = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0.5, 0.3, 0.2, 0.9, 0.4])
    kept = Found(boxes[:1], classes[:1], scores[:1])
    wanted = (0.5 * 10 + 0.3 * 8 + 0.2 * 5) / 1.0  # an IoU of exactly .5 votes, one below does not
    assert voted(kept, boxes, classes, scores).tolist() == [pytest.approx([0, 0, 10, wanted])]


def test_moved_boxes_are_those_of_the_likeliest_class_within_the_picture() -> None:
    chances = torch.tensor([[0.1, 0.6], [0.3, 0.2], [0.2, 0.1]])
    corners = torch.tensor([[[0.0, 0, 1, 1], [-5, 2, 90, 9]], [[3, 3, 8, 8], [0, 0, 1, 1]], [[70, 70, 80, 80]] * 2])
    found = moved_boxes(chances, corners, (64, 64), FREE)
    assert found.tolist() == [[0, 2, 64, 9], [3, 3, 8, 8]]


def test_equal_boxes_are_united_and_the_order_stays() -> None:
    one = torch.tensor([[5.0, 5, 6, 6], [1, 1, 2, 2]])
    other = torch.tensor([[0.0, 0, 9, 9], [1, 1, 2, 2]])
    assert union([one, other, one]).tolist() == [[5, 5, 6, 6], [1, 1, 2, 2], [0, 0, 9, 9]]
    assert union([one[:0], one[:0]]).shape == (0, 4)


@pytest.mark.parametrize(("neck", "inputs"), [("c4", 16), ("fpn", 16)])
@pytest.mark.medium
def test_context_doubles_what_classes_are_read_off(neck: str, inputs: int) -> None:
    for context, width in ((False, inputs), (True, 2 * inputs)):
        net = tiny(neck, FREE if neck == "fpn" else FREE_C4, context=context)
        assert net.regions.get_parameter("classes.weight").shape == (4, width)
        assert net.regions.get_parameter("boxes.weight").shape == (16, width)


@pytest.mark.parametrize(("neck", "regions"), KINDS)
def test_context_is_what_is_seen_of_the_whole_picture(neck: str, regions: Regions) -> None:
    net, sizes = tiny(neck, regions, context=True), [(64, 64), (50, 37)]
    boxes = [torch.tensor([[2.0, 3, 20, 30], [0, 0, 64, 64]]), torch.tensor([[1.0, 1, 9, 9]])]
    with torch.no_grad():
        levels = net.levels(pictures(2))
        seen = net.seen(levels, boxes, sizes)
        alone = net.described(net.regions.pooled(levels, boxes))
        whole = [torch.tensor([[0.0, 0, width, height]]) for height, width in sizes]
        context = net.described(net.regions.pooled(levels, whole))
    half = seen.shape[1] // 2
    torch.testing.assert_close(seen[:, :half], alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(seen[:, half:], context[[0, 0, 1]], rtol=0, atol=1e-5)
    torch.testing.assert_close(seen[1, :half], seen[1, half:], rtol=0, atol=1e-5)
