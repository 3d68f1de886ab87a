"""Units left out one by one: the cheapest goes, and the others are ranked anew."""

from collections.abc import Iterable
from math import inf, isfinite
from operator import length_hint

from torch import Tensor

from deepres.analyze.ablation import Route, each_pass
from deepres.analyze.units import row_modules
from deepres.arch.spare import spare_units, without_units
from deepres.base.errors import InputError, RunError
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.data.images import Batch
from deepres.nn.build import ResidualNetwork
from deepres.tasks.losses import Loss


class Rung(Record):
    """The `unit` that was left out, and the mean loss on the images looked at before and after; `ranked` are the others
    that could have been, by what their going alone would have made of the loss, the cheapest first."""

    unit: str
    before: float
    after: float
    ranked: tuple[tuple[str, float], ...] = ()


def next_rung(
    network: ResidualNetwork, batches: Iterable[Batch], loss: Loss, on_progress: OnProgress | None = None
) -> Rung:
    """The unit whose going costs least, by the mean `loss` over `batches`, all units tried in one pass over these.

    What several lesions have in common is run once (`analyze/lesion.py`). Of equal ones the deepest goes.

    Raises:
        InputError: no unit can be left out.
        RunError: the loss of the network itself is not finite.
    """
    units = spare_units(network.description)
    if not units:
        raise InputError(f"{network.description.name}: no unit is left that can be left out; drop fewer")
    row = row_modules(network)
    every: Route = tuple((place, True) for place in range(len(row)))
    routes = [every, *(tuple((place, at.name != unit) for place, at in enumerate(row)) for unit in units)]
    sums, images, done, total = [0.0] * len(routes), 0, 0, length_hint(batches) * len(routes)

    def take(route: int, batch: Batch, logits: Tensor, first: bool) -> None:
        nonlocal images, done
        value, _ = loss(lambda _: logits, batch)
        sums[route] += float(value) * len(batch)
        images += len(batch) if first else 0
        done += 1
        if on_progress is not None:
            on_progress(done, total)

    each_pass(network, row, batches, routes, take)
    if not images:
        raise InputError("no training image can be read, by which units are ranked; mend or replace them")
    whole, *alone = (each / images for each in sums)
    if not isfinite(whole):
        raise RunError(f"{network.description.name}: the loss on training images is {whole}; are the weights whole?")
    cost = {unit: value if isfinite(value) else inf for unit, value in zip(units, alone, strict=True)}
    order = sorted(units, key=lambda unit: (cost[unit], -units.index(unit)))
    ranked = tuple((unit, cost[unit]) for unit in order[1:] if isfinite(cost[unit]))
    return Rung(unit=order[0], before=whole, after=cost[order[0]], ranked=ranked)


def most(network: ResidualNetwork) -> int:
    """How many units can be left out, one after the other."""
    count = 0
    description = network.description
    while units := spare_units(description):
        description = without_units(description, units[-1:])
        count += 1
    return count


def require_few(network: ResidualNetwork, wanted: int) -> None:
    """Refuse to leave out more units than can be.

    Raises:
        InputError: it has fewer.
    """
    if wanted > (can := most(network)):
        raise InputError(
            f"--drop-blocks {wanted}: {network.description.name} can do without {counted(can, 'unit')} at most, as one "
            "of each stage stays, and those that change the shape; wanted fewer"
        )
