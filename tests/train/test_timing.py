import torch
from torch import nn

from deepres.nn.timing import timed
from deepres.train.precision import choose
from deepres.train.timing import passes

CPU = torch.device("cpu")


def test_passes_are_of_a_copy_in_training_and_leave_no_trace() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Dropout()).eval()
    modes: list[bool] = []
    state = torch.get_rng_state()

    def loss(forward: object) -> torch.Tensor:
        modes.append(twins[-1].training)
        return twins[-1](torch.ones(1, 3)).sum()

    twins: list[nn.Module] = []

    def wrapped(twin: nn.Module) -> nn.Module:
        twins.append(twin)
        return twin

    assert len(timed(passes(network, choose("float32", CPU), loss, wrapped), CPU, 60.0, calls=3)) == 3
    assert modes == [True] * 3
    assert twins[0] is not network
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)
