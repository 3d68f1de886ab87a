"""Stochastic gradient descent as the papers define it, AdamW, LAMB, and the moving average of weights."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from deepres.train.config import AdamWConfig, LambConfig, OptimizerConfig, SgdConfig


class Optimiser(ABC):
    """What learns of a network, in place: steps from the gradients that are there, and what it keeps from step to step.

    `factors` multiply the rate of the network's parts by name (discriminative rates).
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        config: OptimizerConfig,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        trained = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
        self.names = [name for name, _ in trained]
        self.parameters = [parameter for _, parameter in trained]
        self.factors = [(factors or {}).get(name.partition(".")[0], 1.0) for name in self.names]
        self.decayed = [config.decay_parameters == "all" or parameter.dim() > 1 for parameter in self.parameters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step from the gradients that are there; parameters without one stay as they are."""
        if live := [place for place, parameter in enumerate(self.parameters) if parameter.grad is not None]:
            self._step(lr, live, [grad for place in live if (grad := self.parameters[place].grad) is not None])

    @abstractmethod
    def _step(self, lr: float, live: list[int], grads: list[Tensor]) -> None:
        """Learn from `grads`, which may be overwritten, of the parameters at the places `live`."""

    def zero_grad(self) -> None:
        """Forget the gradients (which `step` has used up)."""
        for parameter in self.parameters:
            parameter.grad = None

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """What is kept from step to step, by the parameter's name: the tensors themselves."""

    @torch.no_grad()
    def load_state_dict(self, kept: Mapping[str, Tensor]) -> None:
        """Take up what `state_dict` gave."""
        own = self.state_dict()
        assert set(kept) == set(own)
        for name, tensor in own.items():
            tensor.copy_(kept[name])


class Sgd(Optimiser):
    """v <- m v + lr (g + d w), w <- w - v: momentum with the rate inside, as the authors of He et al. 2015 wrote it.

    torch's SGD keeps the rate outside (v <- m v + g, w <- w - lr v); the two differ for some steps after each change
    of the rate. With Nesterov, w <- w - (m v + lr (g + d w)) for the new v.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        config: SgdConfig,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(parameters, config, factors)
        self.config = config
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]

    def _step(self, lr: float, live: list[int], steps: list[Tensor]) -> None:
        parameters: list[Tensor] = [self.parameters[place] for place in live]
        velocities = [self.velocities[place] for place in live]
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

    def state_dict(self) -> dict[str, Tensor]:
        """The velocity of each parameter, by the parameter's name."""
        return dict(zip(self.names, self.velocities, strict=True))


class _Moments(Optimiser):
    """m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2; u = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps).

    t counts the steps of a parameter: of those alone that had a gradient of it (Kingma & Ba 2015, algorithm 1).
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        config: AdamWConfig | LambConfig,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(parameters, config, factors)
        self.config = config
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        device = self.parameters[0].device if self.parameters else None
        self.counts = torch.zeros(len(self.parameters), dtype=torch.int64, device=device)

    def _updates(self, live: list[int], grads: list[Tensor]) -> list[Tensor]:
        (b1, b2), eps = self.config.betas, self.config.eps
        means, squares = [self.means[place] for place in live], [self.squares[place] for place in live]
        self.counts[live] += 1
        times = self.counts[live].tolist()
        torch._foreach_lerp_(means, grads, 1 - b1)
        torch._foreach_mul_(squares, b2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - b2)
        below = list(torch._foreach_sqrt(squares))
        torch._foreach_div_(below, [(1 - b2**t) ** 0.5 for t in times])
        torch._foreach_add_(below, eps)
        torch._foreach_mul_(below, [1 - b1**t for t in times])
        return list(torch._foreach_div(means, below))

    def state_dict(self) -> dict[str, Tensor]:
        """Both moments of each parameter, by its name, and the counts of all."""
        means = {f"mean.{name}": mean for name, mean in zip(self.names, self.means, strict=True)}
        squares = {f"square.{name}": square for name, square in zip(self.names, self.squares, strict=True)}
        return {"counts": self.counts, **means, **squares}


class AdamW(_Moments):
    """w <- (1 - lr d) w - lr u, with the u of Adam: weight decay apart from the gradient (Loshchilov & Hutter 2019)."""

    def _step(self, lr: float, live: list[int], grads: list[Tensor]) -> None:
        parameters: list[Tensor] = [self.parameters[place] for place in live]
        rates = [lr * self.factors[place] for place in live]
        updates = self._updates(live, grads)
        if decay := self.config.weight_decay:
            kept = [1 - rate * decay * self.decayed[place] for rate, place in zip(rates, live, strict=True)]
            torch._foreach_mul_(parameters, kept)
        torch._foreach_mul_(updates, rates)
        torch._foreach_sub_(parameters, updates)


class Lamb(_Moments):
    """r = u + d w, w <- w - lr |w| / |r| r, for each tensor by itself, with the u of Adam (You et al. 2020).

    As timm's, tensors that do not decay keep Adam's own length (the factor is 1), as does one whose |w| or |r| is 0.
    """

    def _step(self, lr: float, live: list[int], grads: list[Tensor]) -> None:
        updates = self._updates(live, grads)
        adapted = [number for number, place in enumerate(live) if self.decayed[place] and self.config.weight_decay]
        if adapted:
            weights: list[Tensor] = [self.parameters[live[number]] for number in adapted]
            chosen = [updates[number] for number in adapted]
            torch._foreach_add_(chosen, weights, alpha=self.config.weight_decay)
            lengths = zip(torch._foreach_norm(weights), torch._foreach_norm(chosen), strict=True)
            ratios = [torch.where((w > 0) & (r > 0), w / r, 1.0) for w, r in lengths]
            torch._foreach_mul_(chosen, ratios)
        torch._foreach_mul_(updates, [lr * self.factors[place] for place in live])
        torch._foreach_sub_([self.parameters[place] for place in live], updates)


def optimiser(
    parameters: Iterable[tuple[str, nn.Parameter]],
    config: OptimizerConfig,
    factors: Mapping[str, float] | None = None,
) -> Optimiser:
    """The optimiser of that description."""
    if isinstance(config, AdamWConfig):
        return AdamW(parameters, config, factors)
    if isinstance(config, LambConfig):
        return Lamb(parameters, config, factors)
    return Sgd(parameters, config, factors)


@torch.no_grad()
def average_weights(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """a <- d a + (1 - d) w with d = min(decay, (1 + step) / (10 + step)); norm statistics are copied.

    The rising d keeps the first weights from weighing on a short run (as in TensorFlow's ExponentialMovingAverage).
    """
    rising = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - rising)
    for kept, new in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(new)
