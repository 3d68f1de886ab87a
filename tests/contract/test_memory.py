"""The memory reading of the description against what autograd really keeps."""

import pytest
import torch
import torch.nn.functional as F

from deepres.nn.create import create_model
from deepres.spec.catalogue import network
from deepres.spec.cost import step_memory


@pytest.mark.parametrize(
    "name", ["resnet20_cifar", "plain20_cifar", "resnet18", "resnet34_c", "resnet50", "resnet50_v1"]
)
def test_the_predicted_activations_are_those_that_autograd_keeps(name: str) -> None:
    description = network(name, num_classes=10, input=(3, 64, 64))
    net = create_model(description)
    own = {p.untyped_storage().data_ptr() for p in (*net.parameters(), *net.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.randn(4, 3, 64, 64)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = F.cross_entropy(net(x), torch.zeros(4, dtype=torch.int64))
    assert loss.isfinite()
    assert step_memory(description, 4).saved == pytest.approx(sum(kept.values()), rel=0.01)
