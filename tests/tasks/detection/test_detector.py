"""A detector as a module: its names, its first values, answers that depend on nothing but the picture."""

import pytest
import torch
from tiny import TWO, batch, config, network, pictures
from torch import Tensor

from deepres.arch.algebra import at
from deepres.arch.readings.memory import step_memory
from deepres.arch.regions import Proposals, Regions
from deepres.base.errors import InputError
from deepres.nn.freeze import freeze
from deepres.tasks.detection.anchors import around_a_place
from deepres.tasks.detection.detector import create
from deepres.tasks.detection.losses import loss
from deepres.tasks.detection.regions import level_of

FREE = {"regions": Regions(pool=3, widths=(16,), score_above=0.0, most=20)}


@pytest.mark.medium
@pytest.mark.parametrize("neck", ["fpn", "c4"])
def test_children_and_tensors_have_the_descriptions_names(neck: str) -> None:
    net = network(neck)
    children = [name for name, _ in net.named_children()]
    assert children == ["stem", "stage1", "stage2", "stage3", "stage4", "neck", "proposals", "regions"]
    assert net.head_names == ("neck", "proposals", "regions")
    assert net.num_classes == 3
    places = {place.name: place.node for place in net.description.places}
    for name in {name.rpartition(".")[0] for name in net.state_dict()}:
        (place,) = [place for place in places if name == place or name.startswith(f"{place}.")]
        assert name == place or at(places[place], name.removeprefix(f"{place}.")) is not None
    body = net.description.backbone
    assert {name for name in net.state_dict() if name.startswith("st")} == set(_body_tensors(body))
    assert not any(value.is_meta for value in net.state_dict().values())


def _body_tensors(body: object) -> list[str]:
    from deepres.nn.build import build

    return [name for name in build(body).state_dict() if not name.startswith("head.")]  # type: ignore[arg-type]


@pytest.mark.medium
def test_first_values_are_seeded_and_drawn_by_part() -> None:
    first, again, other = network(seed=1), network(seed=1), network(seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(first.state_dict()["neck.lateral1.weight"], other.state_dict()["neck.lateral1.weight"])
    state = create(config(neck_channels=64, regions=Regions(pool=3, widths=(64,))).architecture()).state_dict()
    bound = (3 / state["neck.output1.weight"][0].numel()) ** 0.5
    assert 0.95 * bound < state["neck.output1.weight"].abs().max() <= bound
    assert float(state["proposals.conv.conv.weight"].std()) == pytest.approx(0.01, rel=0.02)
    bound = (1 / state["regions.head.fc1.weight"][0].numel()) ** 0.5
    assert 0.95 * bound < state["regions.head.fc1.weight"].abs().max() <= bound
    assert all(not value.any() for name, value in state.items() if name.endswith("bias") and "norm" not in name)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.medium
def test_answers_do_not_depend_on_the_batch(number: int) -> None:
    net = network(**FREE).double().eval()
    images = pictures(5).double()
    sizes = torch.tensor([[64, 64], [60, 33], [64, 50], [10, 64], [1, 1]])
    with torch.no_grad():
        whole = net(images, sizes)
        parts = [found for x, s in zip(images.split(number), sizes.split(number), strict=True) for found in net(x, s)]
    assert sum(len(found.scores) for found in whole) > 20
    for one, other, (height, width) in zip(whole, parts, sizes.tolist(), strict=True):
        assert torch.equal(one.classes, other.classes)
        torch.testing.assert_close(one.scores, other.scores, rtol=0, atol=1e-12)
        torch.testing.assert_close(one.corners, other.corners, rtol=0, atol=1e-9)
        assert bool((one.scores.diff() <= 0).all())
        assert bool((one.corners >= 0).all() and (one.corners[:, 2] <= width).all())
        assert bool((one.corners[:, 3] <= height).all())


@pytest.mark.medium
def test_answers_keep_to_their_numbers_and_scores() -> None:
    net = network(regions=Regions(pool=3, widths=(16,), score_above=0.26, most=7)).eval()
    with torch.no_grad():
        for found in net(pictures(3)):
            assert len(found.scores) <= 7
            assert bool((found.scores > 0.26).all())
            assert set(found.classes.tolist()) <= {0, 1, 2}
    nothing = network(regions=Regions(pool=3, widths=(16,), score_above=1.0)).eval()
    with torch.no_grad():
        (found,) = nothing(pictures(1))
    assert (found.corners.shape, found.classes.shape, found.scores.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([[64, 65]], "a picture of 65 x 64 px in a batch of 64 x 64"),
        ([[0, 4]], "a picture of 4 x 0 px"),
        ([[64, 64], [64, 64]], "2 sizes of 1 pictures"),
    ],
)
def test_sizes_that_do_not_lie_in_the_batch_are_refused(sizes: list[list[int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network()(pictures(1), torch.tensor(sizes))


@pytest.mark.medium
def test_regions_pooled_by_their_maximum_and_with_any_number_of_samples() -> None:
    for regions in (Regions(pool=3, widths=(16,), pooled="max"), Regions(pool=3, widths=(16,), samples=0)):
        with torch.no_grad():
            assert len(network(regions=regions).eval()(pictures(2))) == 2


@pytest.mark.parametrize(
    ("side", "level"), [(1, 0), (56, 0), (111, 0), (112, 1), (223, 1), (224, 2), (448, 3), (5000, 3)]
)
def test_a_region_of_224_px_is_looked_at_in_the_map_of_stride_16(side: int, level: int) -> None:
    assert level_of(torch.tensor([[3.0, 4, 3 + side, 4 + side]]), (4, 8, 16, 32)).tolist() == [level]


def test_anchors_have_the_area_of_their_size_and_the_ratio_of_their_sides() -> None:
    found = around_a_place((16.0, 64.0), (0.5, 1.0, 2.0), False, torch.zeros(1, dtype=torch.float32))
    sides = found[:, 2:] - found[:, :2]
    torch.testing.assert_close(sides.prod(1).sqrt(), torch.tensor([16.0, 64] * 3))
    torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor([0.5, 0.5, 1, 1, 2, 2]))
    assert torch.equal(found[:, :2], -found[:, 2:])


def test_unknown_parts_are_not_frozen_in_silence() -> None:
    net = network()
    freeze(net, ("stem", "stage1", "neck"))
    assert {name.partition(".")[0] for name, p in net.named_parameters() if p.requires_grad} == {
        *("stage2", "stage3", "stage4", "proposals", "regions")
    }
    with pytest.raises(InputError, match=r"train\.frozen"):
        freeze(net, ("head",))


@pytest.mark.parametrize("neck", ["fpn", "c4"])
@pytest.mark.medium
def test_what_a_step_keeps_is_estimated_with_its_regions_and_not_too_low(neck: str) -> None:
    net = network(neck, proposals=Proposals(sampled=32, after_train=200)).train()
    kept: dict[int, Tensor] = {}  # by storage, which stays alive until all are counted

    def noted(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(noted, lambda tensor: tensor):
        value, _ = loss(net, batch(pictures(), TWO))
    weights = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    measured = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights)
    value.backward()
    estimate = step_memory(net.description, 2)
    assert measured <= 1.02 * estimate.saved <= 3 * measured  # what was drawn is small
    more = net.description.replace(regions=net.description.regions.replace(sampled=160))
    assert step_memory(more, 2).saved > estimate.saved
