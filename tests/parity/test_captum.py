"""captum on networks of ours: its integrated gradients are ours; its DeepLift, which needs no module twice, is complete."""

import warnings

import pytest
import torch

from deepres.analyze.integrated import integrated_gradients
from deepres.arch.catalogue.lookup import entry
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model

captum = pytest.importorskip("captum.attr")

NAMES = {
    "resnet20_cifar": {"depths": (1, 1), "widths": (8, 16), "shortcut": "B"},
    "preresnet110_cifar": {"depths": (1, 1), "widths": (16, 32)},
    "densenet40_k12_cifar": {"depths": (2, 2)},
}


def _network(name: str) -> ResidualNetwork:
    torch.manual_seed(1)
    made = create_model(
        entry(name).config.replace(input=(3, 8, 8), num_classes=3, **NAMES[name]).architecture(), seed=2
    )
    made.double().train()
    for _ in range(5):
        made(torch.randn(8, 3, 8, 8).double())
    return made.eval()


@pytest.mark.medium
@pytest.mark.parametrize("name", NAMES)
def test_both_attribute_alike_and_completely(name: str) -> None:
    network, targets = _network(name), torch.tensor([2, 0])
    torch.manual_seed(3)
    images, baseline = torch.randn(2, 3, 8, 8).double(), 0.1 * torch.randn(2, 3, 8, 8).double()
    found = integrated_gradients(network, images, targets[:, None], baseline, steps=16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its hooks
        theirs = captum.IntegratedGradients(network).attribute(
            images, baseline, target=targets, n_steps=16, method="riemann_middle"
        )
        lifted = captum.DeepLift(network).attribute(images, baseline, target=targets)
    torch.testing.assert_close(found.pixels, theirs)
    torch.testing.assert_close(lifted.sum((1, 2, 3)), found.difference)
