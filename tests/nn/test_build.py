import pytest
import torch
from torch import nn
from torchvision import models

from deepres.arch.architecture import feature_shapes
from deepres.arch.catalogue.lookup import architecture
from deepres.nn.create import create_model


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 64),
        ("resnet34", 97),
        ("resnet50", 65),
        ("resnet101", 64),
        pytest.param("resnet152", 40, marks=pytest.mark.long),
    ],
)
@pytest.mark.slow
def test_logits_equal_torchvisions_with_its_weights(name: str, size: int) -> None:
    theirs = getattr(models, name)(num_classes=11).double().eval()
    ours = create_model(name, num_classes=11).double().eval()
    # both list conv, norm, … then the projection, in the same order
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-9)


def test_option_a_equals_a_slow_loop() -> None:
    net = create_model("resnet20_cifar")
    x = torch.randn(2, 16, 7, 5)
    y = net.get_submodule("stage2.unit1.shortcut")(x)
    assert y.shape == (2, 32, 4, 3)
    for channel in range(32):
        for row in range(4):
            for column in range(3):
                expected = x[:, channel, 2 * row, 2 * column] if channel < 16 else torch.zeros(2)
                assert torch.equal(y[:, channel, row, column], expected)


@pytest.mark.medium
@pytest.mark.parametrize("name", ["resnet20_cifar", "plain20_cifar", "resnet18", "resnet50_v1", "resnet34_c"])
def test_features_have_the_described_shapes_and_a_gradient_reaches_every_parameter(name: str) -> None:
    description = architecture(name, num_classes=3, input=(3, 64, 64))
    net = create_model(description)
    x = torch.randn(2, 3, 64, 64)
    maps = net.features(x)
    assert {part: tuple(m.shape[1:]) for part, m in maps.items()} == feature_shapes(description)
    net(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_the_last_norm_at_zero_makes_a_unit_its_shortcut() -> None:
    net = create_model("resnet20_cifar").eval()
    unit = net.get_submodule("stage1.unit2")
    nn.init.zeros_(unit.get_submodule("branch.norm2").weight)
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(unit(x), x.relu())


def test_a_plain_network_and_its_residual_twin_begin_alike() -> None:
    plain, residual = create_model("plain20_cifar").state_dict(), create_model("resnet20_cifar").state_dict()
    assert plain.keys() == residual.keys()
    assert all(torch.equal(plain[name], residual[name]) for name in plain)


@pytest.mark.medium
def test_no_classes_gives_pooled_features() -> None:
    net = create_model("resnet18", num_classes=0, in_chans=1).eval()
    x = torch.randn(2, 1, 50, 70)
    assert net(x).shape == (2, 512)
    assert torch.equal(net(x), net.forward_head(net.forward_features(x), pre_logits=True))
    assert (net.num_features, net.num_classes) == (512, 0)
