"""A protocol shows a network one or more views of each image and makes one answer of its logits.

A protocol is a function from a prepared batch to its views; further ones (ten crops, flips, several scales) are
further functions in `PROTOCOLS`. Every reported number names its protocol.
"""

from collections.abc import Callable, Iterable
from math import log

import torch
from torch import Tensor, nn

from deepres.base.errors import unknown

Protocol = Callable[[Tensor], Iterable[Tensor]]


def center(images: Tensor) -> Iterable[Tensor]:
    """One view: the images as the preparation cropped them."""
    return (images,)


PROTOCOLS: dict[str, Protocol] = {"center": center}


def protocol_named(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def answer(network: nn.Module, images: Tensor, protocol: Protocol) -> Tensor:
    """Logits (N, C): the network's own for one view, log(mean of softmax) over several.

    The mean is taken over probabilities (Krizhevsky et al. 2012, section 4.1), in float64.
    """
    logits: list[Tensor] = [network(view) for view in protocol(images)]
    if len(logits) == 1:
        return logits[0]
    return torch.stack([one.double().log_softmax(dim=1) for one in logits]).logsumexp(dim=0) - log(len(logits))
