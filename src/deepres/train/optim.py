"""Stochastic gradient descent as the papers define it, and the moving average of weights."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from deepres.train.config import SgdConfig


class Sgd:
    """v <- m v + lr (g + d w), w <- w - v: momentum with the rate inside, as the authors of He et al. 2015 wrote it.

    torch's SGD keeps the rate outside (v <- m v + g, w <- w - lr v); the two differ for some steps after each change
    of the rate. With Nesterov, w <- w - (m v + lr (g + d w)) for the new v. `factors` multiply the rate of the
    network's parts by name (discriminative rates).
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        config: SgdConfig,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        trained = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
        self.config = config
        self.names = [name for name, _ in trained]
        self.parameters = [parameter for _, parameter in trained]
        self.factors = [(factors or {}).get(name.partition(".")[0], 1.0) for name in self.names]
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.decayed = [config.decay_parameters == "all" or parameter.dim() > 1 for parameter in self.parameters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step from the gradients that are there; parameters without one stay as they are."""
        live = [place for place, parameter in enumerate(self.parameters) if parameter.grad is not None]
        if not live:
            return
        parameters: list[Tensor] = [self.parameters[place] for place in live]
        velocities = [self.velocities[place] for place in live]
        steps = [parameter.grad for parameter in parameters if parameter.grad is not None]
        decayed = [number for number, place in enumerate(live) if self.decayed[place]]
        if self.config.weight_decay and decayed:
            weights = [parameters[number] for number in decayed]
            torch._foreach_add_([steps[number] for number in decayed], weights, alpha=self.config.weight_decay)
        torch._foreach_mul_(steps, [lr * self.factors[place] for place in live])
        torch._foreach_mul_(velocities, self.config.momentum)
        torch._foreach_add_(velocities, steps)
        if self.config.nesterov:
            torch._foreach_add_(steps, velocities, alpha=self.config.momentum)
            torch._foreach_sub_(parameters, steps)
        else:
            torch._foreach_sub_(parameters, velocities)

    def zero_grad(self) -> None:
        """Forget the gradients (which `step` has scaled)."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """The velocity of each parameter, by the parameter's name."""
        return dict(zip(self.names, self.velocities, strict=True))

    @torch.no_grad()
    def load_state_dict(self, velocities: Mapping[str, Tensor]) -> None:
        """Take up the velocities of `state_dict`."""
        assert set(velocities) == set(self.names)
        for name, velocity in zip(self.names, self.velocities, strict=True):
            velocity.copy_(velocities[name])


@torch.no_grad()
def average_weights(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """a <- d a + (1 - d) w with d = min(decay, (1 + step) / (10 + step)); norm statistics are copied.

    The rising d keeps the first weights from weighing on a short run (as in TensorFlow's ExponentialMovingAverage).
    """
    rising = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - rising)
    for kept, new in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(new)
