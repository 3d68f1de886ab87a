import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision import models

from deepres.arch.algebra import at, children
from deepres.arch.architecture import feature_shapes
from deepres.arch.atoms import AvgPool, Conv, Dropout
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.families.densenet import DenseNetConfig
from deepres.base.errors import InputError
from deepres.base.records import build
from deepres.nn.create import create_model


@pytest.mark.medium
@pytest.mark.parametrize(("name", "size"), [("densenet121", 64), ("densenet161", 40)])
def test_logits_equal_torchvisions_with_its_weights(name: str, size: int) -> None:
    theirs = getattr(models, name)(num_classes=5).double().eval()
    ours = create_model(name, num_classes=5).double().eval()
    draw = torch.Generator().manual_seed(0)
    for module in theirs.modules():  # statistics and gains that are not 0 and 1
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=draw, dtype=tensor.dtype) + 0.5)
    given_names, wanted = list(theirs.state_dict()), list(ours.state_dict())
    for foreign, own in zip(given_names, wanted, strict=True):
        assert foreign.rsplit(".", 1)[-1] == own.rsplit(".", 1)[-1]
    ours.load_state_dict(dict(zip(wanted, theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-9)


def _config(**fields: object) -> DenseNetConfig:
    small = {"name": "x", "input": (3, 8, 8), "num_classes": 3, "stem": "cifar", "stem_width": 5}
    return build(DenseNetConfig, {**small, "depths": (3, 2), "growth": 4, **fields}, "x")


def _loop(net: nn.Module, block: str, x: Tensor) -> Tensor:
    """Every layer is given all maps before it, concatenated anew from a list."""
    maps = [x]
    for unit in net.get_submodule(block).children():
        h = torch.cat(maps, dim=1)
        branch = unit.get_submodule("branch")
        for number in (1, 2):
            if hasattr(branch, f"conv{number}"):
                norm, conv = branch.get_submodule(f"norm{number}"), branch.get_submodule(f"conv{number}")
                assert isinstance(norm, nn.BatchNorm2d)
                assert isinstance(conv, nn.Conv2d)
                mean, var = norm.running_mean, norm.running_var
                h = F.batch_norm(h, mean, var, norm.weight, norm.bias, eps=1e-5).relu()
                h = F.conv2d(h, conv.weight, padding=conv.weight.shape[-1] // 2)
        maps.append(h)
    return torch.cat(maps, dim=1)


@pytest.mark.medium
@given(
    depth=st.integers(1, 4), growth=st.integers(1, 5), bottleneck=st.sampled_from([0, 1, 4]), seed=st.integers(0, 999)
)
@settings(max_examples=15, deadline=None)
def test_a_dense_block_equals_its_naive_loop(depth: int, growth: int, bottleneck: int, seed: int) -> None:
    config = _config(depths=(depth,), growth=growth, bottleneck=bottleneck)
    net = create_model(config.architecture(), seed=seed).double().eval()
    x = torch.randn(2, 5, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    y = net.get_submodule("stage1")(x)
    assert y.shape[1] == 5 + depth * growth
    assert torch.equal(y[:, :5], x)
    torch.testing.assert_close(y, _loop(net, "stage1", x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("densenet40_k12_cifar", [16, 160, 160, 304, 304, 448]),
        ("densenet_bc100_k12_cifar", [24, 216, 108, 300, 150, 342]),
        ("densenet_bc190_k40_cifar", [80, 1320, 660, 1900, 950, 2190]),
        ("densenet201", [64, 256, 128, 512, 256, 1792, 896, 1920]),
        ("densenet161", [96, 384, 192, 768, 384, 2112, 1056, 2208]),
    ],
)
def test_blocks_and_transitions_have_the_papers_channels(name: str, channels: list[int]) -> None:
    shapes = feature_shapes(architecture(name))
    assert list(shapes)[:3] == ["stem", "stage1", "transition1"]
    assert [shape[0] for part, shape in shapes.items() if part != "final"] == channels


def test_compression_rounds_down() -> None:
    assert feature_shapes(_config(stem_width=6, depths=(1, 1), growth=3).architecture())["transition1"] == (4, 4, 4)


def _dropouts(**fields: object) -> list[str]:
    tree = _config(dropout=0.2, **fields).architecture().tree
    found = []
    for stage, node in children(tree):
        for part, child in children(node):
            inner = children(at(child, "branch")) if stage.startswith("stage") else [(part, child)]
            found += [f"{stage}.{name}" for name, atom in inner if isinstance(atom, Dropout)]
    return found


def test_dropout_follows_every_convolution_but_the_stems_or_only_the_last() -> None:
    three = ["stage1.dropout1", "stage1.dropout2"] * 3
    two = ["stage2.dropout1", "stage2.dropout2"] * 2
    assert _dropouts() == [*three, "transition1.dropout", *two]
    assert _dropouts(dropout_after="3x3") == ["stage1.dropout2"] * 3 + ["stage2.dropout2"] * 2
    transition = [atom for _, atom in children(at(_config(dropout=0.2).architecture().tree, "transition1"))]
    assert [type(atom) for atom in transition[2:]] == [Conv, Dropout, AvgPool]  # before its pool


def test_a_wrong_field_is_one_line() -> None:
    with pytest.raises(InputError, match=r"x: compression: input should be less than or equal to 1, given 1.5"):
        _config(compression=1.5)
    with pytest.raises(InputError, match=r"x: dropout_after: input should be 'all' or '3x3', given 'none'"):
        _config(dropout_after="none")
