"""Which of several networks is better on the same images: intervals, paired tests; protocols are never mixed."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.seeds import derive
from deepres.base.wording import columns, counted, percent, signed
from deepres.tasks.classification.metrics import interval
from deepres.tasks.classification.predictions import SavedPredictions
from deepres.tasks.paired import holm

DRAWS = 10_000
LEVEL = 0.05


class Paired(Record):
    """`first` against `second` on the same images; a positive `difference` says that the first makes more errors.

    only_first, only_second   images that this one alone has right
    p_value                   McNemar's exact test: of the images on which they differ, each wins half if they are equal
    p_corrected               the same after Holm's correction for all `num_pairs` pairs that were compared
    low, high                 95 % of the differences of DRAWS bootstrap draws of images
    """

    first: str
    second: str
    num_images: int
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    p_value: float
    p_corrected: float
    num_pairs: int = 1

    def sentence(self) -> str:
        """`b is better than a by 1.20 points (95 % interval 0.70 to 1.69; McNemar p = 1e-05)`, or that none is."""
        better, worse = (self.second, self.first) if self.difference > 0 else (self.first, self.second)
        low, high = sorted((abs(self.low), abs(self.high))) if self.low * self.high > 0 else (self.low, self.high)
        told = f"95 % interval {100 * low:.2f} to {100 * high:.2f}; McNemar p = {small(self.p_value)}"
        if self.num_pairs > 1:
            told += f", {small(self.p_corrected)} corrected for {self.num_pairs} pairs"
        if self.p_corrected >= LEVEL:
            return (
                f"{self.first} and {self.second}: no difference shown ({signed(100 * self.difference)} points, {told})"
            )
        return f"{better} is better than {worse} by {100 * abs(self.difference):.2f} points ({told})"


def paired(first: SavedPredictions, second: SavedPredictions, *, seed: int = 0, force: bool = False) -> Paired:
    """The two on the same images; `force` compares also what two protocols measured.

    Raises:
        InputError: other images, or another protocol.
    """
    if not first.same_images(second):
        raise InputError(
            f"{first.name} was measured on {counted(len(first.images), 'image')} ({first.source}), {second.name} on "
            f"{len(second.images):,} others ({second.source}); measure both on images that neither was trained on "
            "(deepres eval RUN SOURCE --predictions FILE), or train both with one data.split_seed"
        )
    if first.protocol != second.protocol and not force:
        raise InputError(
            f"{first.name} was measured by protocol {first.protocol}, {second.name} by {second.protocol}: the numbers "
            "say different things; measure both by one, or insist with --force"
        )
    from scipy.stats import binomtest  # here, for it takes long to load and is asked last

    only_first = int((first.right & ~second.right).sum())
    only_second = int((second.right & ~first.right).sum())
    low, high = _bootstrap(second.right.astype(np.int8) - first.right.astype(np.int8), seed)
    differing = only_first + only_second
    p_value = float(binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    return Paired(
        first=first.name,
        second=second.name,
        num_images=len(first.images),
        only_first=only_first,
        only_second=only_second,
        difference=first.error - second.error,
        low=low,
        high=high,
        p_value=p_value,
        p_corrected=p_value,
    )


def all_pairs(answers: Sequence[SavedPredictions], *, seed: int = 0, force: bool = False) -> tuple[Paired, ...]:
    """Every two of them, p-values corrected for their number; errors as `paired`."""
    pairs = [paired(first, second, seed=seed, force=force) for first, second in combinations(answers, 2)]
    corrected = holm([pair.p_value for pair in pairs])
    return tuple(pair.replace(p_corrected=p, num_pairs=len(pairs)) for pair, p in zip(pairs, corrected, strict=True))


def against_best(answers: Sequence[SavedPredictions], pairs: Sequence[Paired]) -> tuple[Paired, ...]:
    """The pairs that the best network is in, in the order of the others' errors, the best as `second`.

    The correction stays that for all pairs: the best was picked by these same images, so every pair was tried.
    """
    best, *others = sorted(answers, key=lambda one: one.error)
    found = {frozenset((pair.first, pair.second)): pair for pair in pairs}
    return tuple(
        pair if pair.second == best.name else _turned(pair)
        for pair in (found[frozenset((other.name, best.name))] for other in others)
    )


def _turned(pair: Paired) -> Paired:
    turned = {"first": pair.second, "second": pair.first, "difference": -pair.difference}
    counts = {"only_first": pair.only_second, "only_second": pair.only_first, "low": -pair.high, "high": -pair.low}
    return pair.replace(**turned, **counts)


def table(answers: Sequence[SavedPredictions]) -> str:
    """One line for each: name, network, error with its interval, wrong images, protocol."""
    lines = [("run", "network", "error", "95 % interval", "wrong", "protocol")]
    for one in sorted(answers, key=lambda one: one.error):
        low, high = interval(one.num_wrong, len(one.images))
        told = f"{100 * low:.2f} to {100 * high:.2f} %"
        lines.append((one.name, one.model, percent(one.error), told, f"{one.num_wrong:,}", one.protocol))
    return columns(lines, "<<>>><")


def table_of_pairs(pairs: Sequence[Paired]) -> str:
    """One line for each: how much more error the first has than the second, how sure that is, and what it shows."""
    lines = [("run", "against", "points", "95 % interval", "McNemar p", "corrected", "")]
    for pair in pairs:
        told = f"{signed(100 * pair.low)} to {signed(100 * pair.high)}"
        sure = "no difference shown" if pair.p_corrected >= LEVEL else "worse" if pair.difference > 0 else "better"
        p_values = (small(pair.p_value), small(pair.p_corrected))
        lines.append((pair.first, pair.second, signed(100 * pair.difference), told, *p_values, sure))
    if len({pair.second for pair in pairs}) == 1:
        return columns([(line[0], *line[2:]) for line in lines], "<>>>><")
    return columns(lines, "<<>>>><")


def small(p_value: float) -> str:
    """`0.0019`, `3.4e-05`; what falls below the range of numbers is `<1e-300`."""
    return "<1e-300" if p_value < 1e-300 else f"{p_value:.2g}"


def _bootstrap(differences: "np.ndarray[Any, np.dtype[np.int8]]", seed: int) -> tuple[float, float]:
    """2.5 and 97.5 % of the mean of resampled differences: of -1, 0, 1 only the counts matter, so these are drawn."""
    counts = np.array([(differences == value).sum() for value in (-1, 0, 1)])
    draws = np.random.default_rng(derive(seed, "bootstrap")).multinomial(len(differences), counts / counts.sum(), DRAWS)
    low, high = np.percentile((draws[:, 2] - draws[:, 0]) / len(differences), (2.5, 97.5))
    return float(low), float(high)
