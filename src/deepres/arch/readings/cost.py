"""A reading: parameters, multiply-adds, activations, receptive field."""

from dataclasses import dataclass
from functools import reduce

from deepres.arch.algebra import Node, Parallel, Sequence, Site, fold
from deepres.arch.architecture import Architecture, Place
from deepres.arch.atoms import (
    Atom,
    AvgPool,
    Blur,
    Conv,
    Flatten,
    Linear,
    MaxPool,
    Norm,
    PadChannels,
    TransposedConv,
)
from deepres.arch.attention_atoms import ChannelConv
from deepres.arch.detector import Detector
from deepres.arch.shapes import elements


@dataclass(frozen=True)
class Cost:
    """What one image costs.

    parameters  learnable values: convolution and linear weights and biases, gamma and beta of the norms
    buffers     values kept but not learnt: running mean, variance and count of the norms
    macs        multiply-adds of convolutions, blurs and linear layers (the papers' "FLOPs")
    activations values that leave convolutions and linear layers (Radosavovic et al. 2020)
    """

    parameters: int = 0
    buffers: int = 0
    macs: int = 0
    activations: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.parameters + other.parameters,
            self.buffers + other.buffers,
            self.macs + other.macs,
            self.activations + other.activations,
        )


def cost(network: Architecture | Detector) -> Cost:
    """The network's cost at its own input size; a detector's with as many regions as it tests."""
    if isinstance(network, Detector):
        return sum(map(cost_at, network.places), Cost())
    return fold(network.tree, network.input, _CostReading(), named=False)


def cost_at(place: Place) -> Cost:
    """What a part costs where it stands: weights once, work for each of all that enters."""
    each = [cost_of(place.node, given) for given in place.given]
    often = place.each or (place.times,) * len(each)
    macs = sum(times * one.macs for times, one in zip(often, each, strict=True))
    activations = sum(times * one.activations for times, one in zip(often, each, strict=True))
    return Cost(each[0].parameters, each[0].buffers, macs, activations)


def cost_of(node: Node, given: tuple[int, ...]) -> Cost:
    """The cost of a part that a (C, H, W) enters."""
    return fold(node, given, _CostReading(), named=False)


class _CostReading:
    def atom(self, site: Site, atom: Atom) -> Cost:
        match atom:
            case Conv():
                weights = atom.channels * (site.given[0] // atom.groups) * atom.kernel**2
                macs = weights * elements(site.gives[1:])
                return Cost(weights + atom.bias * atom.channels, 0, macs, elements(site.gives))
            case TransposedConv():
                weights = atom.channels * site.given[0] * atom.kernel**2
                macs = weights * elements(site.given[1:])
                return Cost(weights + atom.bias * atom.channels, 0, macs, elements(site.gives))
            case ChannelConv():
                return Cost(atom.kernel, 0, atom.kernel * site.given[0], site.given[0])
            case Blur():
                return Cost(macs=elements(site.gives) * atom.kernel**2)
            case Linear():
                weights = site.given[0] * atom.features
                return Cost(weights + atom.bias * atom.features, 0, weights, atom.features)
            case Norm(method="group"):
                return Cost(2 * site.given[0] * atom.affine)
            case Norm(method="frozen"):
                return Cost(0, 4 * site.given[0])
            case Norm():
                return Cost(2 * site.given[0] * atom.affine, 2 * site.given[0] + 1)
            case _:
                return Cost()

    def sequence(self, site: Site, parts: dict[str, Cost]) -> Cost:
        return sum(parts.values(), Cost())

    def parallel(self, site: Site, node: Parallel, pre: Cost, parts: dict[str, Cost], act: Cost) -> Cost:
        return sum(parts.values(), pre + act)


@dataclass(frozen=True)
class Field:
    """What one output value sees of the input: `size` pixels a side, neighbours `stride` pixels apart."""

    size: int = 1
    stride: int = 1

    def then(self, other: "Field") -> "Field":
        """size = size1 + (size2 - 1) stride1, stride = stride1 stride2."""
        return Field(self.size + (other.size - 1) * self.stride, self.stride * other.stride)


def receptive_field(architecture: Architecture) -> Field:
    """The theoretical receptive field of the last map before the head; the widest path decides.

    Global pools within units (squeeze-and-excitation, ECA) see everything and are left out.
    """
    return fold(Sequence(parts=architecture.body), architecture.input, _FieldReading())


class _FieldReading:
    def atom(self, site: Site, atom: Atom) -> Field:
        match atom:
            case Conv():
                return Field(atom.dilation * (atom.kernel - 1) + 1, atom.stride)
            case MaxPool() | AvgPool() | Blur():
                return Field(atom.kernel, atom.stride)
            case PadChannels():
                return Field(1, atom.stride)
            case Flatten():
                return Field(max(site.given[1:], default=1))
            case _:
                return Field()

    def sequence(self, site: Site, parts: dict[str, Field]) -> Field:
        return reduce(Field.then, parts.values(), Field())

    def parallel(self, site: Site, node: Parallel, pre: Field, parts: dict[str, Field], act: Field) -> Field:
        given = tuple(parts.values())
        chained = (reduce(Field.then, given[:-1]), given[-1]) if node.feed == "chain" and len(given) > 1 else given
        widest = max(chained, key=lambda part: (part.stride, part.size))
        return pre.then(widest).then(act)
