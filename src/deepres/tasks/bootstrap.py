"""How sure a figure is that is no share of images: drawn again and again from the same images, by weights."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepres.base.seeds import derive

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Statistic = Callable[[Floats], Floats]
"""weights (D, N), how often each image is drawn -> the figure of each draw (D,)."""

DRAWS = 500
ENTRIES = 2**22
"""Numbers held at once: draws of many images come in several pieces."""


def drawn(images: int, draws: int, seed: int, *names: str) -> Iterator[Floats]:
    """Weights (D, N) of draws with replacement, in pieces; every row sums to N. A function of seed and names."""
    random = np.random.default_rng(derive(seed, "bootstrap", *names))
    at_once = max(1, ENTRIES // max(1, images))
    for start in range(0, draws, at_once):
        here = min(at_once, draws - start)
        places = random.integers(0, images, (here, images)) + images * np.arange(here)[:, None]
        yield np.bincount(places.ravel(), minlength=here * images).reshape(here, images).astype(np.float64)


def interval(statistic: Statistic, images: int, *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """2.5 and 97.5 % of the statistic over the draws (Efron 1979), moved by what the draws are off on the average.

    An average precision of few images grows when one of them is drawn twice, so that plain percentiles could lie above
    the figure itself.
    """
    values = np.concatenate([statistic(weights) for weights in drawn(images, draws, seed)])
    off = float(np.nanmean(values)) - float(statistic(np.ones((1, images)))[0])
    low, high = np.nanpercentile(values, (2.5, 97.5)) - off
    return float(low), float(high)


def paired(differences: Any, draws: int) -> tuple[float, float, float]:
    """2.5 and 97.5 % of the differences (draws,) of two, and a two-sided p-value: twice the share beyond 0.

    One draw more on either side is counted, so that p is at least 2 / (draws + 1). Draws of which there is no figure
    (of pictures without any object) are left out.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[~np.isnan(values)]
    draws = min(draws, len(values))
    low, high = np.percentile(values, (2.5, 97.5))
    tail = min(int((values <= 0).sum()), int((values >= 0).sum()))
    return float(low), float(high), min(1.0, 2 * (tail + 1) / (draws + 1))
