"""The loss around trained weights, along random directions whose filters are as long as the network's own."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import fsum, isfinite
from operator import length_hint
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from deepres.analyze.guards import evaluating, on_device, some
from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.data.images import Batch
from deepres.data.rng import generator
from deepres.data.targets import tensor_of
from deepres.nn.build import ResidualNetwork

REACH = 1.0
"""How far it is gone to both sides, in lengths of the filters: the range of the paper's figures."""
POINTS = 11

Direction = dict[str, Tensor]
"""What is added to each parameter that moves, by its dotted name."""
SurfacePlace = tuple[tuple[int, float], ...]
"""How far along which directions, those that are not 0."""


class SurfacePoint(Record):
    """What all images cost at one place: `cross_entropy` in nats, None where it is not finite; how many are wrong."""

    cross_entropy: float | None
    num_wrong: int


class Surface(Record):
    """The loss at `steps` along each of some directions (`slices`), and over the plane of the first two (`plane`).

    `slices[k][i]` is at weights + steps[i] * direction k; `plane[j][i]` at weights + steps[i] * direction 0 + steps[j]
    * direction 1, and empty where there is one direction. `cosine` is that of the first two over all weights.
    """

    network: str
    num_images: int
    seed: int
    steps: tuple[float, ...]
    slices: tuple[tuple[SurfacePoint, ...], ...]
    plane: tuple[tuple[SurfacePoint, ...], ...]
    num_filters: int
    num_moved: int
    num_parameters: int
    cosine: float | None
    norm_statistics: Literal["kept"] = "kept"

    @property
    def trained(self) -> SurfacePoint:
        """The middle: the network as it is."""
        return self.slices[0][len(self.steps) // 2]


def require_points(points: int) -> None:
    """Refuse a number of points that leaves the trained network out."""
    if points < 3 or points % 2 == 0:
        raise InputError(
            f"surface: {points} points along a direction; wanted an odd number of 3 or more, so that the trained "
            "network is the one in the middle"
        )


def loss_surface(
    network: ResidualNetwork,
    batches: Iterable[Batch],
    *,
    points: int = POINTS,
    draws: int = 5,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Surface:
    """L(w + a d + b e) for a, b in -1 … 1; d, e random, |d_i| = |w_i| for each filter i (Li et al. 2018, sec. 4).

    A filter is what gives one output: a convolution's (C, H, W), a linear layer's row. Scales and offsets of norms and
    all biases stay, and so do running means and variances: they are those of the trained network at every place, as in
    the authors' program, not measured anew. L is the mean cross-entropy without weight decay. `draws` directions are
    gone along; the plane of the first two needs two. Each of points^2 + (draws - 2) (points - 1) places is a pass over
    `batches`, which are read once. The network is left as it was found.

    Raises:
        InputError: an even number of points or fewer than 3, no direction, no image.
    """
    require_points(points)
    if draws < 1:
        raise InputError(f"surface: {draws} directions; wanted 1 or more")
    steps = tuple(REACH * (2 * i - (points - 1)) / (points - 1) for i in range(points))  # as far to both sides
    directions = [filter_direction(network, seed, number) for number in range(draws)]
    slices = [[_place((k, a)) for a in steps] for k in range(draws)]
    plane = [[_place((0, a), (1, b)) for a in steps] for b in steps] if draws > 1 else []
    places = list(dict.fromkeys(place for row in (*slices, *plane) for place in row))
    losses: dict[SurfacePlace, list[float]] = {place: [] for place in places}
    wrong = dict.fromkeys(places, 0)
    images, done, total = 0, 0, length_hint(batches) * len(places)
    with evaluating(network):
        for batch in batches:
            x, truth = on_device(network, batch.images), tensor_of(batch.targets).cpu()
            for place in places:
                with moved(network, directions, place):
                    logits = network(x).cpu().double()
                losses[place] += functional.cross_entropy(logits, truth, reduction="none").tolist()
                wrong[place] += int((~(logits.argmax(1).eq(truth) & logits.isfinite().all(1))).sum())
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
            images += len(batch)
    some(images)
    found = {place: _point(losses[place], wrong[place]) for place in places}
    first = directions[0]
    return Surface(
        network=network.description.name,
        num_images=images,
        seed=seed,
        steps=steps,
        slices=tuple(tuple(found[place] for place in row) for row in slices),
        plane=tuple(tuple(found[place] for place in row) for row in plane),
        num_filters=sum(len(d) for d in first.values()),
        num_moved=sum(d.numel() for d in first.values()),
        num_parameters=sum(p.numel() for p in network.parameters()),
        cosine=_cosine(first, directions[1]) if draws > 1 else None,
    )


def filter_direction(network: ResidualNetwork, seed: int, number: int) -> Direction:
    """d_i = g_i |w_i| / |g_i| for each filter i, g normal (Li et al. 2018, eq. 1); of what is no filter there is none.

    What is drawn depends on the seed, the number of the direction and the parameter's name alone.
    """
    found = {}
    for name, weight in network.named_parameters():
        if weight.dim() < 2:
            continue
        drawn = torch.randn(weight.shape, dtype=torch.float64, generator=generator(seed, "surface", number, name))
        filters, own = drawn.flatten(1), weight.detach().cpu().double().flatten(1)
        length = own.norm(dim=1, keepdim=True) / filters.norm(dim=1, keepdim=True)
        found[name] = (filters * length).view_as(weight).to(weight.dtype).to(weight.device)
    return found


@contextmanager
def moved(network: ResidualNetwork, directions: Sequence[Direction], place: SurfacePlace) -> Iterator[None]:
    """Within it the weights are w + the sum of step * direction; afterwards they are w, to the bit."""
    named = dict(network.named_parameters())
    moving = {name for number, _ in place for name in directions[number]}
    kept = {name: named[name].detach().clone() for name in moving}
    try:
        with torch.no_grad():
            for number, step in place:
                for name, direction in directions[number].items():
                    named[name].add_(direction, alpha=step)
        yield
    finally:
        with torch.no_grad():
            for name, weight in kept.items():
                named[name].copy_(weight)


def _place(*along: tuple[int, float]) -> SurfacePlace:
    return tuple((number, step) for number, step in along if step)


def _point(losses: Sequence[float], num_wrong: int) -> SurfacePoint:
    mean = fsum(losses) / len(losses) if all(map(isfinite, losses)) else None
    return SurfacePoint(cross_entropy=mean, num_wrong=num_wrong)


def _cosine(first: Direction, second: Direction) -> float:
    one, other = (torch.cat([part.cpu().double().flatten() for part in d.values()]) for d in (first, second))
    return float(one @ other / (one.norm() * other.norm()))
