"""Signal and gradient, unit by unit, beside what the equations of "Identity Mappings" say (He et al. 2016, eq. 4-8)."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import isfinite, prod
from operator import mul
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from deepres.analyze.path_gradient import NormStatistics, measuring
from deepres.analyze.responses import summing_units, weighed
from deepres.arch.algebra import Node, Parallel, children, dotted
from deepres.arch.architecture import unit_names
from deepres.arch.atoms import Dropout, Identity, PadChannels, Scale
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.variants import ORDERS, SHORTCUTS, with_mixing, with_order
from deepres.base.errors import InputError, RunError, unknown
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.base.seeds import derive
from deepres.data.images import Batch
from deepres.data.on_device import finer
from deepres.data.rng import generator
from deepres.data.targets import tensor_of
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.hooks import inputs, outputs
from deepres.nn.init import initialise

GIVEN = "given"


class UnitFlow(Record):
    """What passes one unit of one variant, x_{l+1} = f(h(x_l) + F(x_l)); mean squares over images, channels, pixels.

    mean_square      of x_{l+1}
    branch_square    of F as it enters the sum, with its scale or gate
    shortcut_square  of h as it enters the sum; 0 where there is none
    added_square     of x_{l+1} by eq. 4 and 7, squares added up: p_{l+1} = (E h^2 / E x_l^2) p_l + E F^2, p_1 that of
                     x_1; it holds where f is the identity and the summands are uncorrelated (ours)
    gradient         ||dE/dx_l||, at the unit's input
    factor           h'_l of eq. 8: 1 (identity, option A), lambda (scaling), the mean of 1 - g (gates), 0 (no shortcut)
    factor_from      "equation", or "measured": a shortcut with weights, or behind the unit's own norm, has no number in
                     the paper; its factor is ||h'^T u|| / ||u|| for a random u (ours)
    product          of the factors from this unit to the last: the weight of dE/dx_L in dE/dx_l by eq. 5 and 8
    direct           product ||dE/dx_L||: what eq. 8 sends here past all weights
    """

    variant: str
    unit: str
    mean_square: float
    branch_square: float
    shortcut_square: float
    added_square: float
    gradient: float
    factor: float
    factor_from: Literal["equation", "measured"]
    product: float
    direct: float


class Propagation(Record):
    """One row a unit and variant, variants after one another, units from the input on.

    `last_gradient` has ||dE/dx_L|| of each variant, at what its last unit gives, and `loss` its mean cross-entropy.
    """

    network: str
    num_images: int
    statistics: NormStatistics
    seed: int
    variants: tuple[str, ...]
    loss: tuple[float, ...]
    last_gradient: tuple[float, ...]
    rows: tuple[UnitFlow, ...]

    def of(self, variant: str) -> tuple[UnitFlow, ...]:
        """The rows of one variant.

        Raises:
            InputError: there is none of that name.
        """
        if variant not in self.variants:
            raise unknown(f"{self.network}: variant", variant, self.variants)
        return tuple(row for row in self.rows if row.variant == variant)


def propagation(
    network: ResidualNetwork,
    batch: Batch,
    *,
    statistics: NormStatistics = "batch",
    seed: int = 0,
    loss: Callable[[Batch], Tensor] | None = None,
) -> Propagation:
    """||dE/dx_l|| and E x_l^2 of each unit of a given network, beside eq. 4-8 (He et al. 2016, sections 2 and 3).

    E is the mean cross-entropy of the batch, `labels` int64; or `loss`, of a network in evaluation mode that holds the
    modules of this one, whose norms are then as in evaluation. Eq. 5 and 8 are exact for f the identity only; with ReLU
    after the addition, as in all of the paper's Table 1, they are approximate. Units that change the shape are counted
    like the others (two on CIFAR; the paper's footnote 1). The paper plots none of this: what is measured is ours.

    `statistics` "batch": as in a training step, norms by the batch, dropout drawn from `seed`; torch's dropout divides
    what it keeps by 1 - rate, so its factor is 1 in the mean. "running": as in evaluation. The network is left as it
    was.

    Raises:
        InputError: a unit is no sum of a branch and a shortcut, there is no classifier or no image, labels do not fit.
        RunError: a signal or a gradient is not finite.
    """
    flow = _flow(network, batch, GIVEN, statistics, seed, loss)
    return _together(network.description.name, batch, statistics, seed, [flow])


def shortcut_variants(config: ResNetConfig) -> dict[str, ResNetConfig]:
    """The rows of Table 1: every way of `spec.variants.SHORTCUTS`, and the 1x1 convolution (option C).

    Raises:
        InputError: the network has no shortcuts to vary.
    """
    if config.shortcut == "none":
        raise InputError(f"{config.name}: a plain network has no shortcuts to vary; give its residual twin")
    return {
        **{name: with_mixing(config, mixing) for name, mixing in SHORTCUTS.items()},
        "1x1 convolution": config.replace(shortcut="C"),
    }


def order_variants(config: ResNetConfig) -> dict[str, ResNetConfig]:
    """The rows of Table 2: every order of activation."""
    return {name: with_order(config, order) for name, order in ORDERS.items()}


def propagation_at_start(
    variants: dict[str, ResNetConfig], batch: Batch, *, seed: int = 0, on_progress: OnProgress | None = None
) -> Propagation:
    """`propagation` of each variant as it is initialised by `seed`, norms by the batch, on the device of the images.

    What variants share begins with the same values. `on_progress(done, total)` counts variants.

    Raises:
        InputError: no variant; and as `propagation`.
        RunError: as `propagation`.
    """
    if not variants:
        raise InputError("variants: none; wanted one at least, such as those of shortcut_variants(config)")
    flows = []
    for done, (name, config) in enumerate(variants.items(), start=1):
        network = build(config.architecture())
        initialise(network, seed)
        flows.append(_flow(network.to(batch.images.device), batch, name, "batch", seed))
        if on_progress is not None:
            on_progress(done, len(variants))
    return _together(next(iter(variants.values())).name, batch, "batch", seed, flows)


_Flow = tuple[str, float, float, tuple[UnitFlow, ...]]  # variant, loss, last gradient, units


def _together(where: str, batch: Batch, statistics: NormStatistics, seed: int, flows: Sequence[_Flow]) -> Propagation:
    return Propagation(
        network=where,
        num_images=len(batch),
        statistics=statistics,
        seed=seed,
        variants=tuple(variant for variant, _, _, _ in flows),
        loss=tuple(loss for _, loss, _, _ in flows),
        last_gradient=tuple(gradient for _, _, gradient, _ in flows),
        rows=tuple(row for _, _, _, rows in flows for row in rows),
    )


def _flow(
    network: ResidualNetwork,
    batch: Batch,
    variant: str,
    statistics: NormStatistics,
    seed: int,
    of: Callable[[Batch], Tensor] | None = None,
) -> _Flow:
    units = _units(network)
    _check(network, batch, labelled=of is None)
    names = list(units)
    like = next(network.parameters())
    inner = [dotted(name, part) for name, unit in units.items() for part, _ in unit.parts]
    with measuring(network, statistics), torch.enable_grad():
        network.train(statistics == "batch")
        _seed(like.device, derive(seed, "propagation"))
        with inputs(network, names) as given, outputs(network, [*names, *inner]) as gave:
            images = batch.images.to(like).detach().requires_grad_()
            if of is None:
                loss = F.cross_entropy(network(images), tensor_of(batch.targets).to(like.device))
            else:
                loss = of(Batch(images, batch.targets, batch.indices))
        ways = [given[name] for name in names] + [gave[names[-1]]]
        gradients = [_norm(gradient) for gradient in torch.autograd.grad(loss, ways, retain_graph=True)]
        squares = {name: _squares(name, unit, given, gave) for name, unit in units.items()}
        factors = [_factor(name, unit, given[name], gave, seed) for name, unit in units.items()]
    products = list(accumulate(reversed([factor for factor, _ in factors]), mul))[::-1]
    added, rows = _square(given[names[0]]), []
    for name, gradient, (factor, source), product in zip(names, gradients[:-1], factors, products, strict=True):
        x_square, h_square, branch_square, y_square = squares[name]
        added = (added * h_square / x_square if x_square else 0.0) + branch_square
        numbers = {
            "mean_square": y_square,
            "branch_square": branch_square,
            "shortcut_square": h_square,
            "added_square": added,
            "gradient": gradient,
            "factor": factor,
            "product": product,
            "direct": product * gradients[-1],
        }
        if wrong := next((what for what, number in numbers.items() if not isfinite(number)), None):
            raise RunError(
                f"{network.description.name} ({variant}): {name}: {wrong.replace('_', ' ')} is not finite; "
                "give fewer units, or weights of a run that did not diverge"
            )
        rows.append(UnitFlow(variant=variant, unit=name, factor_from=source, **numbers))
    return variant, float(loss.detach()), gradients[-1], tuple(rows)


def _units(network: ResidualNetwork) -> dict[str, Parallel]:
    description = network.description
    sums = {name: unit for name, unit in summing_units(description).items() if unit.join != "concat"}
    names = unit_names(description)
    if other := [name for name in names if name not in sums]:
        raise InputError(
            f"{description.name}: {other[0]} is no sum of a branch and a shortcut, of which eq. 4-8 speak; "
            "wanted a residual, gated or plain network"
        )
    if not sums:
        raise InputError(f"{description.name}: no unit in it; wanted a residual, gated or plain network")
    return sums


def _check(network: ResidualNetwork, batch: Batch, *, labelled: bool) -> None:
    where, classes = network.description.name, network.num_classes
    if labelled and not classes:
        raise InputError(f"{where}: no classifier, so no gradient of a loss; build it with num_classes of the labels")
    if not len(batch):
        raise InputError(f"{where}: no images were given to follow through it; wanted at least one")
    if not labelled:
        return
    labels = tensor_of(batch.targets)
    if labels.is_floating_point():
        raise InputError(f"{where}: labels are mixed, {labels.dtype}; wanted int64, give batches without mixing")
    if int(labels.max()) >= classes:
        raise InputError(
            f"{where}: label {int(labels.max())} with {classes} classes; build it with num_classes of the labels"
        )


def _seed(device: torch.device, number: int) -> None:
    """For draws within `measuring`, which puts both generators back."""
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(number)
    elif device.type not in ("cpu", "meta"):
        torch.get_device_module(device).manual_seed(number)


def _squares(
    name: str, unit: Parallel, given: dict[str, Tensor], gave: dict[str, Tensor]
) -> tuple[float, float, float, float]:
    """E x_l^2, E h^2, E F^2, E x_{l+1}^2."""
    parts = weighed(unit, {part: gave[dotted(name, part)].detach() for part, _ in unit.parts})
    h_square = sum(_square(x) for part, x in parts.items() if part != "branch")
    return _square(given[name]), h_square, _square(parts["branch"]), _square(gave[name])


def _factor(
    name: str, unit: Parallel, x: Tensor, gave: dict[str, Tensor], seed: int
) -> tuple[float, Literal["equation", "measured"]]:
    """h'_l, the gate held fixed, and where it comes from."""
    beside = next((part for part, _ in unit.parts if part not in ("branch", "gate")), None)
    if beside is None:
        return 0.0, "equation"
    opening = 1.0
    if unit.gated:
        opening = float((1 - finer(gave[dotted(name, "gate")].detach())).mean())
    atoms = _atoms(dict(unit.parts)[beside])
    if isinstance(unit.pre, Identity) and all(
        isinstance(atom, Identity | PadChannels | Scale | Dropout) for atom in atoms
    ):
        return opening * prod(atom.factor for atom in atoms if isinstance(atom, Scale)), "equation"
    h = gave[dotted(name, beside)]
    u = torch.randn(h.shape, generator=generator(seed, "shortcut", name)).to(h)
    (back,) = torch.autograd.grad(h, x, u, retain_graph=True)
    return opening * _norm(back) / _norm(u), "measured"


def _atoms(node: Node) -> list[Node]:
    inside = [atom for _, child in children(node) for atom in _atoms(child)]
    return inside or [node]


def _square(x: Tensor) -> float:
    return float(finer(x.detach()).square().mean())


def _norm(x: Tensor) -> float:
    return float(finer(x.detach()).square().sum().sqrt())
