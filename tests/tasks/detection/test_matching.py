"""Pairs of boxes and objects, and seeded draws among them."""

import pytest
import torch
from torch import Tensor

from deepres.data.boxes import Boxes
from deepres.tasks.detection import matching
from deepres.tasks.detection.coding import clip, decode, encode
from deepres.tasks.detection.matching import NEGATIVE, NEITHER, draw, match

NO_BOX = torch.zeros(0, 4)


def _boxes(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def _slow(boxes: Tensor, objects: Tensor, ignored: Tensor, above: float, low: float, high: float) -> list[int]:
    """The same by loops over pairs."""

    def area(box: Tensor) -> float:
        return float((box[2] - box[0]) * (box[3] - box[1]))

    def shared(a: Tensor, b: Tensor) -> float:
        wide = float(torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0]))
        high = float(torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1]))
        return max(wide, 0.0) * max(high, 0.0)

    table = [[shared(a, b) / (area(a) + area(b) - shared(a, b)) for b in objects] for a in boxes]
    best = [max((row[k] for row in table), default=0.0) for k in range(len(objects))]
    found = []
    for box, row in zip(boxes, table, strict=True):
        largest = max(row, default=0.0)
        own = row.index(largest) if row else 0
        if any(value == best[k] > 0 for k, value in enumerate(row)):
            found.append(own)
        elif any(shared(box, other) >= 0.5 * area(box) for other in ignored):
            found.append(NEITHER)
        elif largest >= above:
            found.append(own)
        else:
            found.append(NEGATIVE if low <= largest < high else NEITHER)
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("at_once", [matching._AT_ONCE, 40])
def test_pairs_are_those_of_a_slow_loop(seed: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_AT_ONCE", at_once)
    dice = torch.Generator().manual_seed(seed)

    def some(number: int) -> Tensor:
        low = torch.randint(0, 40, (number, 2), generator=dice)
        return torch.cat([low, low + torch.randint(1, 30, (number, 2), generator=dice)], 1).double()

    boxes, objects, ignored = some(30), some(seed * 2), some(seed % 3)
    found = match(boxes, objects, ignored, 0.5, (0.1, 0.4))
    assert found.tolist() == _slow(boxes, objects, ignored, 0.5, 0.1, 0.4)


def test_a_box_in_a_crowd_is_neither_but_an_objects_best_box_is_its_own() -> None:
    crowd = _boxes((0, 0, 50, 50))
    boxes = _boxes((5, 5, 25, 25), (40, 0, 60, 20), (45, 0, 65, 20), (10, 10, 30, 30), (90, 90, 99, 99))
    assert match(boxes, NO_BOX, crowd, 0.7, (0, 0.3)).tolist() == [NEITHER, NEITHER, NEGATIVE, NEITHER, NEGATIVE]
    objects = _boxes((5, 5, 25, 25))
    assert match(boxes, objects, crowd, 0.7, (0, 0.3)).tolist() == [0, NEITHER, NEGATIVE, NEITHER, NEGATIVE]


def test_an_object_that_no_box_touches_takes_none() -> None:
    boxes = _boxes((0, 0, 10, 10), (20, 20, 30, 30))
    assert match(boxes, _boxes((50, 50, 60, 60)), NO_BOX, 0.7, (0, 0.3)).tolist() == [NEGATIVE] * 2
    assert match(NO_BOX, _boxes((50, 50, 60, 60)), NO_BOX, 0.7, (0, 0.3)).tolist() == []
    assert match(boxes, NO_BOX, _boxes((3, 3, 3, 3)), 0.7, (0, 0.3)).tolist() == [NEGATIVE] * 2


def test_draws_are_a_function_of_seed_and_purpose_and_keep_the_share() -> None:
    matched = torch.tensor([0] * 40 + [NEGATIVE] * 100 + [NEITHER] * 10)
    first = draw(matched, 32, 0.25, 7, "anchors")
    assert torch.equal(first, draw(matched, 32, 0.25, 7, "anchors"))
    assert torch.equal(first, first.sort().values)
    assert int((matched[first] >= 0).sum()) == 8
    assert (matched[first] == NEITHER).sum() == 0
    assert len(first) == len(set(first.tolist())) == 32
    for seed, what in ((8, "anchors"), (7, "regions")):
        assert not torch.equal(first, draw(matched, 32, 0.25, seed, what))
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    draw(matched, 32, 0.25, 7, "anchors")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("positive", "negative", "drawn"), [(3, 100, (3, 29)), (40, 5, (16, 5)), (0, 0, (0, 0)), (2, 0, (2, 0))]
)
def test_negatives_fill_up_what_positives_leave(positive: int, negative: int, drawn: tuple[int, int]) -> None:
    matched = torch.tensor([1] * positive + [NEGATIVE] * negative, dtype=torch.int64)
    places = draw(matched, 32, 0.5, 0, "anchors")
    assert (int((matched[places] >= 0).sum()), int((matched[places] < 0).sum())) == drawn


@pytest.mark.medium
def test_every_box_is_drawn_equally_often() -> None:
    matched = torch.tensor([0] * 20 + [NEGATIVE] * 20)
    counts = torch.zeros(40)
    for seed in range(400):
        counts[draw(matched, 10, 0.5, seed, "anchors")] += 1
    assert counts.min() > 60  # of 100 expected
    assert counts.max() < 140


def test_decoding_undoes_encoding_and_is_cut_where_boxes_would_burst() -> None:
    dice = torch.Generator().manual_seed(0)
    low = torch.rand(2, 50, 2, generator=dice, dtype=torch.float64) * 50
    boxes, references = torch.cat([low, low + 1 + torch.rand(2, 50, 2, generator=dice, dtype=torch.float64) * 40], 2)
    deviations = (10, 10, 5, 5)
    torch.testing.assert_close(decode(encode(boxes, references, deviations), references, deviations), boxes)
    far = decode(torch.tensor([[0.0, 0, 99, 99]]), torch.tensor([[0.0, 0, 16, 16]]))
    torch.testing.assert_close(far, torch.tensor([[-492.0, -492, 508, 508]]))
    assert clip(far, (30, 40)).tolist() == [[0, 0, 40, 30]]
    assert len(Boxes.of([], [])) == 0
