"""A training pass without its frozen norms: convolutions take them up anew in each step, and gradients pass through.

s conv(x) + b = (s conv)(x) + b: the weights are multiplied, which are small, in place of the maps, which are large and
would be kept for the backward pass.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from deepres.arch.algebra import Parts
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Identity
from deepres.arch.shapes import Shape
from deepres.nn.build import build
from deepres.nn.inference import absorb, folds, without_norms


class Folding:
    """Parts of a body in a row, computed by modules without frozen norms; the weights stay those of the network."""

    def __init__(self, body: Parts, given: Shape) -> None:
        self.names = tuple(name for name, _ in body)
        self._description: Architecture | None = None
        if body:
            whole = Architecture.model_validate({"name": "body", "input": given, "body": body, "head": Identity()})
            if folds(whole):
                self._description, self._modules = whole, build(without_norms(whole))

    def maps(self, network: nn.Module, x: Tensor) -> dict[str, Tensor]:
        """The map that leaves each of the parts, by name.

        Passes that learn take this road; others go through the network's own modules, which may be watched.
        """
        if self._description is None or not (network.training and torch.is_grad_enabled()):
            return {name: (x := network.get_submodule(name)(x)) for name in self.names}
        state: dict[str, Tensor] = {}
        for name in self.names:
            part = network.get_submodule(name)
            for key, tensor in (*part.named_parameters(), *part.named_buffers()):
                state[f"{name}.{key}"] = tensor
            self._modules.get_submodule(name).train(part.training)
        absorb(state, self._description, next(iter(state.values())).dtype)
        found = {}
        for name in self.names:
            own = {key.removeprefix(f"{name}."): t for key, t in state.items() if key.startswith(f"{name}.")}
            x = found[name] = functional_call(self._modules.get_submodule(name), own, (x,))
        return found
