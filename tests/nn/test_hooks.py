import pytest
import torch

from deepres.base.errors import InputError
from deepres.nn.create import create_model
from deepres.nn.hooks import changed, inputs, left_as_found, outputs, part


@pytest.fixture
def net() -> torch.nn.Module:
    return create_model("resnet20_cifar").eval()


def _hooks(net: torch.nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules())


def test_outputs_and_inputs_are_those_of_the_parts(net: torch.nn.Module) -> None:
    x = torch.randn(2, 3, 32, 32)
    with outputs(net, ["stem", "stage1.unit2", "head"]) as gave, inputs(net, ["stage1.unit2", "stage1.unit3"]) as given:
        logits = net(x)
    assert torch.equal(gave["head"], logits)
    assert torch.equal(gave["stem"], part(net, "stem")(x))
    assert torch.equal(part(net, "stage1.unit2")(given["stage1.unit2"]), gave["stage1.unit2"])
    assert torch.equal(given["stage1.unit3"], gave["stage1.unit2"])
    assert gave["stem"].grad_fn is not None
    assert _hooks(net) == 0


def test_a_change_reaches_what_comes_after(net: torch.nn.Module) -> None:
    x = torch.randn(2, 3, 32, 32)
    plain = net(x)
    with (
        changed(net, {"stage2.unit2.branch": torch.zeros_like}),
        outputs(net, ["stage2.unit1", "stage2.unit2"]) as gave,
    ):
        other = net(x)
    assert torch.equal(gave["stage2.unit2"], gave["stage2.unit1"])  # relu of what was relu'd
    assert not torch.equal(plain, other)
    assert torch.equal(net(x), plain)
    assert _hooks(net) == 0


def test_everything_is_put_back_after_an_exception(net: torch.nn.Module) -> None:
    part(net, "stage1").train()
    for parameter in part(net, "stem").parameters():
        parameter.requires_grad_(False)
    modes = [module.training for module in net.modules()]
    flags = [parameter.requires_grad for parameter in net.parameters()]
    state = torch.get_rng_state()
    with (  # noqa: PT012
        pytest.raises(RuntimeError, match="in the middle"),
        left_as_found(net),
        changed(net, {"stem": torch.relu}),
    ):
        net.train()
        net.requires_grad_(True)
        net(torch.randn(2, 3, 32, 32)).sum().backward()
        raise RuntimeError("in the middle")
    assert [module.training for module in net.modules()] == modes
    assert [parameter.requires_grad for parameter in net.parameters()] == flags
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert _hooks(net) == 0


def test_a_misspelt_part_is_answered_with_the_nearest_and_leaves_no_hook(net: torch.nn.Module) -> None:
    with (
        pytest.raises(InputError, match=r"part 'stage1\.unit9': unknown; did you mean stage1\.unit"),
        outputs(net, ["stem", "stage1.unit9"]),
    ):
        pass
    assert _hooks(net) == 0
