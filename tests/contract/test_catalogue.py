"""Every entry of the catalogue through one contract: the reference's counts, shapes, JSON, a working module."""

import pytest

from deepres.base.records import parse
from deepres.spec.catalogue import CATALOGUE, network
from deepres.spec.cost import cost
from deepres.spec.network import Network, feature_shapes, with_classes

# (learnable parameters, multiply-adds of convolutions and classifier), counted from the paper's tables by an
# independent program; gamma, beta and the classifier's bias are parameters, running statistics are not
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
}


def test_the_contract_covers_the_catalogue() -> None:
    assert set(EXPECTED) == set(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_counts_equal_the_reference(name: str) -> None:
    counted = cost(network(name))
    assert (counted.parameters, counted.macs) == EXPECTED[name]


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_entry_is_called_by_its_name_and_has_a_source(name: str) -> None:
    entry = CATALOGUE[name]
    assert entry.config.name == name == network(name).name
    assert entry.paper
    assert entry.table


@pytest.mark.parametrize("name", CATALOGUE)
def test_features_shrink_to_the_papers_last_map(name: str) -> None:
    shapes = feature_shapes(network(name))
    if name.endswith("_cifar"):
        assert list(shapes.values())[1:] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    else:
        assert [shape[1:] for shape in shapes.values()] == [(56, 56), (56, 56), (28, 28), (14, 14), (7, 7)]


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_description_survives_json(name: str) -> None:
    description = network(name)
    assert parse(Network, description.to_json(), name) == description


@pytest.mark.parametrize("name", CATALOGUE)
def test_another_number_of_classes_changes_the_classifier_alone(name: str) -> None:
    description = network(name)
    features = with_classes(description, 0)
    difference = cost(with_classes(description, 7)).parameters - cost(features).parameters
    assert difference == 7 * (description.num_features + 1)
    assert features.num_classes == 0
    assert features.body == description.body
