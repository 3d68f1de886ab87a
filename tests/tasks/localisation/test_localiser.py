"""The two networks of localisation, against slow loops: what is learnt, what is guessed, where boxes lie."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_localiser import CLASSES, NAMES, SIDE, TASK
from small_localiser import batch as _batch
from small_localiser import network as _network
from torch import Tensor

from deepres.arch.catalogue.lookup import entry
from deepres.arch.localiser import on
from deepres.arch.regions import Anchors
from deepres.base.errors import InputError
from deepres.data.boxes import Boxes, BoxTargets
from deepres.data.images import Batch
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.geometry import evaluated
from deepres.data.transforms.statistics import Statistics
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network
from deepres.tasks.detection.anchors import anchors as all_anchors
from deepres.tasks.detection.coding import decode, encode
from deepres.tasks.detection.matching import draw, match
from deepres.tasks.localisation.answers import GuessMetrics
from deepres.tasks.localisation.guessing import Guesser, GuessingTogether, guessed, sides
from deepres.tasks.localisation.network import anchors_at, chances, create, load_weights, said, steps
from deepres.tasks.localisation.protocol import localisation_protocol
from deepres.tasks.localisation.regions import proposed, warped
from deepres.tasks.localisation.task import Localising
from deepres.tasks.task import FirstValues, Learning
from drawn_objects import drawn


def _flat(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (N, h w A, C) and offsets (N, h w A, 4, C), place by place, by a slow walk over the channels."""
    number, _, height, width = outputs.shape
    scores = torch.zeros(number, height, width, 6, CLASSES)
    offsets = torch.zeros(number, height, width, 6, 4, CLASSES)
    for anchor in range(6):
        for label in range(CLASSES):
            start = anchor * 5 * CLASSES
            scores[:, :, :, anchor, label] = outputs[:, start + label]
            for side in range(4):
                offsets[:, :, :, anchor, side, label] = outputs[:, start + (1 + side) * CLASSES + label]
    return scores.flatten(1, 3), offsets.flatten(1, 3)


def test_the_loss_is_a_slow_walk_over_drawn_anchors() -> None:
    network, (batch, _) = _network(), _batch()
    total, counts = TASK.loss(Learning())(network, batch)
    outputs = network(batch.images)
    scores, offsets = _flat(outputs)
    every = all_anchors(TASK.anchors, (SIDE, SIDE), [outputs[:1, :1]])[0]
    expected = []
    for picture, boxes in enumerate(batch.targets):  # type: ignore[arg-type]
        matched = match(every, boxes.corners, boxes.corners[:0], 0.7, (0.0, 0.3))
        places = draw(matched, 8, 0.5, picture + 7, "anchors")
        assert len(places) == 8
        own = 0.0
        for place in places.tolist():
            wanted = torch.zeros(CLASSES)
            if (found := int(matched[place])) >= 0:
                label = int(boxes.classes[found])
                wanted[label] = 1
                aim = encode(boxes.corners[found : found + 1], every[place : place + 1])[0]
                own += F.smooth_l1_loss(offsets[picture, place, :, label], aim, reduction="sum", beta=1 / 9)
            own += F.binary_cross_entropy_with_logits(scores[picture, place], wanted, reduction="sum")
        assert isinstance(own, Tensor)
        expected.append(own.item() / 8)
    assert float(total.detach()) == pytest.approx(sum(expected) / 3, rel=1e-5)
    assert float(counts["scores"] + counts["boxes"]) == pytest.approx(sum(expected), rel=1e-5)


def test_the_first_scores_are_rare_and_gradients_reach_every_layer() -> None:
    backbone = entry("resnet18").config.replace(depths=(1, 1), widths=(8, 8), stem_width=8)
    config = on(backbone, 6).replace(input=(3, SIDE, SIDE), num_classes=CLASSES)  # type: ignore[arg-type]
    network, (batch, _) = create(config.architecture()), _batch()
    scores, _ = said(network(batch.images), 6)
    assert torch.allclose(scores.sigmoid().mean(), torch.tensor(1 / (CLASSES + 1)), atol=0.05)
    TASK.loss(Learning())(network, batch)[0].backward()
    quiet = [name for name, parameter in network.named_parameters() if not bool(parameter.grad.abs().sum() > 0)]  # type: ignore[union-attr]
    assert not [name for name in quiet if ".boxes" not in name]  # of an anchor that stands for no object
    assert len(quiet) < 12


