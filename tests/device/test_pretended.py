"""The pretended device: as strict as CUDA about where tensors lie, and to the CPU's bits."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

APART = "Expected all tensors to be on the same device, but found at least two devices, pretend:0 and cpu"
MIXED: dict[str, Callable[[Tensor, Tensor], object]] = {
    "sum": lambda here, there: there + here,
    "sum, the other way round": lambda here, there: here + there,
    "number of the device beside a tensor of the CPU": lambda here, there: here * there.sum(),
    "product": lambda here, there: there @ here.T,
    "in place": lambda here, there: there.add_(here),
    "in place on the CPU": lambda here, there: here.add_(there),
    "number of the CPU changed in place": lambda here, there: torch.zeros(()).add_(there.sum()),
    "result on the CPU": lambda here, there: torch.add(there, there, out=torch.empty(3, 3)),
    "concatenated": lambda here, there: torch.cat([there, here]),
    "numbers stacked": lambda here, there: torch.stack([there.sum(), here.sum()]),
    "several at once": lambda here, there: torch._foreach_add_([there, there], [there, here]),
    "chosen": lambda here, there: torch.where(there > 0, there, here),
    "masked by the CPU": lambda here, there: there.masked_fill(here > 0, 0.0),
    "gathered": lambda here, there: there.gather(1, torch.zeros(3, 1, dtype=torch.int64)),
    "selected": lambda here, there: there.index_select(0, torch.arange(2)),
    "CPU indexed by the device": lambda here, there: here[torch.zeros(2, dtype=torch.int64, device=there.device)],
    "values of the CPU put in": lambda here, there: there.__setitem__(torch.arange(2), here[:2]),
    "convolution": lambda here, there: F.conv2d(there[None, None], here[None, None]),
    "norm": lambda here, there: F.batch_norm(there, here[0], here[0]),
    "loss": lambda here, there: F.cross_entropy(there, torch.arange(3)),
    "module left behind": lambda here, there: nn.Linear(3, 3)(there),
    "images left behind": lambda here, there: nn.Linear(3, 3).to(there.device)(here),
}
TAKEN: dict[str, Callable[[Tensor, torch.device], Tensor]] = {
    "number of the CPU": lambda x, device: x * torch.tensor(2.0) + 1,
    "number of the CPU, dividing": lambda x, device: x / torch.tensor(3.0),
    "CPU's indices": lambda x, device: x[torch.tensor([2, 0])],
    "CPU's mask as an index": lambda x, device: x[torch.tensor([True, False, True])],
    "list as an index": lambda x, device: x[[2, 0]],
    "values put in at the CPU's indices": lambda x, device: x.index_put_((torch.tensor([1]),), x[:1] * 2),
    "copied over": lambda x, device: torch.empty(3, 3, device=device).copy_(torch.arange(9.0).view(3, 3)),
    "drawn": lambda x, device: torch.rand(4, device=device) + torch.randperm(4, device=device),
    "normal": lambda x, device: torch.empty(5, device=device).normal_(),
    "filled": lambda x, device: torch.full((2, 2), 3.0, device=device) + torch.eye(2, device=device),
    "from a list": lambda x, device: torch.tensor([[1, 2], [3, 4]], device=device),
    "range": lambda x, device: torch.arange(2, 11, 3, device=device),
    "like another": lambda x, device: torch.cat([torch.zeros_like(x), x.new_ones(1, 3), torch.ones_like(x)]),
    "like one of the CPU": lambda x, device: torch.ones_like(torch.zeros(2, 2), device=device),
    "sorted": lambda x, device: x.argsort(dim=1, descending=True, stable=True),
    "view changed": lambda x, device: _through_a_view(x),
    "shape changed in place": lambda x, device: x.clone().t_().unsqueeze_(0).squeeze_().resize_(2, 2) + 1,
    "dropout": lambda x, device: F.dropout(x, 0.5),
    "channels last": lambda x, device: F.conv2d(
        x.view(1, 1, 3, 3).contiguous(memory_format=torch.channels_last), x[None, None, :2, :2]
    ),
    "inference mode": lambda x, device: _inferred(x),
    "type": lambda x, device: x.half().to(torch.float32),
}


def _through_a_view(x: Tensor) -> Tensor:
    x = x.clone()
    x[1].add_(5)
    x[:, 2] = 7.0
    return x


@torch.inference_mode()
def _inferred(x: Tensor) -> Tensor:
    return x.softmax(1).add_(1)


def _numbers(device: torch.device | str = "cpu") -> Tensor:
    return torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).to(device)


@pytest.mark.parametrize("operation", MIXED.values(), ids=MIXED.keys())
def test_tensors_of_two_devices_are_refused(
    device: torch.device, operation: Callable[[Tensor, Tensor], object]
) -> None:
    with pytest.raises(RuntimeError, match=APART):
        operation(_numbers(), _numbers(device))


@pytest.mark.parametrize("operation", TAKEN.values(), ids=TAKEN.keys())
def test_what_a_gpu_takes_is_done_to_the_cpus_bits(
    same: Callable[..., object], operation: Callable[[Tensor, torch.device], Tensor]
) -> None:
    def done(device: torch.device) -> Tensor:
        x = _numbers(device)
        torch.manual_seed(0)
        y = operation(x, device)
        assert y.device == device
        return y

    same(done)


def test_numpy_is_refused_until_the_tensor_is_on_the_cpu(device: torch.device) -> None:
    x = _numbers(device)
    for asked in (x.numpy, lambda: np.asarray(x)):
        with pytest.raises(TypeError, match="can't convert pretend:0 device type tensor to numpy"):
            asked()
    assert x.cpu().numpy().shape == (3, 3)


def test_the_cpus_generator_is_refused_and_the_devices_own_leaves_it_alone(device: torch.device) -> None:
    draw = torch.Generator()
    for drawn in (
        lambda: torch.randperm(3, generator=draw, device=device),
        lambda: torch.rand(3, generator=draw, device=device),
        lambda: torch.bernoulli(torch.full((3,), 0.5, device=device), generator=draw),
        lambda: torch.empty(3, device=device).normal_(generator=draw),
    ):
        with pytest.raises(RuntimeError, match="Expected a 'pretend' device type for generator but found 'cpu'"):
            drawn()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = torch.rand(3, device=device)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.cpu(), torch.rand(3))  # both were seeded
    assert not torch.equal(first.cpu(), torch.rand(3, device=device).cpu())


def test_numbers_lists_and_copies_come_back(device: torch.device) -> None:
    x = _numbers(device)
    assert x.device == device
    assert not x.is_cuda
    assert float(x[0, 0]) == x.tolist()[0][0] == x[0, 0].item() == float(_numbers()[0, 0])
    assert type(x.cpu()) is Tensor
    assert torch.equal(torch.empty(3, 3).copy_(x), _numbers())
    assert x.to(device) is x
    assert f"{x}".endswith("on pretend:0")


def test_a_view_is_a_view_and_in_place_gives_the_tensor_itself(device: torch.device) -> None:
    x = _numbers(device)
    assert x.add_(1) is x
    view = x[1]
    x.zero_()
    assert view.tolist() == [0, 0, 0]
    x.resize_(2, 5)
    assert (tuple(x.shape), x.stride(), x.numel()) == ((2, 5), (5, 1), 10)


@pytest.mark.medium
def test_modules_move_learn_copy_and_load_as_on_the_cpu(same: Callable[..., object]) -> None:
    def learnt(device: torch.device) -> dict[str, Tensor]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Conv2d(4, 2, 3))
        parameters = list(network.parameters())
        network = network.to(device).to(memory_format=torch.channels_last)
        assert all(old is new for old, new in zip(parameters, network.parameters(), strict=True))
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        torch.manual_seed(1)
        for step in range(3):
            x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step)).to(device)
            optimiser.zero_grad()
            checkpoint(network, x, use_reentrant=False).square().sum().backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
        twin = copy.deepcopy(network)
        twin.load_state_dict({name: tensor.cpu() * 2 for name, tensor in network.state_dict().items()})
        assert all(isinstance(one, nn.Parameter) and one.device == device for one in twin.parameters())
        back = copy.deepcopy(twin).to("cpu")
        assert {type(one) for one in back.parameters()} == {nn.Parameter}
        return {**network.state_dict(), **{f"twin.{name}": one for name, one in twin.state_dict().items()}}

    same(learnt)


def test_outside_the_fixture_nothing_is_switched_on() -> None:
    assert not torch.__future__.get_swap_module_params_on_conversion()


@pytest.mark.slow
def test_a_child_process_may_train_after_the_device_was_used() -> None:
    """Autograd's threads are not to be started for the device: a process forked afterwards could not use them."""
    program = (
        "import os, torch; from pretended import pretending\n"
        "with pretending() as device: torch.ones(3, device=device, requires_grad=True).sum().backward()\n"
        "child = os.fork()\n"
        "if not child: torch.ones(3, requires_grad=True).sum().backward(); os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=Path(__file__).parent, check=True)
