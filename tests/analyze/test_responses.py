import copy
from collections.abc import Callable
from statistics import fmean, pstdev

import pytest
import torch

from deepres.analyze.responses import Responses, responses
from deepres.arch.architecture import Architecture
from deepres.arch.families.densenet import DenseNetConfig
from deepres.arch.families.highway import HighwayConfig
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.families.vgg import VggConfig
from deepres.arch.units import Mixing, Style
from deepres.base.errors import InputError, RunError
from deepres.base.records import parse
from deepres.data.images import Batch
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.hooks import part

SMALL = {"input": (3, 8, 8), "num_classes": 4}


def _resnet(unit: str = "basic", shortcut: str = "A", **style: object) -> Architecture:
    given = {"stem": "cifar", "stem_width": 4, "depths": (2, 1), "widths": (4, 8), "unit": unit, "shortcut": shortcut}
    return ResNetConfig.model_validate({"name": "small", **SMALL, **given, "style": Style(**style)}).architecture()


def _lived_in(description: Architecture) -> ResidualNetwork:
    network = create_model(description)
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, mean=1, std=0.3)
            torch.nn.init.normal_(module.bias, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


def _batches(sizes: tuple[int, ...] = (3, 1)) -> list[Batch]:
    images = torch.randn(sum(sizes), 3, 8, 8, generator=torch.Generator().manual_seed(2))
    parts = zip(images.split(sizes), torch.arange(sum(sizes)).split(sizes), strict=True)
    return [Batch(x, torch.zeros(len(x), dtype=torch.int64), places) for x, places in parts]


def _gave(network: ResidualNetwork, images: torch.Tensor, names: list[str]) -> dict[str, torch.Tensor]:
    """By hooks of its own, all images at once."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[[object, object, torch.Tensor], None]:
        def hook(module: object, given: object, gave: torch.Tensor) -> None:
            found[name] = gave.detach().clone()

        return hook

    other = copy.deepcopy(network)
    for name in names:
        other.get_submodule(name).register_forward_hook(keep(name))
    with torch.no_grad():
        other(images)
    return found


ORIGINAL = [
    ("stem.conv", "stem.norm"),
    *(
        (f"{unit}.branch.conv{i}", f"{unit}.branch.norm{i}")
        for unit in ("stage1.unit1", "stage1.unit2")
        for i in (1, 2)
    ),
    ("stage2.unit1.branch.conv1", "stage2.unit1.branch.norm1"),
    ("stage2.unit1.branch.conv2", "stage2.unit1.branch.norm2"),
]
AT_THE_NORM = {"pre": "norm2", "bn_after_add": "norm1"}


@pytest.mark.parametrize("shortcut", ["A", "B", "C", "none"])
def test_the_responses_are_read_behind_the_norm_of_every_3x3_layer_in_order(shortcut: str) -> None:
    found = responses(_lived_in(_resnet(shortcut=shortcut)), _batches())
    assert [(layer.layer, layer.at) for layer in found.layers] == ORIGINAL
    assert found.num_images == 4


@pytest.mark.parametrize("order", ["pre", "bn_after_add"])
def test_where_the_addition_comes_first_the_layer_itself_is_read(order: str) -> None:
    found = responses(_lived_in(_resnet(order=order)), _batches())
    unit = {layer.layer: layer.at for layer in found.layers if layer.layer.startswith("stage1.unit2")}
    branch = "stage1.unit2.branch"
    assert unit == {f"{branch}.conv1": f"{branch}.{AT_THE_NORM[order]}", f"{branch}.conv2": f"{branch}.conv2"}


def test_of_a_bottleneck_the_3x3_alone_is_read() -> None:
    found = responses(_lived_in(_resnet(unit="bottleneck", shortcut="B")), _batches())
    assert [layer.at for layer in found.layers[1:]] == [
        f"{unit}.branch.norm2" for unit in ("stage1.unit1", "stage1.unit2", "stage2.unit1")
    ]


@pytest.mark.parametrize("norm", [True, False])
def test_plain_stacks_are_read_too(norm: bool) -> None:
    config = VggConfig(name="plain", **SMALL, depths=(2, 1), widths=(4, 8), norm=norm, hidden=(5,), pool=1)
    network = _lived_in(config.architecture())
    found = responses(network, _batches())
    places = ["stem", "stage1.unit1.branch", "stage2.unit1.branch"]
    assert [layer.at for layer in found.layers] == [f"{place}.{'norm' if norm else 'conv'}" for place in places]
    assert {unit.shortcut for unit in found.units} == {None}
    assert {unit.ratio for unit in found.units} == {None}
    assert found.activations[-1].activation == "head.hidden.act1"
    assert found.activations[-1].num_channels == 5


@pytest.mark.parametrize("order", ["original", "pre", "bn_after_add", "relu_before_add"])
def test_standard_deviations_and_means_are_those_of_all_values(order: str) -> None:
    network, batches = _lived_in(_resnet(order=order)), _batches((4,))
    found = responses(network, batches)
    gave = _gave(network, batches[0].images, [layer.at for layer in found.layers])
    for layer in found.layers:
        values = gave[layer.at].flatten().tolist()
        assert layer.std == pytest.approx(pstdev(values), rel=1e-9)
        assert layer.mean == pytest.approx(fmean(values), rel=1e-9, abs=1e-12)
        assert layer.num_channels == gave[layer.at].shape[1]
    assert list(found.descending) == sorted((layer.std for layer in found.layers), reverse=True)
    assert found.descending[0] > found.descending[-1]


def test_however_the_batches_are_cut() -> None:
    network = _lived_in(_resnet())
    one, other = responses(network, _batches((6,))), responses(network, _batches((1, 3, 2)))
    assert [layer.std for layer in one.layers] == pytest.approx([layer.std for layer in other.layers], rel=1e-6)
    assert [unit.branch for unit in one.units] == pytest.approx([unit.branch for unit in other.units], rel=1e-6)
    assert one.activations == other.activations


def test_a_large_mean_costs_no_digits() -> None:
    network, batches = _lived_in(_resnet()), _batches()
    plain = responses(network, batches)
    with torch.no_grad():
        part(network, "stem.norm").bias.add_(4096.0)
    moved = responses(network, batches)
    assert moved.layers[0].std == pytest.approx(plain.layers[0].std, rel=1e-3)
    assert moved.layers[0].mean == pytest.approx(plain.layers[0].mean + 4096, rel=1e-6)


def test_by_the_batch_a_norms_variance_is_that_of_its_parameters() -> None:
    network = _lived_in(_resnet())
    found = responses(network, _batches((64,)), statistics="batch")
    for layer in found.layers:
        norm = part(network, layer.at)
        parameters = norm.weight.square().mean() + norm.bias.var(correction=0)
        assert layer.std**2 == pytest.approx(float(parameters.detach()), rel=1e-3)
    assert found.layers[0].std != responses(network, _batches((64,))).layers[0].std


def _rms(x: torch.Tensor) -> float:
    values = x.flatten().tolist()
    return (sum(value * value for value in values) / len(values)) ** 0.5


@pytest.mark.parametrize(
    "mixing",
    [Mixing(), Mixing(shortcut_scale=0.5, branch_scale=0.25), Mixing(gate="exclusive"), Mixing(gate="shortcut")],
)
def test_branch_and_shortcut_count_as_they_enter_the_sum(mixing: Mixing) -> None:
    network, batches = _lived_in(_resnet(shortcut="B", mixing=mixing)), _batches()
    found = responses(network, batches)
    assert [unit.unit for unit in found.units] == ["stage1.unit1", "stage1.unit2", "stage2.unit1"]
    parts = ["branch", "shortcut", *(["gate"] if mixing.gate else [])]
    names = [f"{unit.unit}.{name}" for unit in found.units for name in parts]
    gave = _gave(network, torch.cat([batch.images for batch in batches]), names)
    for unit in found.units:
        branch, shortcut = gave[f"{unit.unit}.branch"], gave[f"{unit.unit}.shortcut"]
        gate = gave.get(f"{unit.unit}.gate", torch.zeros_like(branch))
        branch = gate * branch if mixing.gate == "exclusive" else branch
        assert unit.branch == pytest.approx(_rms(branch), rel=1e-5)
        assert unit.shortcut == pytest.approx(_rms((1 - gate) * shortcut), rel=1e-5)
        assert unit.ratio == pytest.approx(_rms(branch) / _rms((1 - gate) * shortcut), rel=1e-5)


def test_a_gate_is_no_layer() -> None:
    config = HighwayConfig(name="gated", **SMALL, depths=(1,), widths=(4,))
    found = responses(_lived_in(config.architecture()), _batches())
    assert [layer.at for layer in found.layers] == ["stem.conv", "stage1.unit1.branch.conv"]
    assert [use.activation for use in found.activations] == ["stem.act", "stage1.unit1.branch.act"]


def test_of_a_dense_unit_the_features_so_far_are_the_shortcut() -> None:
    config = DenseNetConfig(name="dense", **SMALL, stem="cifar", stem_width=4, depths=(2, 1), growth=2)
    network, batches = _lived_in(config.architecture()), _batches((3,))
    found = responses(network, batches)
    gave = _gave(network, batches[0].images, ["stem", "stage1.unit1.branch"])
    assert found.units[0].shortcut == pytest.approx(_rms(gave["stem"]), rel=1e-5)
    assert found.units[0].branch == pytest.approx(_rms(gave["stage1.unit1.branch"]), rel=1e-5)


@pytest.mark.medium
def test_a_channel_that_no_image_opens_is_dead_and_one_that_a_single_image_opens_is_not() -> None:
    network, batches = _lived_in(_resnet()), _batches((3, 1))
    norm = part(network, "stage1.unit1.branch.norm1")
    alive = responses(network, batches)
    assert [use.activation for use in alive.activations[:3]] == [
        "stem.act",
        "stage1.unit1.branch.act1",
        "stage1.unit1.act",
    ]
    with torch.no_grad():
        norm.bias[2] = -1000.0
    dead = responses(network, batches)
    assert dead.activations[1].dead == (2,)
    assert dead.activations[1].num_channels == 4
    assert dead.num_dead >= 1
    only_last = [Batch(torch.zeros_like(batches[0].images), batches[0].targets, batches[0].indices), batches[1]]
    peak = _gave(network, batches[1].images, ["stem.norm"])["stem.norm"].amax((0, 2, 3))
    nothing = _gave(network, only_last[0].images, ["stem.norm"])["stem.norm"].amax((0, 2, 3))
    expected = tuple(channel for channel in range(4) if max(peak[channel], nothing[channel]) <= 0)
    assert responses(network, only_last).activations[0].dead == expected
    assert responses(network, only_last[::-1]).activations[0].dead == expected
    assert responses(network, only_last[:1]).activations[0].dead != expected


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_the_network_is_left_as_it_was_and_answers_the_same_again(statistics: str) -> None:
    network, batches = _lived_in(_resnet()), _batches((4, 4))
    part(network, "stage1").train()
    state, modes = copy.deepcopy(network.state_dict()), [module.training for module in network.modules()]
    random, ticks = torch.get_rng_state(), []
    found = responses(network, batches, statistics=statistics, on_progress=lambda *seen: ticks.append(seen))
    assert found == responses(network, batches, statistics=statistics)
    assert parse(Responses, found.to_json(), "responses") == found
    assert ticks == [(1, 2), (2, 2)]
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_without_images_it_refuses_and_broken_weights_are_named() -> None:
    network = _lived_in(_resnet())
    with pytest.raises(InputError, match=r"^small: no images were given to read responses of; wanted at least one$"):
        responses(network, [])
    with torch.no_grad():
        part(network, "stage1.unit2.branch.conv1").weight.fill_(float("nan"))
    with pytest.raises(RunError, match=r"^small: stage1\.unit2\.branch\.norm1 gives values that are not finite; are"):
        responses(network, _batches())
    assert not any(module._forward_hooks for module in network.modules())


def test_the_papers_layers_are_counted_with_the_first() -> None:
    found = responses(create_model("resnet20_cifar"), _batches((2,)))
    assert len(found.layers) == 19
