"""Every entry of the catalogue through one contract: the reference's counts, shapes, JSON, a working module."""

import re
from collections.abc import Callable

import pytest

from deepres.arch.architecture import Architecture, feature_shapes, with_classes
from deepres.arch.catalogue.entries_resnet import ENTRIES
from deepres.arch.catalogue.lookup import CATALOGUE, architecture, entry
from deepres.arch.readings.cost import cost
from deepres.base.errors import InputError
from deepres.base.records import parse

# (learnable parameters, multiply-adds of convolutions and classifier), counted by independent programs: from the papers'
# tables, or from torchvision's and timm's modules (then without multiply-adds, which are checked against torch below);
# gamma, beta and the classifier's bias are parameters, running statistics are not
EXPECTED = {
    "plain18": (11_515_688, 1_794_805_760),
    "plain34": (21_623_848, 3_644_493_824),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet34_a": (21_623_848, 3_644_493_824),
    "resnet34_b": (21_797_672, 3_663_761_408),
    "resnet34_c": (22_716_840, 3_830_747_136),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "resnet50_v1": (25_557_032, 3_857_973_248),
    "resnet101_v1": (44_549_160, 7_570_194_432),
    "resnet152_v1": (60_192_808, 11_282_415_616),
    "plain20_cifar": (269_722, 40_551_040),
    "plain32_cifar": (464_154, 68_862_592),
    "plain44_cifar": (658_586, 97_174_144),
    "plain56_cifar": (853_018, 125_485_696),
    "plain110_cifar": (1_727_962, 252_887_680),
    "resnet20_cifar": (269_722, 40_551_040),
    "resnet32_cifar": (464_154, 68_862_592),
    "resnet44_cifar": (658_586, 97_174_144),
    "resnet56_cifar": (853_018, 125_485_696),
    "resnet110_cifar": (1_727_962, 252_887_680),
    "resnet1202_cifar": (19_421_274, 2_829_238_912),
    "resnet50_caffe": (25_557_096, 3_857_973_248),
    "resnet101_caffe": (44_549_160, 7_570_194_432),
    "resnet152_caffe": (60_192_808, 11_282_415_616),
    "resnet200": (64_673_832, None),
    "resnet200_v1": (64_673_832, None),
    "resnet164_cifar": (1_704_154, None),
    "resnet1001_cifar": (10_328_602, None),
    "preresnet164_cifar": (1_703_258, None),
    "preresnet1001_cifar": (10_327_706, None),
    "preresnet110_cifar": (1_727_962, 252_887_680),
    "resnet110_single_cifar": (1_727_962, 252_887_680),
    "preresnet110_single_cifar": (1_727_962, 252_887_680),
    "preresnet18": (11_687_720, None),
    "preresnet34": (21_795_880, None),
    "preresnet50": (25_549_352, None),
    "preresnet101": (44_541_480, None),
    "preresnet152": (60_185_128, None),
    "preresnet200": (64_666_152, None),
    "resnetv2_50": (25_549_352, None),
    "resnetv2_101": (44_541_480, None),
    "resnetv2_152": (60_185_128, None),
    "resnet110_stochastic_cifar": (1_727_962, 252_887_680),
    "resnet1202_stochastic_cifar": (19_421_274, 2_829_238_912),
    "wrn16_4_cifar": (2_748_890, None),
    "wrn16_8_cifar": (10_961_370, None),
    "wrn28_10_cifar": (36_479_194, None),
    "wrn40_4_cifar": (8_949_210, None),
    "wide_resnet50_2": (68_883_240, None),
    "wide_resnet101_2": (126_886_696, None),
    "resnext50_32x4d": (25_028_904, None),
    "resnext101_32x4d": (44_177_704, None),
    "resnext101_32x8d": (88_791_336, None),
    "resnext101_64x4d": (83_455_272, None),
    "resnext29_8x64d_cifar": (34_426_698, None),
    "resnext29_16x64d_cifar": (68_155_210, None),
    "seresnet18": (11_779_624, None),
    "seresnet34": (21_960_416, None),
    "seresnet50": (28_088_024, None),
    "seresnet101": (49_326_872, None),
    "seresnet152": (66_821_848, None),
    "resnet50c": (25_576_264, None),
    "resnet101c": (44_568_392, None),
    "resnet152c": (60_212_040, None),
    "resnet18d": (11_708_744, None),
    "resnet34d": (21_816_904, None),
    "resnet50d": (25_576_264, None),
    "resnet101d": (44_568_392, None),
    "resnet152d": (60_212_040, None),
    "resnet200d": (64_693_064, None),
    "resnet18_blur4": (11_689_512, None),
    "resnet34_blur4": (21_797_672, None),
    "resnet50_blur4": (25_557_032, None),
    "resnet101_blur4": (44_549_160, None),
    "resnet152_blur4": (60_192_808, None),
    "resnetrs50": (35_691_912, None),
    "resnetrs101": (63_618_696, None),
    "resnetrs152": (86_621_576, None),
    "resnetrs200": (93_209_992, None),
    "resnetrs270": (129_861_448, None),
    "resnetrs350": (163_956_168, None),
    "resnetrs420": (191_891_656, None),
}


