"""A reading: parameters, multiply-adds, activations, receptive field, and the memory of a training step."""

from dataclasses import dataclass
from functools import reduce

from deepres.spec.algebra import Node, Parallel, Sequence, Site, fold
from deepres.spec.atoms import (
    Activation,
    AdaptiveAvgPool,
    Atom,
    AvgPool,
    Blur,
    ColumnMean,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    GlobalAveragePool,
    Identity,
    Linear,
    MaskChannels,
    MaxPool,
    Norm,
    PadChannels,
    Scale,
    elements,
)
from deepres.spec.network import Network


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


def cost(network: Network) -> Cost:
    """The network's cost at its own input size."""
    return fold(network.tree, network.input, _CostReading())


def cost_of(node: Node, given: tuple[int, ...]) -> Cost:
    """The cost of a part that a (C, H, W) enters."""
    return fold(node, given, _CostReading())


class _CostReading:
    def atom(self, site: Site, atom: Atom) -> Cost:
        match atom:
            case Conv():
                weights = atom.channels * (site.given[0] // atom.groups) * atom.kernel**2
                macs = weights * elements(site.gives[1:])
                return Cost(weights + atom.bias * atom.channels, 0, macs, elements(site.gives))
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


def receptive_field(network: Network) -> Field:
    """The theoretical receptive field of the last map before the head; the widest path decides.

    Global pools within units (squeeze-and-excitation) see everything and are left out.
    """
    return fold(Sequence(parts=network.body), network.input, _FieldReading())


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
        widest = max(parts.values(), key=lambda part: (part.stride, part.size))
        return pre.then(widest).then(act)


@dataclass(frozen=True)
class StepMemory:
    """Bytes of one training step with momentum: what is there always, and what grows with the batch.

    saved      activations that the backward pass needs
    transient  the largest pair of maps alive between two layers (a map and its gradient)
    """

    weights: int
    gradients: int
    momentum: int
    saved: int
    transient: int

    @property
    def total(self) -> int:
        """Their sum."""
        return self.weights + self.gradients + self.momentum + self.saved + self.transient


def step_memory(network: Network, batch_size: int, value_bytes: int = 4) -> StepMemory:
    """The memory of a training step; `value_bytes` is what one activation takes (4: float32, 2: bfloat16).

    A convolution, a norm and a linear layer keep their input, a ReLU its output, max pooling its input and an 8-byte
    index for each output; a tensor kept by two is counted once.
    """
    tally = fold(network.tree, network.input, _SavedReading(value_bytes))
    whole = cost(network)
    parameters = 4 * whole.parameters
    saved = tally.inside + (elements(network.input) * 4 if tally.keeps_input else 0)
    return StepMemory(
        parameters + 4 * whole.buffers, parameters, parameters, saved * batch_size, 2 * tally.largest * batch_size
    )


@dataclass(frozen=True)
class _Saved:
    """One image's bytes kept strictly `inside` a part, and what it does with the tensors at its two ends."""

    inside: int = 0
    keeps_input: bool = False
    keeps_output: bool = False
    passes: bool = False  # the output is the very tensor that came in
    largest: int = 0
    gives: int = 0


class _SavedReading:
    def __init__(self, value_bytes: int) -> None:
        self.value_bytes = value_bytes

    def atom(self, site: Site, atom: Atom) -> _Saved:
        values = elements(site.gives)
        out = values * self.value_bytes
        match atom:
            case (
                Conv()
                | Linear()
                | Norm(method="batch" | "group")
                | GlobalAveragePool()
                | AvgPool()
                | AdaptiveAvgPool()
                | Blur()
            ):
                # an average's backward keeps a reference to its input, which others keep anyway
                return _Saved(keeps_input=True, largest=out, gives=out)
            case Activation(function="silu" | "gelu" | "leaky_relu"):
                return _Saved(keeps_input=True, largest=out, gives=out)
            case Activation():
                return _Saved(keeps_output=True, largest=out, gives=out)
            case MaxPool():
                return _Saved(values * 8, keeps_input=True, largest=out, gives=out)
            case Dropout() if atom.rate > 0:
                return _Saved(out, largest=out, gives=out)
            case Identity() | Dropout() | Flatten():
                return _Saved(passes=True, gives=out)
            case Norm() | PadChannels() | MaskChannels() | ColumnMean() | Scale() | DropPath():
                return _Saved(largest=out, gives=out)

    def sequence(self, site: Site, parts: dict[str, _Saved]) -> _Saved:
        return reduce(self._then, parts.values())

    def parallel(self, site: Site, node: Parallel, pre: _Saved, parts: dict[str, _Saved], act: _Saved) -> _Saved:
        return self._then(self._then(pre, self._joined(node, parts)), act)

    def _joined(self, node: Parallel, parts: dict[str, _Saved]) -> _Saved:
        if len(parts) == 1:
            return next(iter(parts.values()))
        # a product keeps its factors; a sum keeps nothing, the join of a concat is a new tensor
        multiplies = node.join == "multiply" or node.gated
        inside = sum(part.inside for part in parts.values())
        inside += sum(part.gives for part in parts.values() if not part.passes and (part.keeps_output or multiplies))
        keeps_input = any(
            part.keeps_input or (part.passes and (part.keeps_output or multiplies)) for part in parts.values()
        )
        gives = (sum if node.join == "concat" else max)([part.gives for part in parts.values()])
        if node.gated:
            inside += gives  # 1 - g
        return _Saved(inside, keeps_input, largest=max(part.largest for part in parts.values()), gives=gives)

    def _then(self, a: _Saved, b: _Saved) -> _Saved:
        largest = max(a.largest, b.largest)
        if a.passes:
            keeps_input = a.keeps_input or b.keeps_input
            return _Saved(a.inside + b.inside, keeps_input, b.keeps_output, b.passes, largest, b.gives)
        if b.passes:
            keeps_output = a.keeps_output or b.keeps_input or b.keeps_output
            return _Saved(a.inside + b.inside, a.keeps_input, keeps_output, False, largest, b.gives)
        between = a.gives if a.keeps_output or b.keeps_input else 0
        return _Saved(a.inside + b.inside + between, a.keeps_input, b.keeps_output, False, largest, b.gives)
