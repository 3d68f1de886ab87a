"""How much gradient reaches the input along paths of which length (Veit et al. 2016, arXiv 1605.06431)."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import combinations
from math import comb, exp, fsum, isfinite, log
from operator import length_hint
from statistics import stdev

import torch
from torch import Tensor

from deepres.analyze.path_gradient import NormStatistics, TracedPass, measuring
from deepres.analyze.units import require_passable, row_modules
from deepres.base.errors import InputError, RunError
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.data.images import Batch
from deepres.data.on_device import finer
from deepres.data.rng import generator
from deepres.nn.build import ResidualNetwork


class LengthGradient(Record):
    """Paths through `length` branches: how many there are, and the norm of the gradient along one of them.

    `mean_norm` and `spread` (standard deviation) are over `num_measured` of them; `total` is num_paths * mean_norm and
    `share` its part of the sum over all lengths that were measured.
    """

    length: int
    num_paths: int
    num_measured: int
    mean_norm: float
    spread: float
    total: float
    share: float


class PathGradients(Record):
    """The gradient at the input by path length; `whole_norm` is the mean norm of the whole gradient of a batch."""

    network: str
    num_units: int
    num_batches: int
    statistics: NormStatistics
    seed: int
    whole_norm: float
    lengths: tuple[LengthGradient, ...]


class EffectiveRange(Record):
    """The shortest run of lengths that holds the wanted share of the gradient, both ends included.

    `paths_share` is a share of the number of paths, not of the gradient.
    """

    shortest: int
    longest: int
    gradient_share: float
    paths_share: float


def path_gradients(
    network: ResidualNetwork,
    batches: Iterable[Batch],
    *,
    draws: int = 10,
    lengths: Sequence[int] | None = None,
    statistics: NormStatistics = "batch",
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> PathGradients:
    """For each length k, the norm of d loss / d images along paths through k of the n units' branches.

    The whole network answers a batch; going back, k units drawn uniformly pass the gradient through their branch
    alone and the others through their shortcut alone (projections and option A are shortcuts); stem, norms and head
    lie on every path. `draws` paths a batch and length, or each once where there are no more.

    The paper does not state its norm nor its loss' reduction, and only ratios between lengths count. Ours: the
    Euclidean norm over a whole batch of the gradient of the mean cross-entropy; norms are averaged, not gradients.
    `statistics` "batch" reads the paper's "forward a batch" as training does; running ones do not move either way.
    Drop-path and dropout are off. `on_progress(done, total)` counts paths; total is 0 where `batches` has no length.

    Raises:
        InputError: no unit has a branch and a shortcut, an unknown length, no draw, no batches.
        RunError: a gradient is not finite.
    """
    units = _units(network)
    wanted = tuple(range(len(units) + 1)) if lengths is None else tuple(sorted(set(lengths)))
    if not wanted or not 0 <= wanted[0] <= wanted[-1] <= len(units):
        raise InputError(
            f"lengths: {wanted}; {network.description.name} has {len(units)} units, wanted 0 to all of them"
        )
    if draws < 1:
        raise InputError(f"draws: {draws}; wanted 1 or more")
    norms: dict[int, list[float]] = {length: [] for length in wanted}
    whole: list[float] = []
    done, total = 0, length_hint(batches) * sum(min(draws, comb(len(units), length)) for length in wanted)
    with measuring(network, statistics):
        for number, batch in enumerate(batches):
            pass_ = TracedPass(network, batch)
            whole.append(_norm(pass_.whole()))
            for length in wanted:
                for through in _drawn(len(units), length, draws, seed, number):
                    norms[length].append(_norm(pass_.along([units[place] for place in through])))
                    done += 1
                    if on_progress is not None:
                        on_progress(done, total)
    if not whole:
        raise InputError("path gradients: no batches were given; wanted at least one")
    return PathGradients(
        network=network.description.name,
        num_units=len(units),
        num_batches=len(whole),
        statistics=statistics,
        seed=seed,
        whole_norm=fsum(whole) / len(whole),
        lengths=_by_length(norms, len(units)),
    )


def effective_range(gradients: PathGradients, share: float = 0.95) -> EffectiveRange:
    """The shortest run of lengths with at least `share` of the gradient, of equal ones that with most of it.

    Raises:
        InputError: a share outside (0, 1], lengths left out when measuring, or no gradient at all.
    """
    if not 0 < share <= 1:
        raise InputError(f"share: {share}; wanted a fraction above 0 and up to 1")
    rows = gradients.lengths
    if len(rows) != gradients.num_units + 1:
        raise InputError(
            f"{gradients.network}: {len(rows)} of {gradients.num_units + 1} lengths were measured; wanted all of them"
        )
    whole = fsum(row.share for row in rows)
    if whole == 0:
        raise InputError(f"{gradients.network}: no gradient reaches the input; is the network trained?")
    runs = [(a, b, fsum(row.share for row in rows[a : b + 1])) for b in range(len(rows)) for a in range(b + 1)]
    enough = [run for run in runs if run[2] >= share * whole]
    first, last, held = min(enough, key=lambda run: (run[1] - run[0], -run[2]))
    paths = sum(row.num_paths for row in rows[first : last + 1])
    return EffectiveRange(
        shortest=first, longest=last, gradient_share=held / whole, paths_share=paths / 2**gradients.num_units
    )


def decay(gradients: PathGradients) -> float:
    """r where norm ~ r^length: the least-squares line through ln(mean_norm), over the lengths that have a gradient.

    Raises:
        InputError: fewer than two lengths have one.
    """
    points = [(row.length, log(row.mean_norm)) for row in gradients.lengths if row.mean_norm > 0]
    if len(points) < 2:
        raise InputError(f"{gradients.network}: {len(points)} lengths have a gradient; wanted 2 or more for a slope")
    x_mean, y_mean = (fsum(values) / len(points) for values in zip(*points, strict=True))
    return exp(fsum((x - x_mean) * (y - y_mean) for x, y in points) / fsum((x - x_mean) ** 2 for x, _ in points))


def active_units(network: ResidualNetwork, count: int, seed: int, step: int, keep: Collection[str] = ()) -> set[str]:
    """The `count` units that this step trains, drawn uniformly without replacement; the others are their shortcuts.

    Training on effective paths uses 23 of 54 in each batch. Whether a unit that changes the shape may be left out is
    not stated: `keep` names units that always train, counted among `count`. `routes.without` leaves the others out.
    How to test is not stated either: either scale branches by count / n, or estimate the norm statistics anew (ours).

    Raises:
        InputError: an unknown unit in `keep`, or a count below that of `keep` or beyond that of all units.
    """
    units = _units(network)
    kept = [place.name for place in require_passable(row_modules(network), keep, network.description.name)]
    if not max(len(kept), 1) <= count <= len(units):
        raise InputError(f"count: {count} units; wanted {max(len(kept), 1)} to {len(units)}, all that there are")
    others = [name for name in units if name not in kept]
    order = torch.randperm(len(others), generator=generator(seed, "active units", step))
    return {*kept, *(others[place] for place in order[: count - len(kept)].tolist())}


def _units(network: ResidualNetwork) -> list[str]:
    names = [place.name for place in row_modules(network) if place.kind == "residual"]
    if not names:
        name = network.description.name
        raise InputError(f"{name}: no unit has a branch and a shortcut; there is one path only, give its residual twin")
    return names


def _drawn(num_units: int, length: int, draws: int, seed: int, batch: int) -> Iterator[Sequence[int]]:
    """Subsets of `length` units: all where there are no more than `draws`, else as many draws."""
    if comb(num_units, length) <= draws:
        yield from combinations(range(num_units), length)
        return
    drawing = generator(seed, "paths", length, batch)
    for _ in range(draws):
        yield torch.randperm(num_units, generator=drawing)[:length].tolist()


def _by_length(norms: dict[int, list[float]], num_units: int) -> tuple[LengthGradient, ...]:
    means = {length: fsum(found) / len(found) for length, found in norms.items()}
    totals = {length: comb(num_units, length) * mean for length, mean in means.items()}
    whole = fsum(totals.values())
    return tuple(
        LengthGradient(
            length=length,
            num_paths=comb(num_units, length),
            num_measured=len(found),
            mean_norm=means[length],
            spread=stdev(found) if len(found) > 1 else 0.0,
            total=totals[length],
            share=totals[length] / whole if whole else 0.0,
        )
        for length, found in norms.items()
    )


def _norm(gradient: Tensor) -> float:
    norm = float(torch.linalg.vector_norm(finer(gradient)))
    if not isfinite(norm):
        raise RunError(f"path gradients: a gradient's norm is {norm}; the weights are damaged, or training diverged")
    return norm