SIDES = [(56, 56), (56, 56), (28, 28), (14, 14), (7, 7)]
NAMES = [entry.config.name for entry in ENTRIES]
VERY_DEEP = ("resnet1202_stochastic_cifar", "resnet1001_cifar", "preresnet1001_cifar", "resnetrs350", "resnetrs420")
"""Which take seconds each; ResNet-1202 and ResNet-RS-270 stand for them where nothing long is run."""


def test_the_contract_covers_the_entries() -> None:
    assert set(EXPECTED) == set(NAMES)


@pytest.mark.medium
@pytest.mark.parametrize("name", NAMES)
def test_counts_equal_the_reference(name: str) -> None:
    parameters, macs = EXPECTED[name]
    counted = cost(architecture(name))
    assert counted.parameters == parameters
    assert macs is None or counted.macs == macs


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.long)
        if n in VERY_DEEP
        else pytest.param(n, marks=pytest.mark.slow)
        if re.search(r"(?<!\d)[1-4]\d\d(?!\d)", n)
        else pytest.param(n, marks=pytest.mark.medium if "1202" in n else [])
        for n in NAMES
    ],
)
def test_counts_and_names_equal_those_of_the_modules(
    name: str, agrees_with_its_modules: Callable[[Architecture], None]
) -> None:
    agrees_with_its_modules(architecture(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_entry_is_called_by_its_name_and_has_a_source(name: str) -> None:
    entry = CATALOGUE[name]
    assert entry.config.name == name == architecture(name).name
    assert entry.paper
    assert entry.table


@pytest.mark.parametrize("name", NAMES)
def test_features_shrink_to_the_papers_last_map(name: str) -> None:
    shapes = {part: shape for part, shape in feature_shapes(architecture(name)).items() if part != "final"}
    sides = [(32, 32), (32, 32), (16, 16), (8, 8)] if name.endswith("_cifar") else SIDES
    assert [shape[1:] for shape in shapes.values()] == sides
    assert (
        feature_shapes(architecture(name)).get("final", shapes[f"stage{len(sides) - 1}"])
        == shapes[f"stage{len(sides) - 1}"]
    )


@pytest.mark.medium
@pytest.mark.parametrize("name", NAMES)
def test_a_description_survives_json(name: str) -> None:
    description = architecture(name)
    assert parse(Architecture, description.to_json(), name) == description


@pytest.mark.parametrize("name", NAMES)
def test_another_number_of_classes_changes_the_classifier_alone(name: str) -> None:
    description = architecture(name)
    features = with_classes(description, 0)
    difference = cost(with_classes(description, 7)).parameters - cost(features).parameters
    assert difference == 7 * (description.num_features + 1)
    assert features.num_classes == 0
    assert features.body == description.body


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet21_cifar", r"'resnet21_cifar': 21 layers are not 6n \+ 2"),
        ("plain2_cifar", r"2 layers are not 6n \+ 2 with n of 1 or more"),
        ("preresnet26_cifar", r"take preresnet110_cifar with --set model\.depths=4,4,4"),
        ("resnet26_cifar", r"take resnet20_cifar with --set model\.depths=4,4,4"),
    ],
)
def test_depths_that_the_catalogue_has_not_are_answered_with_the_way_to_them(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        entry(name)
