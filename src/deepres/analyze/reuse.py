"""How much each layer of a dense block weighs the features of each layer before it (Huang et al. 2017, Fig. 5)."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from deepres.arch import algebra
from deepres.arch.algebra import Node, Parallel, children, dotted, shape
from deepres.arch.architecture import Architecture, feature_shapes
from deepres.arch.atoms import Conv, Identity, Linear, Norm
from deepres.arch.shapes import Shape
from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.nn.build import ResidualNetwork


class LayerReads(Record):
    """How one layer weighs its sources: `weight` is the mean of |w| over outputs, the source's channels and the kernel.

    `scaled` is the mean of |gamma w|, gamma being what the norm before multiplies each channel with: |w| alone says
    little of a channel that its norm makes small. `reader` is the layer whose w is read; `kernel` its size, None of a
    linear layer.
    """

    reader: str
    kernel: int | None
    weight: tuple[float, ...]
    scaled: tuple[float, ...]


class DenseBlock(Record):
    """Sources (the block's input, then its units) and those that read them: unit l reads the first l sources.

    `after` is what reads them all behind the block, a transition's convolution or the classifier; None where nothing
    does. `channels` has one count a source.
    """

    name: str
    sources: tuple[str, ...]
    channels: tuple[int, ...]
    layers: tuple[LayerReads, ...]
    after: LayerReads | None

    def rows(self, *, scaled: bool = False) -> tuple[tuple[float | None, ...], ...]:
        """The heat map: a row a source, a column a reader (`after` last); None where a reader comes before a source."""
        columns = [*self.layers, *([] if self.after is None else [self.after])]
        values = [column.scaled if scaled else column.weight for column in columns]
        return tuple(
            tuple(column[source] if source < len(column) else None for column in values)
            for source in range(len(self.sources))
        )


class Reuse(Record):
    """The dense blocks of a network; `bottleneck` says that of each unit the 1x1 before its 3x3 was read."""

    network: str
    bottleneck: bool
    blocks: tuple[DenseBlock, ...]


def feature_reuse(network: ResidualNetwork) -> Reuse:
    """M(s, l) = mean of |w| of layer l over the channels of source s (Huang et al. 2017, section 5, Fig. 5).

    The L1 norm of the weights from a source, by its number of maps; also by that of outputs and of kernel places, which
    changes the scale of a column only. The figure's network has one 3x3 a unit. Of units with a bottleneck the 1x1 is
    read, the only convolution that sees the sources apart (ours). Whether the figure scales its colours is not stated:
    nothing is scaled here. Weights are read in float64 on the CPU; no image is needed, nothing is changed.

    Raises:
        InputError: the network has no dense block.
    """
    description = network.description
    blocks = {name: [_branch(unit) for _, unit in children(node)] for name, node in description.body if _is_block(node)}
    if not blocks:
        raise InputError(
            f"{description.name}: no dense block, no part of the body whose every unit is y = concat(x, branch(x)); "
            "wanted a DenseNet, such as densenet40_k12_cifar"
        )
    return Reuse(
        network=description.name,
        bottleneck=any(_convs(branch) > 1 for branches in blocks.values() for _, branch in branches),
        blocks=tuple(_block(network, name) for name in blocks),
    )


def _block(network: ResidualNetwork, name: str) -> DenseBlock:
    description = network.description
    body = [part for part, _ in description.body]
    place = body.index(name)
    block = dict(description.body)[name]
    shapes = feature_shapes(description)
    given: Shape = shapes[body[place - 1]] if place else description.input
    channels, layers = [given[0]], []
    for part, unit in children(block):
        branch, inside = _branch(unit)
        chain = [(dotted(dotted(dotted(name, part), branch), atom), node) for atom, node in children(inside)]
        column = _column(network, chain, channels)
        assert column is not None, f"{name}.{part}"
        layers.append(column)
        wider = shape(unit, given)
        channels.append(wider[0] - given[0])
        given = wider
    return DenseBlock(
        name=name,
        sources=(body[place - 1] if place else "image", *(dotted(name, part) for part, _ in children(block))),
        channels=tuple(channels),
        layers=tuple(layers),
        after=_column(network, list(_following(description, place)), channels),
    )


def _column(network: ResidualNetwork, chain: Sequence[tuple[str, Node]], channels: Sequence[int]) -> LayerReads | None:
    """What the first weights of the chain give to each source; None where other things than norms mix them before."""
    gamma = torch.ones(sum(channels), dtype=torch.float64)
    for name, node in chain:
        module = network.get_submodule(name)
        if isinstance(node, Conv | Linear):
            each = _by_channel(module, sum(channels))
            kernel = node.kernel if isinstance(node, Conv) else None
            return LayerReads(
                reader=name, kernel=kernel, weight=_means(each, channels), scaled=_means(each * gamma, channels)
            )
        if isinstance(node, Parallel):
            return None
        if isinstance(node, Norm) and node.affine:
            gamma = _values(module).abs()
    return None


def _by_channel(module: nn.Module, channels: int) -> Tensor:
    """The mean of |w| over all that reads each input channel: (C,)."""
    weight = _values(module)
    groups = module.groups if isinstance(module, nn.Conv2d) else 1
    per_group = channels // groups
    return weight.abs().reshape(groups, weight.shape[0] // groups, per_group, -1).mean((1, 3)).flatten()


def _means(each: Tensor, channels: Sequence[int]) -> tuple[float, ...]:
    ends = [0, *accumulate(channels)]
    return tuple(float(each[first:last].mean()) for first, last in pairwise(ends))


def _values(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.detach().cpu().double()


def _following(description: Architecture, place: int) -> Iterator[tuple[str, Node]]:
    """The atoms (and units) behind that part of the body, in order."""
    for name, node in description.tree.parts[place + 1 :]:
        yield from _leaves(node, name)


def _leaves(node: Node, name: str) -> Iterator[tuple[str, Node]]:
    if isinstance(node, algebra.Sequence):
        for part, child in node.parts:
            yield from _leaves(child, dotted(name, part))
    else:
        yield name, node


def _is_block(node: Node) -> bool:
    return isinstance(node, algebra.Sequence) and all(_is_dense(unit) for _, unit in node.parts)


def _is_dense(unit: Node) -> bool:
    if not isinstance(unit, Parallel) or unit.join != "concat" or len(unit.parts) != 2:
        return False
    (_, features), (_, branch) = unit.parts
    bare = all(isinstance(node, Identity) for node in (unit.pre, features, unit.act))
    return bare and isinstance(branch, algebra.Sequence) and _convs(branch) > 0


def _branch(unit: Node) -> tuple[str, Node]:
    """The branch of a dense unit, by name: what stands second, behind the features so far."""
    assert isinstance(unit, Parallel)
    return unit.parts[1]


def _convs(branch: Node) -> int:
    return sum(isinstance(node, Conv) for _, node in children(branch))
