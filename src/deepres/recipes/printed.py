"""A figure that a paper prints, and the rule by which figures of ours come out or do not."""

from collections.abc import Sequence
from math import sqrt
from statistics import mean, median, stdev
from typing import Annotated, Literal

from pydantic import Field

from deepres.base.records import Record

Verdict = Literal["reproduced", "within the spread", "not reproduced", "not run", "shown"]
"""reproduced: as near to the printed figure as the study's tolerance; of what is read from a description, the printed
figure itself, once ours is rounded as far.

within the spread: not as near, but within two standard deviations of the difference: that of the seeds and of the
printed figure, or, of one seed, the sampling error of the test images. shown: the paper prints no figure, or the scale
is short, which is compared by its claims only.
"""

NUM_TEST = {
    "cifar10": 10_000,
    "cifar100": 10_000,
    "svhn": 26_032,
    "imagenet": 50_000,
    "voc": 4_952,
    "coco": 40_504,
    "det": 20_121 // 2,
    "loc": 50_000,
}
"""Images that the papers measure on."""


class PaperFigure(Record):
    """A figure as a paper prints it.

    `value` is what stands there: of one run, or the "best", "median" or "mean" of `runs`; `mean` and `std` stand beside
    it where the paper has them ("6.43 (6.61 ± 0.16)"). `bound` says that the paper names no value but a limit:
    "above" ("fail": > 20 %) or "below" ("< 0.1 %").
    """

    value: float
    mean: float | None = None
    std: float | None = None
    runs: Annotated[int, Field(ge=1)] = 1
    quoted: Literal["single", "best", "median", "mean"] = "single"
    bound: Literal["above", "below"] | None = None


def quoted(values: Sequence[float], printed: PaperFigure | None, *, higher_is_better: bool = False) -> float:
    """The values of several seeds as the paper quotes its own: best, median, mean; by default the mean."""
    kind = printed.quoted if printed else "mean"
    best = max if higher_is_better else min
    return best(values) if kind == "best" else median(values) if kind == "median" else mean(values)


def verdict_of(
    values: Sequence[float], printed: PaperFigure, tolerance: float, spread: float, *, higher_is_better: bool = False
) -> Verdict:
    """The verdict on our values; `spread` is the standard deviation of the difference from the printed figure."""
    ours = quoted(values, printed, higher_is_better=higher_is_better)
    if printed.bound is not None:
        kept = ours > printed.value if printed.bound == "above" else ours < printed.value
        return "reproduced" if kept else "not reproduced"
    nearest = apart(values, printed, higher_is_better=higher_is_better)
    if nearest <= tolerance + 1e-9:
        return "reproduced"
    return "within the spread" if nearest <= reach_of(tolerance, spread) else "not reproduced"


def reach_of(tolerance: float, spread: float) -> float:
    """How far from a printed figure ours is met: the tolerance, or twice the spread where that is more."""
    return max(tolerance, 2 * spread)


def apart(values: Sequence[float], printed: PaperFigure, *, higher_is_better: bool = False) -> float:
    """How far ours are from what is printed: from the value, or from the mean beside it where that is nearer."""
    nearest = abs(quoted(values, printed, higher_is_better=higher_is_better) - printed.value)
    return nearest if printed.mean is None else min(nearest, abs(mean(values) - printed.mean))


def spread_of(values: Sequence[float], printed: PaperFigure, dataset: str, sampling: float | None = None) -> float:
    """Of the difference between a figure of ours and the printed one, in points.

    Of one seed it is that of two draws of the test images: `sampling` each, by default that of a share of them.
    """
    if len(values) > 1:
        return sqrt(stdev(values) ** 2 + (printed.std or 0.0) ** 2)
    share = mean(values) / 100
    of_share = 100 * sqrt(max(share * (1 - share), 0.0) / NUM_TEST.get(dataset, 10_000))
    sampled = of_share if sampling is None else sampling
    return sqrt(sampled**2 + (printed.std or sampled) ** 2)
