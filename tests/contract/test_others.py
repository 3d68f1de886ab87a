"""The entries of the other families through the catalogue's contract, and a gradient that reaches every parameter."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torchvision import models

from deepres.arch.architecture import Architecture, feature_shapes, with_classes
from deepres.arch.catalogue.entries_others import ENTRIES
from deepres.arch.catalogue.entry import Config
from deepres.arch.catalogue.lookup import CATALOGUE, architecture
from deepres.arch.readings.cost import cost
from deepres.base.errors import InputError
from deepres.base.records import Record, build, parse
from deepres.nn.create import create_model

# learnable parameters with 10 classes (ImageNet: 1000; highway_fc50_cifar: 100), multiply-adds in millions, rounded;
# counted by independent programs from the papers' tables, or from torchvision; None: checked against torch below only
EXPECTED = {
    "densenet121": (7_978_856, 2834),
    "densenet161": (28_681_000, 7728),
    "densenet169": (14_149_480, 3360),
    "densenet201": (20_013_928, 4291),
    "densenet264": (33_337_704, 5752),
    "densenet40_k12_cifar": (1_019_722, 265),
    "densenet100_k12_cifar": (6_979_642, 1770),
    "densenet100_k24_cifar": (27_249_082, 6889),
    "densenet_bc100_k12_cifar": (769_162, 288),
    "densenet_bc250_k24_cifar": (15_324_406, 5419),
    "densenet_bc190_k40_cifar": (25_624_430, 9302),
    "vgg15_cifar": (3 * 128 * 9 + 13 * 128 * 128 * 9 + 14 * 2 * 128 + 1290, None),
    "vgg16_bn": (138_365_992, None),
    "vgg19_bn": (143_678_248, None),
    # plain layers, twice as much for gated ones, classifier
    "highway19_cifar": (
        (27 * 32 + 32)
        + (9 * 32 * 64 + 64)
        + (9 * 64 * 128 + 128)
        + sum(2 * 5 * (9 * c * c + c) for c in (32, 64, 128))
        + 1290,
        None,
    ),
    "highway32_cifar": (
        (27 * 32 + 32)
        + (9 * 32 * 64 + 64)
        + (9 * 64 * 128 + 128)
        + sum(2 * n * (9 * c * c + c) for n, c in ((10, 32), (9, 64), (9, 128)))
        + 1290,
        None,
    ),
    "highway_fc50": (785 * 50 + 49 * 2 * 51 * 50 + 510, None),
    "highway_fc50_cifar": (3073 * 50 + 49 * 2 * 51 * 50 + 5100, None),
    "fractalnet20_cifar": (33_760_484 - 90 * 513, None),  # the reference's 100 classes
    "fractalnet20_drop_cifar": (33_760_484 - 90 * 513, None),
    # a layer has one convolution over both streams and one norm
    "rir18_wide_cifar": (
        (27 * 96 + 2 * 96)
        + 4 * 9 * 96 * 96
        + (9 * 96 * 192 + 5 * 9 * 192 * 192)
        + (9 * 192 * 384 + 5 * 9 * 384 * 384)
        + 2 * (4 * 96 + 6 * 192 + 6 * 384)
        + 3850,
        None,
    ),
}
HUNDRED = {  # densenet.md: parameters with 100 classes
    "densenet40_k12_cifar": 1_060_132,
    "densenet100_k12_cifar": 7_084_852,
    "densenet100_k24_cifar": 27_457_972,
    "densenet_bc100_k12_cifar": 800_032,
    "densenet_bc250_k24_cifar": 15_480_556,
    "densenet_bc190_k40_cifar": 25_821_620,
    "fractalnet20_cifar": 33_760_484,
}
SIDES = {
    "densenet": (56, 28, 14, 7),
    "densenet_cifar": (32, 16, 8),
    "vgg": (112, 56, 28, 14, 7),
    "vgg_cifar": (16, 8, 4, 2, 1),
    "highway_cifar": (32, 16, 8),
    "fractal_cifar": (16, 8, 4, 2, 1),
    "rir_cifar": (32, 16, 8),
}
NAMES = [entry.config.name for entry in ENTRIES]


def test_the_contract_covers_the_entries() -> None:
    assert list(EXPECTED) == NAMES
    assert set(NAMES) <= set(CATALOGUE)
    assert len(set(CATALOGUE)) == len(CATALOGUE)


@pytest.mark.parametrize("name", NAMES)
def test_counts_equal_the_reference(name: str) -> None:
    parameters, millions = EXPECTED[name]
    counted = cost(architecture(name))
    assert counted.parameters == parameters
    assert millions is None or round(counted.macs / 1e6) == millions


@pytest.mark.parametrize("name", HUNDRED)
def test_counts_with_a_hundred_classes_equal_the_reference(name: str) -> None:
    assert cost(architecture(name, num_classes=100)).parameters == HUNDRED[name]


@pytest.mark.medium
@pytest.mark.parametrize("name", ["densenet121", "densenet161", "densenet169", "densenet201", "vgg16_bn", "vgg19_bn"])
def test_counts_equal_torchvisions(name: str) -> None:
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its initialisation on no values
        theirs = getattr(models, name)()
    assert cost(architecture(name)).parameters == sum(p.numel() for p in theirs.parameters())


@pytest.mark.medium
@pytest.mark.parametrize("name", NAMES)
def test_counts_and_names_equal_those_of_the_modules(
    name: str, agrees_with_its_modules: Callable[[Architecture], None]
) -> None:
    agrees_with_its_modules(architecture(name))


@pytest.mark.parametrize("name", [n for n in NAMES if "fc" not in n])
def test_stages_shrink_as_the_paper_says(name: str) -> None:
    family = CATALOGUE[name].config.family + ("_cifar" if name.endswith("_cifar") else "")
    shapes = feature_shapes(architecture(name))
    assert tuple(shape[1] for part, shape in shapes.items() if part.startswith("stage")) == SIDES[family]


class _Holder(Record):
    model: Config


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_and_its_description_survive_json(name: str) -> None:
    entry = CATALOGUE[name]
    held = _Holder(model=entry.config)
    assert parse(_Holder, held.to_json(), name) == held
    assert build(_Holder, {"model": entry.config.model_dump()}, name) == held
    description = architecture(name)
    assert parse(Architecture, description.to_json(), name) == description
    assert entry.config.name == name == description.name
    assert entry.paper
    assert entry.table


@pytest.mark.parametrize("name", NAMES)
def test_another_number_of_classes_changes_the_classifier_alone(name: str) -> None:
    description = architecture(name)
    difference = cost(with_classes(description, 7)).parameters - cost(with_classes(description, 0)).parameters
    before = 4096 if name.startswith("vgg1") and name.endswith("_bn") else description.num_features
    assert difference == 7 * (before + 1)
    assert with_classes(description, 0).body == description.body


def test_an_error_names_the_field_without_its_family() -> None:
    given = {"family": "densenet", "name": "x", "depths": [1, 2]}
    with pytest.raises(InputError, match=r"run: model\.growth: input should be a valid integer"):
        build(_Holder, {"model": {**given, "growth": "a"}}, "run")
    with pytest.raises(InputError, match=r"run: model\.depths\.0: input should be greater than or equal to 1, given 0"):
        build(_Holder, {"model": {**given, "depths": [0]}}, "run")
    with pytest.raises(InputError, match=r"run: field 'model\.growht': unknown"):
        build(_Holder, {"model": {**given, "growht": 3}}, "run")


SMALL = {
    "densenet": {"depths": (2, 3), "growth": 4, "stem_width": 8},
    "vgg": {"depths": (2, 2), "widths": (6, 8), "hidden": (12,), "pool": 2, "dropout": 0},
    "highway": {"depths": (2, 2), "widths": (6, 8)},
    "fractal": {"widths": (6, 8), "dropout": (0, 0)},
    "rir": {"depths": (2, 2), "widths": (6, 8)},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_reaches_every_parameter_and_features_have_the_described_shapes(name: str) -> None:
    config = CATALOGUE[name].config
    size = 32 if config.family == "densenet" and config.stem == "imagenet" else 16
    fields: dict[str, object] = {**SMALL[config.family], "input": (3, size, size), "num_classes": 3}
    if config.family == "highway" and config.layer == "linear":
        fields |= {"depths": (3,), "widths": (6,)}
    if config.family == "fractal":
        fields |= {"local_drop": 0, "global_share": 0}
    description = config.replace(**fields).architecture()
    torch.manual_seed(0)
    net = create_model(description)
    x = torch.randn(4, *description.input)
    assert {part: tuple(m.shape[1:]) for part, m in net.features(x).items()} == feature_shapes(description)
    net(x).square().sum().backward()
    idle = ".conv.bias" if config.family in ("vgg", "fractal") else "-"  # a norm over the batch takes it away again
    grads = {n: p.grad for n, p in net.named_parameters()}
    assert all(grad is not None and (n.endswith(idle) or grad.abs().sum() > 0) for n, grad in grads.items())


@pytest.mark.medium
@pytest.mark.parametrize("name", ["densenet_bc100_k12_cifar", "vgg15_cifar", "highway19_cifar", "rir18_wide_cifar"])
def test_training_steps_repeat_bitwise(name: str) -> None:
    description = CATALOGUE[name].config
    small = description.replace(**SMALL[description.family], input=(3, 16, 16)).architecture()

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(3)
        net = create_model(small, seed=1)
        net(torch.randn(4, 3, 16, 16)).square().sum().backward()
        return [p.grad for p in net.parameters() if p.grad is not None]

    assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(), strict=True))
