"""One logit for two classes: the network with two logits that gives the same probabilities by softmax."""

import torch

from deepres.arch.architecture import with_classes
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.init import initialise


def two_logits(network: ResidualNetwork) -> ResidualNetwork:
    """The network with logits -x / 2 and x / 2, x the one of `network`: softmax gives 1 - s and s = sigmoid(x).

    Halves, so that a map of what speaks for one class is the other's with its sign turned.
    """
    assert network.num_classes == 1
    twin = build(with_classes(network.description, 2))
    initialise(twin, seed=0)
    tensors = {
        name: torch.cat([-tensor / 2, tensor / 2]) if name.startswith("head.fc.") else tensor
        for name, tensor in network.state_dict().items()
    }
    twin.load_state_dict(tensors)
    return twin.train(network.training)
