import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deepres.analyze import localisation
from deepres.analyze.localisation import Localisation, box_of, localise
from deepres.arch.families.resnet import ResNetConfig
from deepres.base.errors import InputError
from deepres.data.images import Batch
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model

SMALL = ResNetConfig(
    name="r", input=(3, 16, 16), num_classes=9, stem="cifar", stem_width=8, depths=(1, 1), widths=(8, 16)
)


def _slow_box(heat: list[list[float]], share: float) -> tuple[int, int, int, int] | None:
    """Flood fill from each pixel in turn."""
    top = max(max(row) for row in heat)
    left = {(y, x) for y, row in enumerate(heat) for x, value in enumerate(row) if top > 0 and value > share * top}
    best: set[tuple[int, int]] = set()
    while left:
        part, edge = set(), [min(left)]
        while edge:
            y, x = edge.pop()
            if (y, x) in left:
                left.remove((y, x))
                part.add((y, x))
                edge += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        best = part if len(part) > len(best) else best
    if not best:
        return None
    rows, columns = [y for y, _ in best], [x for _, x in best]
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


@pytest.mark.medium
@given(st.lists(st.lists(st.integers(-3, 10), min_size=6, max_size=6), min_size=1, max_size=6), st.floats(0.05, 0.9))
@settings(max_examples=200, deadline=None)
def test_a_box_is_that_of_a_flood_fill(heat: list[list[int]], share: float) -> None:
    values = [[float(value) for value in row] for row in heat]
    assert box_of(torch.tensor(values), share) == _slow_box(values, share)


def test_the_threshold_is_a_fifth_of_the_maximum_of_the_raw_map() -> None:
    heat = torch.tensor([[-10.0, 1.9, 2.1, 10.0, 1.9, 0.0, 9.0]])
    assert box_of(heat) == (2, 0, 4, 1)  # after scaling to the minimum, 1.9 would be above a fifth
    assert box_of(-heat.abs()) is None


@pytest.fixture
def net() -> ResidualNetwork:
    return create_model(SMALL.architecture(), seed=1).train()


def _batches(size: int = 3) -> list[Batch]:
    x = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    labels, indices = torch.tensor([0, 1, 2, 3, 4, 5]), torch.arange(6) * 5
    return [Batch(*parts) for parts in zip(x.split(size), labels.split(size), indices.split(size), strict=True)]


def _true() -> dict[int, Tensor]:
    return {index: torch.tensor([[12, 12, 14, 14], [0, 0, 16, 16]]) for index in range(0, 30, 5)}


def _with(
    monkeypatch: pytest.MonkeyPatch, order: list[list[int]], boxes: list[list[tuple[int, int, int, int]]]
) -> None:
    """The network's first classes are `order`; the map of image n's class k is 1 within `boxes[n][k]`."""
    targets = torch.tensor(order)
    maps = torch.zeros(len(order), len(order[0]), 16, 16)
    for n, row in enumerate(boxes):
        for k, (x1, y1, x2, y2) in enumerate(row):
            maps[n, k, y1:y2, x1:x2] = 1
    monkeypatch.setattr(localisation, "top_classes", lambda *_: targets)
    monkeypatch.setattr(localisation, "attribution_maps", lambda *_: maps)


def test_an_image_is_right_with_the_class_and_the_box(net: ResidualNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    hit, half, miss = (0, 0, 10, 10), (0, 0, 10, 5), (0, 0, 10, 4)  # IoU 1, exactly 0.5, 0.4
    order = [[0, 1, 2], [1, 0, 2], [5, 2, 0], [3, 0, 1], [4, 0, 1], [0, 1, 2]]
    boxes = [[hit, miss, miss], [miss, hit, hit], [hit, half, miss], [half, miss, miss], [miss] * 3, [hit] * 3]
    _with(monkeypatch, order, boxes)
    true = {index: torch.tensor([[0, 0, 10, 10]]) for index in range(0, 30, 5)}
    found = localise(net, _batches(6), true)
    assert (found.class_top1_wrong, found.class_top5_wrong) == (2, 1)  # image 2 in second place, image 5 nowhere
    assert (found.top1_wrong, found.top5_wrong) == (4, 3)  # right: 0 and 3; and 2
    assert (found.top1_error, found.top5_error) == (4 / 6, 3 / 6)
    assert localise(net, _batches(6), true, iou=0.6).top5_wrong == 5


def test_any_of_several_true_boxes_counts(net: ResidualNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    _with(monkeypatch, [[n] for n in range(6)], [[(0, 0, 16, 16)]] * 6)
    assert localise(net, _batches(6), _true()).top1_wrong == 0


def test_it_repeats_whatever_the_batches_and_changes_nothing(net: ResidualNetwork) -> None:
    modes, state = [module.training for module in net.modules()], torch.get_rng_state()
    heard: list[tuple[int, int]] = []
    first = localise(net, _batches(), _true(), on_progress=lambda *pair: heard.append(pair))
    assert first == localise(net, _batches(), _true())
    assert heard == [(1, 2), (2, 2)]
    assert (first.num_images, first.method, first.upsampling) == (6, "cam", "bilinear, align_corners=False")
    assert first.class_top1_wrong <= first.top1_wrong
    assert first.top5_wrong <= first.top1_wrong
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert Localisation.model_validate_json(first.to_json()) == first


def test_refusals(net: ResidualNetwork) -> None:
    with pytest.raises(
        InputError, match=r"^localisation: image 5 has no true box; give one for each, or leave it out$"
    ):
        localise(net, _batches(), {0: torch.tensor([[0, 0, 1, 1]])})
    mixed = Batch(_batches()[0].images, torch.rand(3, 9), torch.arange(3))
    with pytest.raises(
        InputError, match=r"^localisation: labels of mixed images; give batches as evaluation has them$"
    ):
        localise(net, [mixed], _true())
    with pytest.raises(InputError, match="no image was given"):
        localise(net, [], {})
