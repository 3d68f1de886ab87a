import pytest
import torch

from deepres.nn.create import create_model
from deepres.nn.precise_bn import precise_bn


def test_statistics_are_the_plain_average_over_batches() -> None:
    net = create_model("resnet20_cifar").double()
    batches = [torch.randn(8, 3, 12, 12, dtype=torch.float64) for _ in range(3)]
    parameters = [p.clone() for p in net.parameters()]
    assert precise_bn(net, batches) == 3
    convolved = [net.get_submodule("stem.conv")(batch) for batch in batches]
    norm = net.get_submodule("stem.norm")
    torch.testing.assert_close(norm.running_mean, torch.stack([c.mean((0, 2, 3)) for c in convolved]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([c.var((0, 2, 3)) for c in convolved]).mean(0))
    assert all(torch.equal(p, q) for p, q in zip(parameters, net.parameters(), strict=True))


def test_modes_and_momenta_are_restored_even_after_an_error() -> None:
    net = create_model("resnet20_cifar")
    net.get_submodule("stage2").eval()
    before = [module.training for module in net.modules()]

    with pytest.raises(RuntimeError):
        precise_bn(net, [torch.randn(2, 4, 8, 8)])
    assert [module.training for module in net.modules()] == before
    assert net.get_submodule("stem.norm").momentum == 0.1


def test_no_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="no batches to average"):
        precise_bn(create_model("resnet20_cifar"), [])
