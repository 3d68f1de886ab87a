"""What every single pixel adds to an answer: gradients integrated along the way from an image without it.

Layout of tensors: N images, C channels, H rows, W columns.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from deepres.analyze.attribution import require_targets
from deepres.analyze.guards import on_device
from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.data.on_device import finer
from deepres.nn.build import ResidualNetwork
from deepres.nn.hooks import left_as_found

STEPS = 64


class Integrated(NamedTuple):
    """`pixels` (N, C, H, W), and what they sum to but for the steps: `difference` = f(x) - f(x') (N,); float64."""

    pixels: Tensor
    difference: Tensor

    @property
    def gap(self) -> Tensor:
        """|sum of the pixels - difference| / |difference|, (N,): how far completeness fails; 0 where both are 0."""
        missing = (self.pixels.flatten(1).sum(1) - self.difference).abs()
        return torch.where(missing == 0, missing, missing / self.difference.abs())


def integrated_gradients(
    network: ResidualNetwork,
    images: Tensor,
    targets: Tensor,
    baseline: Tensor,
    *,
    steps: int = STEPS,
    on_progress: OnProgress | None = None,
) -> Integrated:
    """IG_i = (x_i - x'_i) * integral over a in 0 … 1 of d f(x' + a (x - x')) / d x_i (Sundararajan et al. 2017, eq. 1).

    images and `baseline` x' (N, C, H, W), prepared; targets int64 (N, 1); f is the target's logit. The integral is the
    mean over the middles of `steps` equal parts, so that completeness (their proposition 1), the sum of all IG_i being
    f(x) - f(x'), holds but for the steps: `gap` says how nearly. It needs the gradient of the whole network alone,
    no rule for single layers, and so holds whatever the shortcuts join. Norms use their running statistics.

    Raises:
        InputError: fewer than one step, a baseline of another shape, an image too small, no such class.
    """
    require_targets(network, images, targets)
    if steps < 1:
        raise InputError(f"integrated gradients: {steps} steps; wanted 1 or more")
    if baseline.shape != images.shape:
        raise InputError(
            f"integrated gradients: baseline {tuple(baseline.shape)} for images {tuple(images.shape)}; wanted the same"
        )
    with left_as_found(network), torch.inference_mode(False), torch.enable_grad():
        network.eval()
        x, bare = (on_device(network, one.detach()).clone() for one in (images, baseline))
        chosen = targets.to(x.device).clone()
        total = finer(torch.zeros_like(x))
        for step in range(steps):
            at = (bare + (step + 0.5) / steps * (x - bare)).requires_grad_()
            logit = network(at).gather(1, chosen).sum()
            total += finer(torch.autograd.grad(logit, at)[0])
            if on_progress is not None:
                on_progress(step + 1, steps)
        with torch.no_grad():
            ends = [finer(network(one).gather(1, chosen))[:, 0] for one in (x, bare)]
    return Integrated(finer(x - bare) * total / steps, ends[0] - ends[1])
