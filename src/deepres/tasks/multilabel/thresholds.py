"""From which probability on a class is said to be there: one number a class, chosen on held-out images."""

import numpy as np
import torch
from torch import Tensor

from deepres.tasks.multilabel.task import FEWEST, HALF, Thresholds


def best_threshold(truth: Tensor, probabilities: Tensor) -> float:
    """The middle of the gap between two probabilities above which F1 = 2 right / (there + said) is highest.

    `truth` 0 or 1 (N,), `probabilities` float64 (N,). Of equal ones that nearest to 1/2. 1/2 where nothing is there.
    """
    order = np.argsort(-probabilities.numpy(), kind="stable")
    there, p = truth.bool().numpy()[order], probabilities.double().numpy()[order]
    if not there.any():
        return HALF
    ends = np.append(np.flatnonzero(np.diff(p)), len(p) - 1)
    f1 = 2 * np.cumsum(there)[ends] / (ends + 1 + there.sum())
    below = np.append(p[ends[:-1] + 1], 0.0)
    middles = (p[ends] + below) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(middles[best[np.abs(middles[best] - HALF).argmin()]])


def found_thresholds(truth: Tensor, probabilities: Tensor, found_on: str) -> Thresholds:
    """The thresholds of all classes from held-out images: `truth` (N, C), `probabilities` float64 (N, C)."""
    values, chosen = [], 0
    for number in range(truth.shape[1]):
        there = int(truth[:, number].sum())
        enough = min(there, len(truth) - there) >= FEWEST
        values.append(best_threshold(truth[:, number], probabilities[:, number]) if enough else HALF)
        chosen += enough
    return Thresholds(values=tuple(values), chosen=chosen, found_on=found_on, images=len(truth))


def said(probabilities: Tensor, thresholds: Thresholds | None) -> Tensor:
    """Which classes are said to be there, bool like `probabilities` (…, C)."""
    if thresholds is None:
        return probabilities >= HALF
    return probabilities >= torch.tensor(thresholds.values, dtype=probabilities.dtype)
