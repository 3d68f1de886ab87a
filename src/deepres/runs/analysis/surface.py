"""The section on the loss around the trained weights."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from deepres.analyze.surface import POINTS, Surface, SurfacePoint, loss_surface
from deepres.base.events import OnProgress
from deepres.base.wording import counted, percent
from deepres.report import surface as drawn
from deepres.runs.analysis.units import AnalysisSubject, Section


def loss_around(subject: AnalysisSubject, on_progress: OnProgress) -> Section:
    """The plane of two random directions and slices along some, normalised filter by filter (Li et al. 2018)."""
    settings = subject.settings
    found = loss_surface(
        subject.network,
        subject.batches(),
        points=settings.points or POINTS,
        draws=settings.draws,
        seed=settings.seed,
        on_progress=on_progress,
    )
    return Section(
        "surface",
        "The loss around the weights",
        "Mean cross-entropy and error if the weights are moved along random directions, each filter of which is as "
        "long as the network's own (Li et al. 2018, sec. 4), so that networks can be compared: wide and round valleys "
        "beside steep and broken ones. At 1 a step is as long as the weights themselves. Norms and biases stay as "
        "trained, and so do the norms' running means and variances, as in the authors' program: none is measured anew "
        "where the weights are others. Without weight decay; a plane is two of very many directions.",
        _told(found, subject.predictor.device.type),
        {"surface": found},
        {**({"plane": drawn.plane(found)} if found.plane else {}), "slices": drawn.slices(found)},
    )


def _told(found: Surface, device: str) -> list[str]:
    middle, trained = len(found.steps) // 2, found.trained
    along = f"{counted(len(found.slices), 'direction')}, {counted(len(found.steps), 'point')} along each"
    still = f"{found.num_parameters - found.num_moved:,} of {found.num_parameters:,} parameters"
    told = [
        f"{counted(found.num_images, 'image')}, seed {found.seed}, on {device}: {along}; {found.num_filters:,} filters "
        f"move, {still} and all statistics of norms stay",
        f"at the trained weights cross-entropy {_nats(trained.cross_entropy)}, error "
        f"{percent(trained.num_wrong / found.num_images)}",
    ]
    for step in dict.fromkeys((found.steps[middle + (middle + 1) // 2], found.steps[-1])):
        at = [row[found.steps.index(sign * step)] for row in found.slices for sign in (-1, 1)]
        entropies = [point.cross_entropy for point in at if point.cross_entropy is not None]
        of = f"{median(entropies):.3g}" if 2 * len(entropies) > len(at) else "not finite"
        error = median(point.num_wrong for point in at) / found.num_images
        told.append(f"at {step:g} of the filters' lengths cross-entropy {of}, error {percent(error)} (medians)")
    rising = sum(_rises(row) for row in found.slices)
    told.append(f"the cross-entropy rises all the way from the middle along {rising} of {len(found.slices)} directions")
    if found.cosine is not None:
        told.append(f"cosine of the plane's two directions {found.cosine:.3f}")
    return told


def _rises(row: Sequence[SurfacePoint]) -> bool:
    """Whether no point is lower than its neighbour nearer to the middle."""
    values = [float("inf") if point.cross_entropy is None else point.cross_entropy for point in row]
    middle = len(values) // 2
    right, left = values[middle:], values[middle::-1]
    return all(a <= b for side in (right, left) for a, b in pairwise(side))


def _nats(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
