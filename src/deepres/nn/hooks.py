"""Observing and intervening on named parts of a network; the only file with hooks, which are always taken off again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from deepres.base.errors import unknown

Change = Callable[[Tensor], Tensor]
"""What a part gave -> what those after it get."""


@contextmanager
def outputs(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Within it, each forward pass leaves what the named parts gave in the dictionary, in the order of the passes.

    The tensors are those of the graph: they can be differentiated, and nothing is copied.

    Raises:
        InputError: no part of that name; the nearest are offered.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Change:
        def note(given: Tensor) -> Tensor:
            found[name] = given
            return given

        return note

    with changed(network, {name: keep(name) for name in names}):
        yield found


@contextmanager
def inputs(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Within it, each forward pass leaves what entered the named parts in the dictionary.

    Raises:
        InputError: no part of that name; the nearest are offered.
    """
    found: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name in names:

            def note(module: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:  # noqa: ARG001
                found[name] = given[0]

            stack.callback(part(network, name).register_forward_pre_hook(note).remove)
        yield found


@contextmanager
def changed(network: nn.Module, changes: Mapping[str, Change]) -> Iterator[None]:
    """Within it, what each named part gives passes through its function first: delete, scale, replace, observe.

    Raises:
        InputError: no part of that name; the nearest are offered.
    """
    with ExitStack() as stack:
        for name, change in changes.items():

            def hook(module: nn.Module, given: object, gave: Tensor, change: Change = change) -> Tensor:  # noqa: ARG001
                return change(gave)

            stack.callback(part(network, name).register_forward_hook(hook).remove)
        yield


@contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """Whatever happens within, each module trains or evaluates afterwards as it did before."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def left_as_found(network: nn.Module) -> Iterator[None]:
    """Whatever happens within, modes, gradients' flags and the random state of torch are afterwards what they were.

    Gradients that arise within are dropped; parameters are not copied: what changes them puts them back itself.
    """
    flags = [(parameter, parameter.requires_grad, parameter.grad) for parameter in network.parameters()]
    devices = {parameter.device for parameter, _, _ in flags if parameter.device.type not in ("cpu", "meta")}
    with ExitStack() as stack:
        stack.enter_context(modes_kept(network))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        for device in devices:  # each has a generator of its own
            stack.enter_context(torch.random.fork_rng(devices=[device.index or 0], device_type=device.type))
        try:
            yield
        finally:
            for parameter, requires_grad, gradient in flags:
                parameter.requires_grad_(requires_grad)
                parameter.grad = gradient


def part(network: nn.Module, name: str) -> nn.Module:
    """The part of that dotted name.

    Raises:
        InputError: there is none; the nearest are offered.
    """
    known = dict(network.named_modules())
    if name not in known or not name:
        raise unknown("part", name, [other for other in known if other])
    found: nn.Module = known[name]
    return found
