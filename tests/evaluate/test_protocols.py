"""One view is the network's own answer; several are the mean of their probabilities."""

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.evaluate.protocols import answer, center, protocol_named


def mirrored_too(images: Tensor) -> Iterable[Tensor]:
    yield images
    yield images.flip(-1)


def test_center_gives_the_networks_logits_bitwise() -> None:
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.randn(5, 3, 2, 2)
    assert torch.equal(answer(network, images, center), network(images))


def test_several_views_are_the_mean_of_their_probabilities() -> None:
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.randn(5, 3, 2, 2)
    wanted = (network(images).double().softmax(1) + network(images.flip(-1)).double().softmax(1)) / 2
    torch.testing.assert_close(answer(network, images, mirrored_too).exp(), wanted, rtol=1e-12, atol=1e-12)


def test_an_unknown_protocol_is_refused_with_the_nearest_name() -> None:
    assert protocol_named("center") is center
    with pytest.raises(InputError, match=r"^protocol 'centre': unknown; did you mean center\?$"):
        protocol_named("centre")
