"""The classifier on features that stand still: multinomial logistic regression, what a new head begins with."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PENALTIES = tuple(10.0**-power for power in range(1, 6))
"""Those that are tried, the strongest first."""
HELD = 5
"""Of each class one image in so many tells which penalty is best."""
ITERATIONS = 100


@dataclass(frozen=True)
class Classifier:
    """`weight` (classes, F) and `bias` (classes), float64; `square_length` is the mean of |x|^2 over the features."""

    weight: Tensor
    bias: Tensor
    penalty: float
    square_length: float


def fit_classifier(features: Tensor, labels: Tensor, num_classes: int, weights: Tensor | None = None) -> Classifier:
    """The W, b of the least mean of -log softmax(W z + b)[label] + penalty / 2 |W|^2, for features (N, F).

    With `weights` (classes,) an image counts as much as that of its class (`data/loading/balance.py`).

    z are the features centred and scaled to a mean square length of 1, so that a penalty means the same for every
    network; W and b are then put back for the features as they are. The penalty is the one of `PENALTIES` under which
    every fifth image of each class, left out for it, has the least cross-entropy; the strongest where no class has so
    many. By L-BFGS in float64: the same on every run. Where images are
    fewer than features, in the space that the images span, in which the minimum lies.
    """
    x = features.double()
    mean = x.mean(0)
    scale = (x - mean).square().sum(1).mean().sqrt().clamp_min(1e-12)
    z = (x - mean) / scale
    basis = torch.linalg.qr(z.T).Q if len(z) < z.shape[1] else None
    z = z if basis is None else z @ basis
    count = torch.ones(num_classes) if weights is None else weights
    counts = count.double()[labels]
    held = _every_fifth(labels)
    best, least = PENALTIES[0], float("inf")
    flat = torch.zeros(num_classes * (z.shape[1] + 1), dtype=torch.float64)
    if bool(held.any()):
        for penalty in PENALTIES:
            flat = _minimum(z[~held], labels[~held], num_classes, penalty, flat, counts[~held])
            weight, bias = _parts(flat, num_classes)
            losses = F.cross_entropy(z[held] @ weight.T + bias, labels[held], reduction="none")
            loss = float((losses * counts[held]).sum() / counts[held].sum())
            if loss < least:
                best, least = penalty, loss
    weight, bias = _parts(_minimum(z, labels, num_classes, best, flat, counts), num_classes)
    weight = (weight if basis is None else weight @ basis.T) / scale
    return Classifier(weight, bias - weight @ mean, best, float(x.square().sum(1).mean()))


def _every_fifth(labels: Tensor) -> Tensor:
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(int(labels.max()) + 1):
        held[(labels == label).nonzero()[HELD - 1 :: HELD, 0]] = True
    return held


def _parts(flat: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    both = flat.view(num_classes, -1)
    return both[:, :-1], both[:, -1]


def _minimum(z: Tensor, labels: Tensor, num_classes: int, penalty: float, start: Tensor, counts: Tensor) -> Tensor:
    truth = F.one_hot(labels, num_classes).double()
    share = (counts / counts.sum())[:, None]

    def loss_and_gradient(flat: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = _parts(flat, num_classes)
        log_p = (z @ weight.T + bias).log_softmax(1)
        too_much = (log_p.exp() - truth) * share
        loss = -(truth * log_p * share).sum() + penalty / 2 * weight.square().sum()
        return loss, torch.cat([too_much.T @ z + penalty * weight, too_much.sum(0)[:, None]], 1).flatten()

    return _lbfgs(loss_and_gradient, start)


def _lbfgs(loss_and_gradient: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor) -> Tensor:
    from scipy.optimize import minimize  # here, for it takes long to load and is asked of new heads alone

    def of_numpy(flat: object) -> tuple[float, object]:
        loss, gradient = loss_and_gradient(torch.as_tensor(flat))
        return float(loss), gradient.numpy()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # products this small wait for each other's threads far longer than they take
    try:
        found = minimize(of_numpy, start.numpy(), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS})
    finally:
        torch.set_num_threads(threads)
    return torch.as_tensor(found.x)
