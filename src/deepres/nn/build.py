"""A reading: description -> torch modules with the description's dotted names."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from deepres.nn.layers import PadChannels, Parallel
from deepres.spec import algebra, atoms
from deepres.spec.algebra import Site, fold
from deepres.spec.network import Network


class ResidualNetwork(nn.Module):
    """logits = head(body(x)); the children are the description's parts: stem, stage1, …, head.

    Any height and width that fits works, not only the description's own.
    """

    def __init__(self, description: Network, body: "OrderedDict[str, nn.Module]", head: nn.Module) -> None:
        super().__init__()
        self.description = description
        self.body_names = tuple(body)
        for name, part in body.items():
            self.add_module(name, part)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, classes), or pooled features (N, F) where there are no classes."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the last map (N, F, h, w)."""
        for name in self.body_names:
            x = self.get_submodule(name)(x)
        return x

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The last map (N, F, h, w) -> logits (N, classes); with `pre_logits` the pooled features (N, F)."""
        if not pre_logits:
            logits: Tensor = self.head(features)
            return logits
        for name, part in self.head.named_children():
            if name != "fc":
                features = part(features)
        return features

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """(N, C, H, W) -> the map that leaves each part of the body, by name, from the stem on."""
        maps = {}
        for name in self.body_names:
            x = maps[name] = self.get_submodule(name)(x)
        return maps

    @property
    def num_features(self) -> int:
        """Channels of the last map."""
        return self.description.num_features

    @property
    def num_classes(self) -> int:
        """Number of logits; 0 where there is no classifier."""
        return self.description.num_classes


def build(description: Network) -> ResidualNetwork:
    """The modules on the `meta` device: shapes without values, in no time; `init.initialise` gives the values."""
    with torch.device("meta"):
        whole = fold(description.tree, description.input, _Modules())
    assert isinstance(whole, nn.Sequential)
    *body, head = whole.named_children()
    return ResidualNetwork(description, OrderedDict(body), head[1])


class _Modules:
    def atom(self, site: Site, atom: atoms.Atom) -> nn.Module:
        given = site.given[0]
        match atom:
            case atoms.Conv():
                return nn.Conv2d(
                    given,
                    atom.channels,
                    atom.kernel,
                    stride=atom.stride,
                    padding=atom.padding,
                    dilation=atom.dilation,
                    groups=atom.groups,
                    bias=atom.bias,
                )
            case atoms.Norm():
                return nn.BatchNorm2d(given, eps=atom.eps, momentum=atom.momentum)
            case atoms.Activation():
                return nn.ReLU()
            case atoms.MaxPool():
                return nn.MaxPool2d(atom.kernel, atom.stride, atom.padding)
            case atoms.GlobalAveragePool():
                return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            case atoms.PadChannels():
                return PadChannels(atom.channels - given, atom.stride)
            case atoms.Dropout():
                return nn.Dropout(atom.rate)
            case atoms.Linear():
                return nn.Linear(given, atom.features, bias=atom.bias)
            case atoms.Identity():
                return nn.Identity()

    def sequence(self, site: Site, parts: dict[str, nn.Module]) -> nn.Module:
        return nn.Sequential(OrderedDict(parts))

    def parallel(self, site: Site, node: algebra.Parallel, parts: dict[str, nn.Module], act: nn.Module) -> nn.Module:
        return Parallel(OrderedDict(parts), node.join, act)


def names(description: Network) -> tuple[str, ...]:
    """The dotted name of every node of the description, as the modules have them."""
    return tuple(name for name in _names(description.tree, "") if name)


def _names(node: algebra.Node, name: str) -> list[str]:
    below = [found for part, child in algebra.children(node) for found in _names(child, algebra.dotted(name, part))]
    return [name, *below]
