"""A description against its modules, on the `meta` device: names, parameters, and the operations that torch counts."""

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deepres.arch.architecture import Architecture
from deepres.arch.readings.cost import cost
from deepres.nn.build import build, names


@pytest.fixture
def agrees_with_its_modules(monkeypatch: pytest.MonkeyPatch) -> Callable[[Architecture], None]:
    """Norms and ReLU count nothing and keep the shape, but take most of the time on `meta`: here norms check their channels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the counter looks for triton
        from torch.utils.flop_counter import FlopCounterMode

    def norm(x: Tensor, mean: Tensor, *_: object, **__: object) -> Tensor:
        assert x.shape[1] == mean.numel()
        return x

    monkeypatch.setattr(F, "batch_norm", norm)
    monkeypatch.setattr(F, "relu", lambda x, inplace=False: x)

    def check(description: Architecture) -> None:
        net = build(description).eval()
        counted = cost(description)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(torch.empty(1, *description.input, device="meta"))
        assert counter.get_total_flops() == 2 * counted.macs
        assert sum(p.numel() for p in net.parameters()) == counted.parameters
        assert sum(b.numel() for b in net.state_dict().values()) == counted.parameters + counted.buffers
        inside_the_global_pool = {"head.pool.0", "head.pool.1"}
        assert {n for n, _ in net.named_modules() if n} - inside_the_global_pool == set(names(description))

    return check
