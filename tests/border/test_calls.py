"""Calls from Python: a network traced, copied, replicated or compiled draws as it does itself; arguments are checked."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import symbolic_trace
from torchvision.models.feature_extraction import create_feature_extractor

from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.spec.fractal import FractalConfig
from deepres.spec.resnet import ResNetConfig

Call = Callable[[Tensor], Tensor]


def residual(**fields: Any) -> ResidualNetwork:
    small = {"stem": "cifar", "stem_width": 4, "depths": (2, 2), "widths": (4, 6), "shortcut": "A"}
    return create_model(ResNetConfig(name="x", input=(3, 8, 8), num_classes=5, **small, **fields).network())


def fractal(**fields: Any) -> ResidualNetwork:
    small = {"columns": 3, "widths": (4, 6), "dropout": (0.0, 0.0)}
    return create_model(FractalConfig(name="x", input=(3, 8, 8), num_classes=5, **small, **fields).network())


NETWORKS: dict[str, Callable[[], ResidualNetwork]] = {
    "one coin a batch": lambda: residual(drop_path=0.5),
    "one coin an image": lambda: residual(drop_path=0.5, drop_path_per="sample"),
    "so many branches a batch": lambda: residual(active_units=2),
    "columns dropped by each join": lambda: fractal(local_drop=0.4),
    "one column alone": lambda: fractal(global_share=1.0),
    "columns in both ways": lambda: fractal(local_drop=0.4, global_share=0.5),
    "dropout": lambda: residual(head_dropout=0.5),
}


def _extracted(network: ResidualNetwork) -> Call:
    extractor = create_feature_extractor(network, {"head": "logits"}, suppress_diff_warning=True)
    return lambda x: extractor(x)["logits"]


def _replica(network: nn.Module) -> nn.Module:
    """As DataParallel makes one for each device (torch.nn.parallel.replicate), here on the CPU."""
    made = network._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
    for name, part in network._modules.items():
        made._modules[name] = None if part is None else _replica(part)
    made._parameters, made._buffers = dict(network._parameters), dict(network._buffers)
    assert isinstance(made, nn.Module)
    return made


WAYS: dict[str, Callable[[ResidualNetwork], Call]] = {
    "traced": symbolic_trace,
    "a feature extractor": _extracted,
    "a copy": copy.deepcopy,
    "a replica": _replica,
    "a copy of the traced one": lambda network: copy.deepcopy(symbolic_trace(network)),
    "compiled in one graph": lambda network: torch.compile(network, backend="eager", fullgraph=True),
}


def _passes(call: Call, count: int = 12) -> list[Tensor]:
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    with torch.no_grad():
        return [call(x) for _ in range(count)]


_SLOW = "compiled in one graph"


@pytest.mark.parametrize("way", [pytest.param(way, marks=[pytest.mark.slow] * (way == _SLOW)) for way in WAYS])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_pass_draws_anew_and_as_the_network_itself(name: str, way: str) -> None:
    torch.compiler.reset()
    network = NETWORKS[name]().train()
    own = _passes(network)
    given = _passes(WAYS[way](network))
    assert len({y.numpy().tobytes() for y in own}) > 2
    for one, other in zip(own, given, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)
    again = _passes(network)  # what was made of it leaves no trace in it
    assert all(torch.equal(one, other) for one, other in zip(own, again, strict=True))
    copy.deepcopy(network)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_traced_for_evaluation_is_that_network(name: str) -> None:
    network = NETWORKS[name]().eval()
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(symbolic_trace(network)(x), network(x))


def test_a_replica_draws_for_itself_and_not_for_the_network() -> None:
    network = fractal(global_share=1.0).train()
    replica = _replica(network)
    assert isinstance(replica, ResidualNetwork)
    replica.draw(torch.zeros(1))
    assert all(join.shared is not None for join in replica.joins)
    assert all(join.shared is None for join in network.joins)


def test_draws_follow_their_law_when_traced() -> None:
    network = residual(active_units=2).train()
    traced = symbolic_trace(network)
    kept = [node.name for node in traced.graph.nodes if "new_empty" in node.name]
    assert len(kept) == 1
    branches = {name: [] for name in ("stage1.unit1", "stage1.unit2", "stage2.unit1", "stage2.unit2")}
    x = torch.randn(2, 3, 8, 8)
    names = {f"{name}.branch": name for name in branches}
    extractor = create_feature_extractor(network, names, suppress_diff_warning=True)
    torch.manual_seed(0)
    for _ in range(200):
        given = {name: bool(y.abs().sum() > 0) for name, y in extractor(x).items()}
        assert sum(given.values()) == 2
        for name, is_there in given.items():
            branches[name].append(is_there)
    assert all(70 < sum(there) < 130 for there in branches.values())
