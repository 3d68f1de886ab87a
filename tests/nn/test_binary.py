"""One logit for two classes, as two logits: the same probabilities, and the same network otherwise."""

import torch

from deepres.arch.architecture import with_classes
from deepres.arch.catalogue.lookup import architecture
from deepres.nn.binary import two_logits
from deepres.nn.build import build
from deepres.nn.init import initialise


def test_softmax_of_two_logits_is_the_sigmoid_of_one() -> None:
    network = build(with_classes(architecture("resnet8_tiny"), 1))
    initialise(network, seed=3)
    network.eval()
    x = torch.randn(4, *network.description.input, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, two = network(x), two_logits(network)(x)
    torch.testing.assert_close(two.softmax(1)[:, 1:], one.sigmoid(), rtol=1e-6, atol=1e-6)
    assert torch.equal(two[:, 0], -two[:, 1])
    assert not two_logits(network).training
