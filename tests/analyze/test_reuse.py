from math import prod

import pytest
import torch

from deepres.analyze.reuse import Reuse, feature_reuse
from deepres.arch.architecture import without
from deepres.arch.families.densenet import DenseNetConfig
from deepres.base.errors import InputError
from deepres.base.records import parse
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.hooks import part


def _densenet(**fields: object) -> ResidualNetwork:
    given = {"input": (3, 16, 16), "num_classes": 4, "stem": "cifar", "stem_width": 6, "depths": (3, 2), "growth": 2}
    network = create_model(DenseNetConfig.model_validate({"name": "small", **given, **fields}).architecture(), seed=3)
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
    return network


def _slow(weight: torch.Tensor, first: int, count: int, gamma: torch.Tensor | None = None) -> float:
    """One |w| after the other."""
    total = 0.0
    for out in range(weight.shape[0]):
        for channel in range(first, first + count):
            scale = 1.0 if gamma is None else abs(float(gamma[channel]))
            total += scale * sum(abs(value) for value in weight[out, channel].flatten().tolist())
    return total / (weight.shape[0] * count * prod(weight.shape[2:]))


@pytest.mark.parametrize("bottleneck", [0, 4])
def test_every_weight_to_every_source_is_the_mean_of_its_absolute_values(bottleneck: int) -> None:
    network = _densenet(bottleneck=bottleneck)
    found = feature_reuse(network)
    assert found.bottleneck is (bottleneck > 0)
    assert [block.name for block in found.blocks] == ["stage1", "stage2"]
    assert [block.channels for block in found.blocks] == [(6, 2, 2, 2), (6, 2, 2)]
    assert found.blocks[0].sources == ("stem", "stage1.unit1", "stage1.unit2", "stage1.unit3")
    assert found.blocks[1].sources[0] == "transition1"
    for block in found.blocks:
        assert block.after is not None
        for number, column in enumerate([*block.layers, block.after], start=1):
            weight = part(network, column.reader).weight.detach()
            norm = {"transition1.conv": "transition1.norm", "head.fc": "final.norm"}.get(
                column.reader, column.reader.replace("conv", "norm")
            )
            firsts = [sum(block.channels[:source]) for source in range(number)]
            slow = [_slow(weight, first, count) for first, count in zip(firsts, block.channels, strict=False)]
            assert column.weight == pytest.approx(slow, rel=1e-12)
            gamma = part(network, norm).weight.detach()
            scaled = [_slow(weight, first, count, gamma) for first, count in zip(firsts, block.channels, strict=False)]
            assert column.scaled == pytest.approx(scaled, rel=1e-12)


def test_the_layers_that_are_read_are_named() -> None:
    plain, narrow = feature_reuse(_densenet(bottleneck=0)), feature_reuse(_densenet(bottleneck=4))
    for found, kernel in ((plain, 3), (narrow, 1)):
        first, last = found.blocks
        assert [column.reader for column in last.layers] == ["stage2.unit1.branch.conv1", "stage2.unit2.branch.conv1"]
        assert {column.kernel for block in found.blocks for column in block.layers} == {kernel}
        assert first.after is not None
        assert last.after is not None
        assert (first.after.reader, first.after.kernel) == ("transition1.conv", 1)
        assert (last.after.reader, last.after.kernel) == ("head.fc", None)


def test_the_map_has_a_row_a_source_and_nothing_below_its_diagonal() -> None:
    block = feature_reuse(_densenet()).blocks[0]
    rows = block.rows()
    assert [[value is None for value in row] for row in rows] == [[j < i for j in range(4)] for i in range(4)]
    assert rows[2][2] == block.layers[2].weight[2]
    assert block.after is not None
    assert [row[-1] for row in block.rows(scaled=True)] == list(block.after.scaled)


def test_a_source_whose_weights_are_zero_is_not_reused() -> None:
    network = _densenet(bottleneck=0)
    with torch.no_grad():
        part(network, "stage1.unit3.branch.conv1").weight[:, 6:8] = 0
    column = feature_reuse(network).blocks[0].layers[2]
    assert column.weight[1] == column.scaled[1] == 0
    assert min(column.weight[0], column.weight[2]) > 0


def test_without_a_classifier_the_last_block_has_no_reader() -> None:
    assert feature_reuse(_densenet(num_classes=0)).blocks[-1].after is None


def test_a_block_that_comes_first_reads_the_image() -> None:
    block = feature_reuse(create_model(without(_densenet().description, "stem"))).blocks[0]
    assert block.sources[0] == "image"
    assert block.channels == (3, 2, 2, 2)


def test_nothing_is_changed_and_the_answer_is_the_same_again() -> None:
    network = _densenet()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = feature_reuse(network)
    assert found == feature_reuse(network)
    assert parse(Reuse, found.to_json(), "reuse") == found
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.medium
def test_the_papers_network_has_three_blocks_of_twelve() -> None:
    found = feature_reuse(create_model("densenet40_k12_cifar"))
    assert [len(block.layers) for block in found.blocks] == [12, 12, 12]
    assert not found.bottleneck


@pytest.mark.parametrize("name", ["resnet20_cifar", "plain20_cifar"])
def test_a_network_without_dense_blocks_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"^{name}: no dense block, no part of the body .* wanted a DenseNet, such"):
        feature_reuse(create_model(name))
