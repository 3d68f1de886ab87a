"""Leaving units out of a trained network, or exchanging them: what it costs (Veit et al. 2016, arXiv 1605.06431)."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Literal

import torch

from deepres.analyze.ablation import AblationScores, Route, Scoring, scores_of
from deepres.analyze.units import RowModule, require_passable, row_modules
from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.data.images import Batch
from deepres.data.rng import generator
from deepres.nn import layers
from deepres.nn.build import ResidualNetwork


class Deletion(AblationScores):
    """… without the branches of `units`."""

    units: tuple[str, ...]


class Permutation(AblationScores):
    """… with units exchanged: `moved` has (place, the unit that now stands there) for each place that changed.

    `kendall_tau` over all units, of the original and the new order: 1 - 4 discordant pairs / (n (n - 1)).
    """

    num_swaps: int
    kendall_tau: float
    moved: tuple[tuple[str, str], ...]


class Lesions(Record):
    """What many lesions of one network cost, and what finding that out cost.

    `units` could be left out, `fixed` not: plain units that change the shape, and joins of another kind. `shaping` are
    those of `units` whose shortcut changes the shape. An image needed `units_run` unit evaluations, lesion by lesion
    `units_alone`; the intact pass is in both. `figure` is what errors are called.
    """

    network: str
    num_images: int
    units: tuple[str, ...]
    fixed: tuple[str, ...]
    shaping: tuple[str, ...] = ()
    intact: AblationScores
    deletions: tuple[Deletion, ...] = ()
    permutations: tuple[Permutation, ...] = ()
    units_run: int
    units_alone: int
    seed: int | None = None
    figure: str = "error"


class Ranking(Record):
    """Units, the cheapest to leave out first; `cost` is what deleting that one alone adds to the cross-entropy (nats)
    or to the error, `by` says which."""

    network: str
    by: Literal["cross_entropy", "error"]
    units: tuple[str, ...]
    cost: tuple[float, ...]


def delete_each(
    network: ResidualNetwork,
    batches: Iterable[Batch],
    *,
    units: Sequence[str] | None = None,
    on_progress: OnProgress | None = None,
    scoring: Scoring = scores_of,
) -> Lesions:
    """Each unit alone loses its branch, never its shortcut; no norm statistic is estimated anew.

    Of a plain network each layer that keeps the shape is left out whole. `units`: those only; None all. `batches` are
    read once. `on_progress(done, total)` counts lesions times batches; total is 0 where `batches` has no length.
    `scoring` is how answers are counted: as images of one class, or by a task (`ablation.ByTask`).

    Lesions share the pass up to their unit, to the same bits as one by one: n (n + 1) / 2 unit evaluations, not n²,
    with the intact pass. Less would not be exact: behind their units no two lesions have a map in common.

    Raises:
        InputError: no unit can be left out, an unknown unit, or one that cannot.
        RunError: a logit is not finite.
    """
    row = row_modules(network)
    chosen = require_passable(row, _passable(row, network) if units is None else units, network.description.name)
    cuts = [(place.name,) for place in chosen]
    return _deletions(network, row, batches, cuts, on_progress, scoring=scoring)


def delete_random(
    network: ResidualNetwork,
    batches: Iterable[Batch],
    counts: Sequence[int],
    *,
    draws: int = 20,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    scoring: Scoring = scores_of,
) -> Lesions:
    """For each m of `counts`, `draws` subsets of m units, uniformly without replacement, lose their branches.

    The number of draws is ours; the paper does not state its own. Else as `delete_each`.

    Raises:
        InputError: no unit can be left out, a count beyond their number, or no draw.
        RunError: a logit is not finite.
    """
    row = row_modules(network)
    names = _passable(row, network)
    for count in counts:
        if not 1 <= count <= len(names):
            raise InputError(
                f"counts: {count} of the {len(names)} units of {network.description.name}; wanted 1 to all"
            )
    _at_least_one_draw(draws)
    cuts = []
    for count in counts:
        for draw in range(draws):
            order = torch.randperm(len(names), generator=generator(seed, "delete", count, draw))
            cuts.append(tuple(names[place] for place in sorted(order[:count].tolist())))
    return _deletions(network, row, batches, cuts, on_progress, seed, scoring=scoring)


def permute(
    network: ResidualNetwork,
    batches: Iterable[Batch],
    swaps: Sequence[int],
    *,
    draws: int = 20,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    scoring: Scoring = scores_of,
) -> Lesions:
    """For each k of `swaps`, `draws` times k random pairs of units of one stage and shape change places.

    A unit moves with all that is its own; units that change the shape stay. The pairs are drawn one after the other,
    uniformly, so that a unit may move twice. Correlations near 0 cannot come up, as stages do not mix. Else as
    `delete_each`.

    Raises:
        InputError: no two units can change places, a negative number of swaps, or no draw.
        RunError: a logit is not finite.
    """
    row = row_modules(network)
    stands = [place for place, at in enumerate(row) if at.kind != "layer"]
    pairs = [(a, b) for a, b in combinations(stands, 2) if _exchangeable(row[a], row[b])]
    if not pairs:
        raise InputError(
            f"{network.description.name}: no two units of a stage keep one shape; permute a deeper network"
        )
    if min(swaps, default=0) < 0:
        raise InputError(f"swaps: {min(swaps)}; wanted 0 or more")
    _at_least_one_draw(draws)
    orders = []
    for count in swaps:
        for draw in range(draws):
            order = list(range(len(row)))
            chosen = torch.randint(len(pairs), (count,), generator=generator(seed, "swap", count, draw))
            for a, b in (pairs[pair] for pair in chosen.tolist()):
                order[a], order[b] = order[b], order[a]
            orders.append((count, order))
    routes = [tuple((place, True) for place in order) for _, order in orders]
    found, damaged = _measured(network, row, batches, routes, on_progress, seed, scoring=scoring)
    permutations = tuple(
        Permutation(
            **dict(damage),
            num_swaps=count,
            kendall_tau=kendall_tau([order[place] for place in stands]),
            moved=tuple((row[place].name, row[unit].name) for place, unit in enumerate(order) if place != unit),
        )
        for (count, order), damage in zip(orders, damaged, strict=True)
    )
    return found.replace(permutations=permutations)


def ranking(lesions: Lesions, by: Literal["cross_entropy", "error"] = "cross_entropy") -> Ranking:
    """The units by what leaving out each alone costs, the cheapest first; of equal ones the deeper first.

    Raises:
        InputError: lesions of several units at once, or none; `delete_each` makes those that are wanted. Cross-entropy
            of answers that have none.
    """
    if by == "cross_entropy" and lesions.intact.cross_entropy is None:
        raise InputError(f"{lesions.network}: its answers have no cross-entropy, only {lesions.figure}; rank by error")
    if not lesions.deletions or any(len(deletion.units) != 1 for deletion in lesions.deletions):
        raise InputError(f"{lesions.network}: wanted deletions of one unit each; make them with delete_each")
    whole = getattr(lesions.intact, by)
    costs = {deletion.units[0]: getattr(deletion, by) - whole for deletion in reversed(lesions.deletions)}
    units = tuple(sorted(costs, key=costs.__getitem__))
    return Ranking(network=lesions.network, by=by, units=units, cost=tuple(costs[unit] for unit in units))


def kendall_tau(order: Sequence[int]) -> float:
    """1 - 4 discordant pairs / (n (n - 1)) of a permutation against the sorted order; n >= 2, no ties."""
    discordant = sum(first > second for first, second in combinations(order, 2))
    return 1 - 4 * discordant / (len(order) * (len(order) - 1))


def _deletions(
    network: ResidualNetwork,
    row: Sequence[RowModule],
    batches: Iterable[Batch],
    cuts: Sequence[tuple[str, ...]],
    on_progress: OnProgress | None,
    seed: int | None = None,
    *,
    scoring: Scoring,
) -> Lesions:
    routes = [_without(row, cut) for cut in cuts]
    found, damaged = _measured(network, row, batches, routes, on_progress, seed, scoring=scoring)
    deletions = (Deletion(**dict(damage), units=cut) for cut, damage in zip(cuts, damaged, strict=True))
    return found.replace(deletions=tuple(deletions))


def _measured(
    network: ResidualNetwork,
    row: Sequence[RowModule],
    batches: Iterable[Batch],
    lesions: Sequence[Route],
    on_progress: OnProgress | None,
    seed: int | None,
    *,
    scoring: Scoring,
) -> tuple[Lesions, list[AblationScores]]:
    """What is true of all lesions together, and the damage of each."""
    found = scoring(network, row, batches, [_without(row, ()), *lesions], on_progress)
    intact, *damaged = found.routes
    together = Lesions(
        network=network.description.name,
        num_images=found.num_images,
        units=tuple(place.name for place in row if place.passable),
        fixed=tuple(place.name for place in row if place.kind == "whole"),
        shaping=tuple(place.name for place in row if _changes_shape(place)),
        intact=intact,
        units_run=found.cost.run,
        units_alone=found.cost.alone,
        seed=seed,
        figure=found.figure,
    )
    return together, damaged


def _without(row: Sequence[RowModule], names: Sequence[str]) -> Route:
    return tuple((place, at.name not in names) for place, at in enumerate(row))


def _passable(row: Sequence[RowModule], network: ResidualNetwork) -> list[str]:
    names = [place.name for place in row if place.passable]
    if not names:
        raise InputError(f"{network.description.name}: no unit has a shortcut or keeps its shape; none can be left out")
    return names


def _changes_shape(place: RowModule) -> bool:
    """Whether a unit that can be left out changes the shape, other than by adding features to those before it."""
    adds = isinstance(place.module, layers.Parallel) and place.module.join == "concat"
    return place.passable and place.given != place.gives and not adds


def _exchangeable(a: RowModule, b: RowModule) -> bool:
    same_stage = a.name.rpartition(".")[0] == b.name.rpartition(".")[0]
    return same_stage and a.given == a.gives == b.given == b.gives


def _at_least_one_draw(draws: int) -> None:
    if draws < 1:
        raise InputError(f"draws: {draws}; wanted 1 or more")
