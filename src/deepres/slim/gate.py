"""What a slimmer network loses against the intact one on the same held-out images, and whether that is allowed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.wording import counted, signed
from deepres.data.images import Images
from deepres.tasks import paired
from deepres.tasks.classification.compare import Paired
from deepres.tasks.classification.compare import paired as classified
from deepres.tasks.classification.predictions import SavedPredictions, load_answers
from deepres.tasks.paired import load_saved, task_of
from deepres.tasks.result import Evaluation
from deepres.tasks.saved import save_predictions
from deepres.tasks.task import Compared

Z = 1.959963984540054
"""97.5 % of the normal distribution lie below."""
POINTS = 0.5
"""Percentage points that may be lost where nothing is said; of figures that are no shares nothing is assumed."""

GateVerdict = Literal["passed", "failed", "not shown"]


class PairedLoss(Record):
    """How much worse the slim network's `figure` is on the same images; `low` to `high` is its 95 % interval.

    `shares` are percentages, here as fractions; other figures are in their own units. The gate reads nothing else.
    """

    figure: str
    shares: bool
    num_images: int
    intact: float
    slim: float
    loss: float
    low: float
    high: float
    agreement: float | None = None

    def verdict(self, allowed: float) -> GateVerdict:
        """failed: more is lost than is allowed. not shown: the interval does not exclude that more is lost."""
        limit = allowed / 100 if self.shares else allowed
        return "failed" if self.loss > limit else "passed" if self.high <= limit else "not shown"

    def __str__(self) -> str:
        """`error 7.20 % against 6.70 %, +0.50 points (95 % interval -0.20 to +1.20) on 4,500 held-out images`."""
        scale, unit = (100, "points") if self.shares else (1, "worse")
        slim, intact = (f"{100 * value:.2f} %" if self.shares else f"{value:.4g}" for value in (self.slim, self.intact))
        loss, low, high = (
            signed(scale * value) if self.shares else f"{value:+.4g}" for value in (self.loss, self.low, self.high)
        )
        return (
            f"{self.figure} {slim} against {intact}, {loss} {unit} (95 % interval {low} to {high}) on "
            f"{counted(self.num_images, 'held-out image')}"
        )


def compared(intact: Path, slim: Path) -> PairedLoss:
    """The loss of one network against another by what they answered, in run folders or files of predictions.

    Of one class an image the interval is Tango's (`score_interval`); of other figures the paired bootstrap's, and of
    those in [0, 1] at least as wide as if the two had answered alike.

    Raises:
        InputError: they answered other images.
    """
    task = task_of(intact)
    if "McNemar's test" in task.tools:
        pair = classified(load_answers(intact), load_answers(slim))
        return _of_shares(pair, load_answers(intact), load_answers(slim))
    first, second = (replace(load_saved(path), name=name) for path, name in ((intact, "intact"), (slim, "slim")))
    (before, after), (difference,) = paired.compare([first, second])
    images, shares = difference.num_images, is_share(first.compared)
    high = -difference.low
    return PairedLoss(
        figure=first.compared.name,
        shares=shares,
        num_images=images,
        intact=before,
        slim=after,
        loss=-difference.difference,
        low=-difference.high,
        high=max(high, score_interval(0, 0, images)[1]) if shares else high,
    )


def compared_evaluations(intact: Evaluation, slim: Evaluation, images: Images) -> PairedLoss:
    """The same of two evaluations on `images`, whose columns need not be saved."""
    with TemporaryDirectory(prefix="deepres-gate-") as folder:
        paths = [Path(folder) / f"{name}.npz" for name in ("intact", "slim")]
        for path, evaluation in zip(paths, (intact, slim), strict=True):
            save_predictions(path, evaluation, images)
        return compared(paths[0], paths[1])


def refusal(
    what: str,
    loss: PairedLoss,
    allowed: float,
    layers: Sequence[tuple[str, float]] = (),
    remedy: str = "drop fewer units, or fine-tune for longer (--finetune-epochs)",
) -> str:
    """One line on a network that lost too much, or that is not shown to have lost no more than is allowed.

    `layers` are those with the greatest error of rounding, the worst first; three are named. `remedy` helps where too
    much is lost, besides allowing it.
    """
    named = ", ".join(f"{name} {100 * error:.2g} %" for name, error in layers[:3])
    rounded = f"; layers furthest from float32: {named}" if named else ""
    unit = " points" if loss.shares else ""
    if loss.verdict(allowed) == "failed":
        return f"{what}: {loss}; more than {allowed:g}{unit} (--max-loss) is lost{rounded}; allow more, {remedy}"
    return (
        f"{what}: {loss}; that no more than {allowed:g}{unit} (--max-loss) is lost is not shown; give more held-out "
        f"images, or take it as it is with --accept-uncertain{rounded}"
    )


def _of_shares(pair: Paired, intact: SavedPredictions, slim: SavedPredictions) -> PairedLoss:
    low, high = score_interval(pair.only_first, pair.only_second, pair.num_images)
    known = intact.predicted is not None and slim.predicted is not None
    return PairedLoss(
        figure="error",
        shares=True,
        num_images=pair.num_images,
        intact=intact.error,
        slim=slim.error,
        loss=(pair.only_first - pair.only_second) / pair.num_images,
        low=low,
        high=high,
        agreement=float((intact.predicted == slim.predicted).mean()) if known else None,  # type: ignore[union-attr]
    )


def score_interval(lost: int, gained: int, images: int, z: float = Z) -> tuple[float, float]:
    """The values d of (lost - gained) / images that a score test does not reject (Tango 1998, Stat. Med. 17:891).

    `lost` images the first network alone has right, `gained` the second alone. Where the two answer n images alike it
    still ends at z² / (n + z²), 3.7 points of 100 images: so few say nothing of what happens seldom.
    """
    n, best = images, (lost - gained) / images

    def score(d: float) -> float:
        a, b, c = 2 * n, -lost - gained + (2 * n - lost + gained) * d, -gained * d * (1 - d)
        rare = (sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        variance = n * (2 * rare + d * (1 - d))
        return 0.0 if d == best else (lost - gained - n * d) / sqrt(variance) if variance > 0 else float("inf")

    return _border(lambda d: abs(score(d)) < z, best, -1.0), _border(lambda d: abs(score(d)) < z, best, 1.0)


def allowed_loss(given: float | None, figure: Compared, intact: str) -> float:
    """What may be lost, in points or in the figure's own units.

    Raises:
        InputError: nothing is given of a figure that is no share.
    """
    if given is not None:
        return given
    if not is_share(figure):
        raise InputError(
            f"--max-loss: the {figure.name} ({intact} on held-out images) has units of its own, and what may be lost "
            "of it is yours to say; name it, such as a hundredth of that"
        )
    return POINTS


def is_share(figure: Compared) -> bool:
    """Whether it is told in percent."""
    return figure.text(0.01).endswith("%")


def _border(inside: Callable[[float], bool], within: float, beyond: float) -> float:
    """The last value from `within` towards `beyond` that is inside, by halving."""
    for _ in range(60):
        middle = (within + beyond) / 2
        if inside(middle):
            within = middle
        else:
            beyond = middle
    return within
