"""The loss around weights: as a slow loop has it, at the trained weights exactly, whatever the scale of a layer."""

from contextlib import suppress
from math import exp, log

import pytest
import torch
from torch import nn
from torch.func import functional_call

from deepres.analyze.surface import filter_direction, loss_surface, moved
from deepres.arch.families.resnet import ResNetConfig
from deepres.base.errors import InputError
from deepres.data.images import Batch
from deepres.data.rng import generator
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model


@pytest.fixture
def network() -> ResidualNetwork:
    config = ResNetConfig(
        name="small", stem="cifar", stem_width=4, depths=(1, 1), widths=(4, 8), input=(3, 8, 8), num_classes=3
    )
    torch.manual_seed(1)
    made = create_model(config.architecture()).train()
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.normal_(std=0.3)
        for _ in range(5):
            made(torch.randn(8, 3, 8, 8))
    return made


def _batches(sizes: tuple[int, ...] = (5, 3)) -> list[Batch]:
    torch.manual_seed(2)
    whole = Batch(torch.randn(8, 3, 8, 8), torch.randint(3, (8,)), torch.arange(8))
    parts = zip(whole.images.split(sizes), whole.targets.split(sizes), whole.indices.split(sizes), strict=True)
    return [Batch(*part) for part in parts]


def _slow_direction(network: nn.Module, number: int) -> dict[str, torch.Tensor]:
    """Filter by filter, in plain loops."""
    found = {}
    for name, weight in network.named_parameters():
        if not name.endswith(".weight") or weight.dim() not in (2, 4):
            found[name] = torch.zeros_like(weight)
            continue
        drawn = torch.randn(weight.shape, dtype=torch.float64, generator=generator(7, "surface", number, name))
        for i in range(len(weight)):
            drawn[i] *= weight[i].detach().double().pow(2).sum().sqrt() / drawn[i].pow(2).sum().sqrt()
        found[name] = drawn.float()
    return found


def _slow(network: nn.Module, places: list[float]) -> tuple[float, int]:
    """Mean of -log softmax, image by image, and how many are wrong."""
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    for number, step in enumerate(places):
        direction = _slow_direction(network, number)
        weights = {name: weight + step * direction[name] for name, weight in weights.items()}
    total, wrong = 0.0, 0
    network.eval()
    for batch in _batches():
        for image, label in zip(batch.images, batch.targets.tolist(), strict=True):
            logits = functional_call(network, weights, (image[None],))[0].tolist()
            total += log(sum(exp(z - max(logits)) for z in logits)) + max(logits) - logits[label]
            wrong += logits.index(max(logits)) != label
    network.train()
    return total / 8, wrong


@pytest.mark.medium
def test_it_is_what_a_slow_loop_finds_at_every_place(network: ResidualNetwork) -> None:
    found = loss_surface(network, _batches(), points=3, draws=2, seed=7)
    assert found.steps == (-1.0, 0.0, 1.0)
    for j, b in enumerate(found.steps):
        for i, a in enumerate(found.steps):
            entropy, wrong = _slow(network, [a, b])
            assert found.plane[j][i].cross_entropy == pytest.approx(entropy, rel=1e-5), (a, b)
            assert found.plane[j][i].num_wrong == wrong
    assert found.slices == (found.plane[1], tuple(row[1] for row in found.plane))
    own, other = (_slow_direction(network, number) for number in (0, 1))
    one, two = (torch.cat([part.flatten() for part in each.values()]).double() for each in (own, other))
    assert found.cosine == pytest.approx(float(one @ two / one.norm() / two.norm()), rel=1e-5)
    assert found.num_moved == int((one != 0).sum())
    assert found.num_filters == 4 + 2 * 4 + 2 * 8 + 8 + 3  # stem, units, projection, classifier


def test_every_filter_is_as_long_as_the_networks_own_and_nothing_else_moves(network: ResidualNetwork) -> None:
    direction = filter_direction(network, 0, 0)
    weights = dict(network.named_parameters())
    assert {name for name in weights if weights[name].dim() < 2}.isdisjoint(direction)
    for name, part in direction.items():
        torch.testing.assert_close(part.flatten(1).norm(dim=1), weights[name].flatten(1).norm(dim=1))


def test_a_layer_whose_scale_its_norm_takes_out_changes_nothing(network: ResidualNetwork) -> None:
    before = loss_surface(network, _batches(), points=3, draws=1)
    with torch.no_grad():  # what leaves the norm stays the same but for its eps
        network.stem.conv.weight.mul_(64)
        network.stem.norm.running_mean.mul_(64)
        network.stem.norm.running_var.mul_(64 * 64)
    after = loss_surface(network, _batches(), points=3, draws=1)
    for one, other in zip(before.slices[0], after.slices[0], strict=True):
        assert one.cross_entropy == pytest.approx(other.cross_entropy, rel=1e-3)


def test_one_direction_has_no_plane_and_the_seed_decides(network: ResidualNetwork) -> None:
    found = loss_surface(network, _batches(), points=3, draws=1, seed=3)
    assert found.plane == ()
    assert found.cosine is None
    assert found == loss_surface(network, _batches(), points=3, draws=1, seed=3)
    assert found.slices != loss_surface(network, _batches(), points=3, draws=1, seed=4).slices
    assert found.trained == loss_surface(network, _batches(), points=3, draws=1, seed=4).trained
    assert found.slices == loss_surface(network, _batches(), points=3, draws=3, seed=3).slices[:1]


def test_the_network_is_left_as_it_was_also_where_it_fails(network: ResidualNetwork) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    direction = filter_direction(network, 0, 0)
    with suppress(KeyboardInterrupt), moved(network, [direction], ((0, 0.5),)):
        assert not torch.equal(network.stem.conv.weight, before["stem.conv.weight"])
        raise KeyboardInterrupt
    assert torch.equal(network.stem.conv.weight, before["stem.conv.weight"])
    told: list[tuple[int, int]] = []
    loss_surface(network, _batches(), points=3, draws=2, on_progress=lambda *both: told.append(both))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training
    assert told == [(done, 18) for done in range(1, 19)]


def test_what_is_not_finite_is_no_number_and_no_right_answer(network: ResidualNetwork) -> None:
    with torch.no_grad():
        network.head.fc.bias[0] = float("inf")
    found = loss_surface(network, _batches(), points=3, draws=1).trained
    assert found.cross_entropy is None
    assert found.num_wrong == 8


@pytest.mark.parametrize("points", [1, 2, 4])
def test_points_that_leave_the_network_out_are_refused(network: ResidualNetwork, points: int) -> None:
    with pytest.raises(InputError, match=f"surface: {points} points along a direction; wanted an odd number of 3 or"):
        loss_surface(network, _batches(), points=points)
    with pytest.raises(InputError, match="no image was given"):
        loss_surface(network, [], points=3)
