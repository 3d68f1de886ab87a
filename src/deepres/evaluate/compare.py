"""Which of several networks is better on the same images: intervals, paired tests, seeds; protocols are never mixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
from scipy.stats import binomtest

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.seeds import derive
from deepres.evaluate.measures import interval
from deepres.evaluate.run import Result, percent

Bools = np.ndarray[Any, np.dtype[np.bool_]]
DRAWS = 10_000
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class Answers:
    """What one network answered: `right` by image, in the order of `images`, under a protocol on a set of images."""

    name: str
    model: str
    images: tuple[str, ...]
    right: Bools
    protocol: str
    source: str

    @property
    def error(self) -> float:
        """The share of images that are wrong."""
        return 1 - float(self.right.mean())

    @property
    def num_wrong(self) -> int:
        """How many images are wrong."""
        return int((~self.right).sum())


class Paired(Record):
    """`first` against `second` on the same images; a positive `difference` says that the first makes more errors.

    only_first, only_second   images that this one alone has right
    p_value                   McNemar's exact test: of the images on which they differ, each wins half if they are equal
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

    def verdict(self) -> str:
        """`b is better than a by 1.20 points (95 % interval 0.70 to 1.69; p = 0.00001)`, or that none is."""
        better, worse = (self.second, self.first) if self.difference > 0 else (self.first, self.second)
        low, high = sorted((abs(self.low), abs(self.high))) if self.low * self.high > 0 else (self.low, self.high)
        told = f"95 % interval {100 * low:.2f} to {100 * high:.2f}; McNemar p = {self.p_value:.2g}"
        if self.p_value >= LEVEL:
            return f"{self.first} and {self.second}: no difference shown ({100 * self.difference:+.2f} points, {told})"
        return f"{better} is better than {worse} by {100 * abs(self.difference):.2f} points ({told})"


class Seeds(Record):
    """Errors of the same network under several seeds, as the papers quote them: mean ± std, median, best."""

    model: str
    errors: tuple[float, ...]

    def __str__(self) -> str:
        spread = f" ± {100 * stdev(self.errors):.2f}" if len(self.errors) > 1 else ""
        return (
            f"{self.model}: {100 * mean(self.errors):.2f}{spread} % over {len(self.errors)} runs, "
            f"median {percent(median(self.errors))}, best {percent(min(self.errors))}"
        )


def load_answers(folder: Path) -> Answers:
    """What stands in a run's folder: `predictions.npz` and the result beside it.

    Raises:
        InputError: a run that was never measured, or files that do not belong together.
    """
    found = next((folder / f"{split}.json" for split in ("test", "val") if (folder / f"{split}.json").is_file()), None)
    path = folder / "predictions.npz"
    if found is None or not path.is_file():
        raise InputError(f"{folder}: no test.json with predictions.npz in it; is this a run folder that has ended?")
    result = Result.load(found)
    with np.load(path, allow_pickle=False) as columns:
        order = np.argsort(columns["index"])
        names, rank = columns["name"][order], columns["rank"][order]
    if len(names) != result.num_images:
        raise InputError(
            f"{path}: {len(names)} answers, {found.name} counts {result.num_images}; evaluate the run again"
        )
    facts = result.provenance
    where = f"{facts.get('source', '?')}, {result.split}"
    return Answers(folder.name, str(facts.get("model", "?")), tuple(names.tolist()), rank == 0, result.protocol, where)


def paired(first: Answers, second: Answers, *, seed: int = 0, force: bool = False) -> Paired:
    """The two on the same images; `force` compares also what two protocols measured.

    Raises:
        InputError: other images, or another protocol.
    """
    if first.images != second.images:
        raise InputError(
            f"{first.name} was measured on {len(first.images):,} images ({first.source}), {second.name} on "
            f"{len(second.images):,} others ({second.source}); measure both on the same: deepres eval RUN SOURCE"
        )
    if first.protocol != second.protocol and not force:
        raise InputError(
            f"{first.name} was measured by protocol {first.protocol}, {second.name} by {second.protocol}: the numbers "
            "say different things; measure both by one, or insist with --force"
        )
    only_first = int((first.right & ~second.right).sum())
    only_second = int((second.right & ~first.right).sum())
    low, high = _bootstrap(second.right.astype(np.int8) - first.right.astype(np.int8), seed)
    differing = only_first + only_second
    return Paired(
        first=first.name,
        second=second.name,
        num_images=len(first.images),
        only_first=only_first,
        only_second=only_second,
        difference=first.error - second.error,
        low=low,
        high=high,
        p_value=float(binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0,
    )


def by_model(answers: Sequence[Answers]) -> tuple[Seeds, ...]:
    """The errors of each network's runs together, networks in the order in which they come."""
    errors: dict[str, list[float]] = {}
    for one in answers:
        errors.setdefault(one.model, []).append(one.error)
    return tuple(Seeds(model=model, errors=tuple(each)) for model, each in errors.items())


def table(answers: Sequence[Answers]) -> str:
    """One line for each: name, network, error with its interval, wrong images, protocol."""
    lines = [("run", "network", "error", "95 % interval", "wrong", "protocol")]
    for one in sorted(answers, key=lambda one: one.error):
        low, high = interval(one.num_wrong, len(one.images))
        told = f"{100 * low:.2f} to {100 * high:.2f} %"
        lines.append((one.name, one.model, percent(one.error), told, f"{one.num_wrong:,}", one.protocol))
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    sides = "<<>>><"
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in lines
    )


def _bootstrap(differences: "np.ndarray[Any, np.dtype[np.int8]]", seed: int) -> tuple[float, float]:
    """2.5 and 97.5 % of the mean of resampled differences: of -1, 0, 1 only the counts matter, so these are drawn."""
    counts = np.array([(differences == value).sum() for value in (-1, 0, 1)])
    draws = np.random.default_rng(derive(seed, "bootstrap")).multinomial(len(differences), counts / counts.sum(), DRAWS)
    low, high = np.percentile((draws[:, 2] - draws[:, 0]) / len(differences), (2.5, 97.5))
    return float(low), float(high)