def test_a_picture_whose_object_is_cut_away_has_negatives_only() -> None:
    network, (batch, _) = _network(), _batch()
    targets = batch.targets
    assert isinstance(targets, BoxTargets)
    gone = replace(batch, targets=replace(targets, corners=torch.zeros_like(targets.corners)))
    counts = TASK.loss(Learning())(network, gone)[1]
    assert float(counts["boxes"]) == 0
    assert float(counts["scores"]) > 0


@pytest.mark.parametrize("fit", ["crop", "sides"])
def test_guesses_are_a_slow_walk_over_anchors_in_px_of_the_pictures(fit: str) -> None:
    network, (batch, sizes) = _network(), _batch(fit=fit)
    found = guessed(TASK, network, batch)
    outputs = network(batch.images)
    scores, offsets = _flat(outputs)
    height, width = batch.images.shape[-2:]
    every = all_anchors(TASK.anchors, (height, width), [outputs[:1, :1]])[0]
    targets = batch.targets
    assert isinstance(targets, BoxTargets)
    assert targets.where is not None
    columns = outputs.shape[-1]
    for picture, (wide, high) in enumerate(sizes):
        own_high, own_wide = targets.where.sizes[picture].tolist()
        step = (height // outputs.shape[-2], width // columns)
        seen = [
            place
            for place in range(len(every))
            if place // 6 // columns * step[0] < own_high and place // 6 % columns * step[1] < own_wide
        ]
        best = scores[picture, seen].max(0)
        order = best.values.argsort(descending=True).tolist()
        assert found.classes[picture].tolist() == order
        for rank, label in enumerate(order):
            place = seen[int(best.indices[label])]
            box = decode(offsets[picture, place : place + 1, :, label], every[place : place + 1])[0]
            box = torch.minimum(box.clamp(min=0), torch.tensor([own_wide, own_high] * 2)).double()
            across, down = targets.where.matrices[picture, 0, 0], targets.where.matrices[picture, 1, 1]
            shift = targets.where.matrices[picture, :, 2]
            whole = (box - torch.cat([shift, shift])) / torch.stack([across, down, across, down])
            assert torch.allclose(found.boxes[picture, rank], whole, atol=1e-3)
            assert bool((whole >= -1e-3).all())
            assert bool((whole <= torch.tensor([wide, high] * 2) + 1.0).all())
        label = picture % CLASSES
        assert torch.equal(found.given[picture], found.boxes[picture, order.index(label)])


@pytest.mark.parametrize(("side", "cells", "step"), [(56, 4, 16), (56, 7, 8), (224, 7, 32), (225, 8, 32), (48, 48, 1)])
def test_neighbours_are_as_far_apart_as_the_network_halves(side: int, cells: int, step: int) -> None:
    scores = torch.zeros(1, 6, CLASSES, cells, cells)
    assert steps((side, side), scores) == (step, step)
    centres = anchors_at(TASK.anchors, (side, side), scores).view(6, cells, cells, 2, 2).mean((0, 3))
    assert torch.equal(centres[1, :, 1], torch.full((cells,), float(step)))


def test_the_cut_into_batches_changes_no_guess() -> None:
    network, (batch, _) = _network(), _batch()
    whole = guessed(TASK, network, batch)
    parts = [guessed(TASK, network, batch.at(slice(row, row + 1))) for row in range(3)]
    assert torch.equal(whole.classes, torch.cat([part.classes for part in parts]))
    assert torch.allclose(whole.boxes, torch.cat([part.boxes for part in parts]), atol=1e-4)
    together, apart = GuessMetrics(), GuessMetrics()
    together.update(whole, batch.targets, batch.indices)
    for row in (2, 0, 1):
        apart.update(parts[row], None, torch.tensor([row]))
    assert torch.equal(together.answers().classes, apart.answers().classes)


def test_one_scale_densely_is_one_look_at_that_picture() -> None:
    network, (batch, _) = _network(), _batch(fit="sides")
    one, dense = guessed(TASK, network, batch), guessed(TASK, GuessingTogether([Guesser(TASK, network)]), batch)
    assert all(torch.equal(one.columns()[name], column) for name, column in dense.columns().items())
    again = Guesser(TASK, network, order=(1, 0, 2, 3))
    thrice = guessed(
        TASK, GuessingTogether([Guesser(TASK, network), Guesser(TASK, network), Guesser(TASK, network)]), batch
    )
    assert torch.equal(thrice.boxes, one.boxes)
    assert torch.allclose(thrice.chances, one.chances)
    turned = guessed(TASK, GuessingTogether([again]), batch)
    swapped = torch.tensor([1, 0, 2, 3])[turned.classes]
    assert torch.equal(swapped, one.classes)
    assert torch.equal(turned.boxes, one.boxes)
    protocol = localisation_protocol("dense:48,64")
    assert (str(protocol), protocol.scales) == ("dense:48,64", (48, 64))


def test_densely_at_the_size_of_a_crop_that_holds_all_of_a_picture_is_that_crop() -> None:
    network = _network()
    boxes = [Boxes.of([[10, 20, 40, 50]], [0]), Boxes.of([[0, 30, 20, 64]], [1])]
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    views = (Preparation(fit="crop", resize=64, crop=64), sides(Preparation(fit="crop", resize=256, crop=224), 64))
    found = []
    for view in views:
        targets = BoxTargets.of(boxes).placed(evaluated(view, [(64, 64)] * 2), torch.arange(2))
        found.append(guessed(TASK, network, Batch(pictures, targets, torch.arange(2))))
    assert all(torch.equal(column, found[1].columns()[name]) for name, column in found[0].columns().items())


@pytest.mark.parametrize(
    ("text", "said_of"),
    [
        ("flips", "of a localiser; wanted center, or dense:224,256"),
        ("dense:0", "wanted short sides in px up to 1024"),
        ("dense:48,48", "wanted up to 16 different scales; name each once"),
    ],
)
def test_other_spellings_are_refused(text: str, said_of: str) -> None:
    with pytest.raises(InputError, match=said_of):
        localisation_protocol(text)
    with pytest.raises(InputError, match="of a localiser that looks at regions; wanted center"):
        localisation_protocol("dense", of_regions=True)


@pytest.fixture
def proposer(tmp_path: Path) -> Callable[[], str]:
    """The folder of a network with anchors."""

    def made() -> str:
        folder = tmp_path / "rpn"
        folder.mkdir()
        task = TASK.model_dump(mode="json")
        preparation = Preparation(fit="crop", resize=SIDE, crop=SIDE)
        save_network(folder, _network(), NAMES, preparation.model_dump(mode="json"), task=task)
        ones = torch.ones(3)
        Statistics(ones / 2, ones / 4, torch.zeros(3), torch.eye(3), None, 0).save(folder / "statistics.safetensors")
        return str(folder)

    return made


def test_proposals_are_the_likeliest_boxes_of_the_class(proposer: Callable[[], str]) -> None:
    task = Localising(proposer=proposer(), proposals=5, side=SIDE).fitted(None, NAMES)
    assert task.anchors == TASK.anchors
    batch, _ = _batch(fit="sides")
    boxes = proposed(task, batch, torch.tensor([[0, 2], [1, 3], [2, 0]]))
    assert boxes.shape == (3, 2, 5, 4)
    outputs = _network()(batch.images)
    scores, offsets = _flat(outputs)
    height, width = batch.images.shape[-2:]
    every = anchors_at(TASK.anchors, (height, width), said(outputs, 6)[0]).permute(1, 2, 0, 3).reshape(-1, 4)
    targets = batch.targets
    assert isinstance(targets, BoxTargets)
    assert targets.where is not None
    own_high, own_wide = targets.where.sizes[0].tolist()
    corner = every.view(-1, 6, 4).mean(1)
    assert len(corner) == outputs.shape[-1] * outputs.shape[-2]
    rows = torch.arange(outputs.shape[-2]) * (height // outputs.shape[-2]) < own_high
    columns = torch.arange(outputs.shape[-1]) * (width // outputs.shape[-1]) < own_wide
    there = (rows[:, None] & columns).flatten().repeat_interleave(6)
    order = scores[0, :, 2].masked_fill(~there, -torch.inf).topk(5).indices
    wanted = decode(offsets[0, order, :, 2], every[order])
    wanted = torch.minimum(wanted.clamp(min=0), torch.tensor([own_wide, own_high] * 2))
    assert torch.allclose(boxes[0, 1], wanted, atol=1e-4)


def test_a_region_is_cut_out_and_stretched() -> None:
    pixels = torch.from_numpy(drawn(4, 32, 0)[0]).permute(2, 0, 1)[None].float()
    whole = warped(pixels, torch.tensor([0]), torch.tensor([[0.0, 0, 32, 32]]), 32)
    assert torch.allclose(whole, pixels, atol=1e-3)
    part = warped(pixels, torch.tensor([0]), torch.tensor([[8.0, 4, 24, 12]]), 16)
    assert torch.allclose(part[0, :, ::2], pixels[0, :, 4:12, 8:24], atol=40)
    assert warped(pixels, torch.tensor([0]), torch.tensor([[5.0, 5, 5, 5]]), 8).isfinite().all()


def test_regions_are_learnt_and_guessed_and_repeat(proposer: Callable[[], str]) -> None:
    task = Localising(proposer=proposer(), proposals=6, side=SIDE).fitted(None, NAMES)
    network, (batch, _) = _network(0), _batch(fit="sides")
    first = task.loss(Learning())(network, batch)
    assert float(first[0].detach()) == float(task.loss(Learning())(network, batch)[0].detach())
    first[0].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    found = task.outputs(network, batch)
    assert found.boxes.shape == (3, CLASSES, 4)
    assert found.boxes.isfinite().all()
    for picture in range(3):
        rank = found.classes[picture].tolist().index(picture)
        assert torch.allclose(found.given[picture], found.boxes[picture, rank])


def test_weights_fill_all_of_a_localiser_or_the_body_of_another(proposer: Callable[[], str]) -> None:
    from deepres.nn.weights.hub import find_weights

    stored = find_weights(proposer())
    again, regions = _network(seed=9), _network(0, seed=9)
    assert load_weights(again, stored) == ""
    assert all(torch.equal(one, other) for one, other in zip(again.parameters(), _network().parameters(), strict=True))
    assert "fills the body" in load_weights(regions, stored)
    assert torch.equal(regions.get_parameter("stem.conv.weight"), again.get_parameter("stem.conv.weight"))
    with pytest.raises(InputError, match="proposes boxes of other classes; train one on these images"):
        Localising(proposer=stored.where).fitted(None, ("x", "y", "z", "w"))


def test_what_cannot_name_classes_or_propose_is_refused(proposer: Callable[[], str], tmp_path: Path) -> None:
    rpn = proposer()
    with pytest.raises(InputError, match=r"names no classes of pictures; wanted a classification run$"):
        Localising(classifier=rpn).fitted(None, NAMES)
    named = tmp_path / "named"
    named.mkdir()
    description = entry("resnet18").config.replace(depths=(1,), widths=(8,), stem_width=8, num_classes=CLASSES)
    save_network(named, create_model(description.architecture()), NAMES, {})
    task = Localising(classifier=str(named)).fitted(None, ("d", "a", "b", "c"))
    assert task.order == (3, 0, 1, 2)
    with pytest.raises(
        InputError, match=r"does not know x; take one of the same classes, or set task\.classifier=none"
    ):
        Localising(classifier=str(named)).fitted(None, ("a", "x"))
    with pytest.raises(InputError, match="has its classes in another order; plan the run on its images"):
        Localising(classifier=str(named), anchors=TASK.anchors).network(
            _network().description, ("d", "a", "b", "c"), FirstValues()
        )
    with pytest.raises(InputError, match="proposes nothing of classes; wanted the run of a per-class RPN"):
        Localising(proposer=str(named)).fitted(None, NAMES)
    two = Localising(anchors=Anchors(sizes=((16,), (32,))))
    with pytest.raises(InputError, match=r"task.anchors of 2 levels: the last map is one; give one row"):
        two.fitted(None, NAMES)
    with pytest.raises(InputError, match="says nothing of 9 anchors at each place; wanted a localiser that does"):
        Localising().network(_network().description, NAMES, FirstValues())
    with pytest.raises(InputError, match="says nothing of a whole region; wanted a localiser that does"):
        Localising(proposer=rpn).network(_network().description, NAMES, FirstValues())
    batch, _ = _batch()
    images = batch.images
    order = tuple(NAMES.index(name) for name in ("d", "a", "b", "c"))
    assert torch.allclose(chances(str(named), order, images), chances(str(named), (), images)[:, list(order)])
