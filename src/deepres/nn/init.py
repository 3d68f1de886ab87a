"""Initialisation as one table of rules over a whole network; a tensor without a rule is an error."""

from collections.abc import Callable, Mapping
from math import sqrt
from types import MappingProxyType

import torch
from torch import Generator, Tensor, nn

from deepres.arch.algebra import at
from deepres.arch.atoms import Conv, Linear
from deepres.arch.readings.norms import last_norms
from deepres.base.errors import InputError
from deepres.base.ram import free_bytes, told_bytes
from deepres.base.seeds import derive
from deepres.nn.build import ResidualNetwork
from deepres.nn.layers import Blur, ChannelConv, FrozenBatchNorm2d, SameConv2d, binomial


def he_normal(tensor: Tensor, draw: Generator) -> None:
    """N(0, 2 / n), n the inputs of one output value (He et al. 2015, arXiv 1502.01852, forward case)."""
    tensor.normal_(0, sqrt(2 / tensor[0].numel()), generator=draw)


def ones(tensor: Tensor, draw: Generator) -> None:  # noqa: ARG001
    """1 everywhere."""
    tensor.fill_(1)


def zeros(tensor: Tensor, draw: Generator) -> None:  # noqa: ARG001
    """0 everywhere."""
    tensor.zero_()


def binomial_filter(tensor: Tensor, draw: Generator) -> None:  # noqa: ARG001
    """The fixed filter of a blur."""
    tensor.copy_(binomial(len(tensor)))


def uniform(share: float) -> "Rule":
    """U(-b, b), b = sqrt(share / n), n the inputs of one output value."""

    def rule(tensor: Tensor, draw: Generator) -> None:
        bound = sqrt(share / tensor[0].numel())
        tensor.uniform_(-bound, bound, generator=draw)

    return rule


def normal(deviation: float) -> "Rule":
    """N(0, deviation^2)."""

    def rule(tensor: Tensor, draw: Generator) -> None:
        tensor.normal_(0, deviation, generator=draw)

    return rule


Rule = Callable[[Tensor, Generator], None]
Rules = Mapping[tuple[type[nn.Module], str], Rule]

RULES: Rules = {
    **dict.fromkeys([(nn.Conv2d, "weight"), (SameConv2d, "weight")], he_normal),
    **dict.fromkeys([(nn.Conv2d, "bias"), (SameConv2d, "bias")], zeros),
    (nn.Linear, "weight"): he_normal,
    (ChannelConv, "weight"): uniform(1),  # torch's own for Conv1d, as its authors and timm have it
    (nn.Linear, "bias"): zeros,
    (nn.BatchNorm2d, "weight"): ones,
    (nn.BatchNorm2d, "bias"): zeros,
    (nn.BatchNorm2d, "running_mean"): zeros,
    (nn.BatchNorm2d, "running_var"): ones,
    (nn.BatchNorm2d, "num_batches_tracked"): zeros,
    (Blur, "weight"): binomial_filter,
    (nn.GroupNorm, "weight"): ones,
    (nn.GroupNorm, "bias"): zeros,
    (FrozenBatchNorm2d, "weight"): ones,
    (FrozenBatchNorm2d, "bias"): zeros,
    (FrozenBatchNorm2d, "running_mean"): zeros,
    (FrozenBatchNorm2d, "running_var"): ones,
}


@torch.no_grad()
def initialise(
    network: nn.Module, seed: int, rules: Rules = RULES, *, parts: Mapping[str, Rules] = MappingProxyType({})
) -> None:
    """Give every parameter and buffer its first value, on the CPU where it has none yet.

    Each tensor draws from a generator of its own, seeded by `seed` and its dotted name: two networks that share a
    part (a plain net and its residual twin) begin with the same values there. The rules of `parts`, by the names of the
    network's children, come before the table, and a `bias_init` of the description before both.
    """
    if any(tensor.is_meta for tensor in network.state_dict().values()):
        _require_room(network)
        place: Callable[..., object] = network._apply  # to_empty() does the same, and loads sympy for it
        place(lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype))
    for prefix, module in network.named_modules():
        own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        for name, tensor in own.items():
            rule = parts.get(prefix.partition(".")[0], {}).get((type(module), name)) or rules.get((type(module), name))
            if rule is None:
                raise AssertionError(f"{prefix}.{name} of {type(module).__name__}: no rule in the initialisation table")
            rule(tensor, Generator(tensor.device).manual_seed(derive(seed, "init", f"{prefix}.{name}")))
    if isinstance(network, ResidualNetwork):
        _fill_stated_biases(network)


@torch.no_grad()
def begin_at_shortcuts(network: ResidualNetwork) -> None:
    """gamma = 0 in the last norm of each unit's branch: the network begins as its shortcuts (Goyal et al. 2017, 5.1).

    All else stays bit by bit; arXiv 1706.02677.

    Raises:
        InputError: there is a unit that has no such norm (`arch/readings/norms.py`).
    """
    for name in last_norms(network.description):
        weight = network.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        weight.zero_()


def _require_room(network: nn.Module) -> None:
    size, free = sum(tensor.nbytes for tensor in network.state_dict().values()), free_bytes()
    if size > free:
        name = network.description.name if isinstance(network, ResidualNetwork) else "the network"
        raise InputError(
            f"{name}: its weights take {told_bytes(size)}, {told_bytes(free)} are free; choose a narrower network, "
            "or a machine with more memory"
        )


def _fill_stated_biases(network: ResidualNetwork) -> None:
    tree = network.description.tree
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            atom = at(tree, name)
            if isinstance(atom, Conv | Linear) and atom.bias_init:
                module.bias.fill_(atom.bias_init)
