"""Does a network know when it is wrong? One temperature, found on held-out images, and what it mends.

p_T = softmax(z / T) (Guo et al. 2017, section 4.2): the order of classes, and so the error, stays as it is.
"""

from dataclasses import replace
from math import exp, fsum, log, sqrt

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.tasks.classification.metrics import (
    CalibrationBin,
    Coverage,
    Predictions,
    calibration_bins,
    coverage,
    expected_error,
)
from deepres.tasks.classification.task import Temperature

LOWEST, HIGHEST = 0.01, 100.0
AT_BOUND = 1e-3
"""A search that ends as near to a bound, in log T, has found no minimum."""
RULED_OUT = -745.0
"""The logarithm of the least probability that is not 0."""
FEWEST = 20
"""Held-out images: of fewer a temperature mends less than it may spoil; ours, see `evidence/which_epoch.json`."""


class Tempered(Record):
    """The same answers at a temperature, which was found on `found_on_images` images of the split `found_on`."""

    temperature: float
    temperature_low: float | None = None  # its 95 % interval; None in results of older versions
    temperature_high: float | None = None
    found_on: str
    found_on_images: int
    calibration_error_before: float
    calibration_error: float
    cross_entropy_before: float
    cross_entropy: float
    calibration: tuple[CalibrationBin, ...]
    covered: tuple[Coverage, ...]

    def __str__(self) -> str:
        """`temperature 1.310 (95 % interval 1.22 to 1.41), found on 500 images of val: calibration error …`."""
        known = self.temperature_low is not None and self.temperature_high is not None
        sure = f" (95 % interval {self.temperature_low:.2f} to {self.temperature_high:.2f})" if known else ""
        errors = f"{100 * self.calibration_error_before:.2f} % to {100 * self.calibration_error:.2f} %"
        return (
            f"temperature {self.temperature:.3f}{sure}, "
            f"found on {counted(self.found_on_images, 'image')} of {self.found_on}: "
            f"calibration error {errors}, cross-entropy {self.cross_entropy_before:.4f} to {self.cross_entropy:.4f}"
        )


def find_temperature(held_out: Predictions) -> float:
    """The T in [0.01, 100] of the lowest sum of -log p_T(truth), by Brent's bounded search over log T.

    To the images one more is added, like the mean of them, which is as likely right as it is its runner-up: as
    (k + 1/2) / (n + 1) estimates a share, this keeps a network that is right on every image of few from being taken for
    one that is never wrong. In 1/T the sum is convex, so there is one minimum; where the scores say less than chance,
    every image wrong among these, it lies far out.

    Raises:
        InputError: no scores were kept, fewer than `FEWEST` images, all of them wrong, or a search that ends at its
            bound: none of these tells a temperature.
    """
    scores = _scores(held_out)
    if bool((held_out.rank > 0).all()):
        raise InputError(
            f"temperature: all {len(held_out)} held-out images are answered wrongly, so none can be found; train the "
            "network first"
        )
    if len(held_out) < FEWEST:
        raise InputError(
            f"temperature: {len(held_out)} held-out images are too few to find a temperature, wanted at least "
            f"{FEWEST}; hold more images out (--set data.val_fraction=… in training)"
        )

    from scipy.optimize import minimize_scalar  # here, for it takes long to load and is seldom asked

    images, classes = scores.shape

    def loss(log_t: float) -> float:
        log_p = (scores / exp(log_t)).log_softmax(1)
        of_truth = fsum(log_p.gather(1, held_out.truth[:, None])[:, 0].tolist())
        either = log_p.topk(min(2, classes), 1).values.clamp(min=RULED_OUT).mean(1)
        return -(of_truth + fsum(either.tolist()) / images) / images

    found = float(
        minimize_scalar(loss, bounds=(log(LOWEST), log(HIGHEST)), method="bounded", options={"xatol": 1e-6}).x
    )
    if min(found - log(LOWEST), log(HIGHEST) - found) < AT_BOUND:
        told = "no more than chance" if found > 0 else "nearly always right"
        raise InputError(
            f"temperature: the search ended at its bound, {exp(found):.3g}: on the {len(held_out)} held-out images the "
            f"network is {told}, so no temperature can be found; hold other images out, or leave --calibrate out"
        )
    return exp(found)


def temperature_interval(held_out: Predictions, temperature: float) -> tuple[float, float]:
    """About 95 % of the temperatures that other held-out images would have told: T exp(± 1.96 s).

    s = sqrt(sum g_i^2) / sum h_i, with g_i and h_i the first and second derivatives of -log p_T(truth) of image i by
    log T (the sandwich of a maximum-likelihood estimate, which holds also where the temperature is not the truth); of
    the image that `find_temperature` adds their means, over the images and over right and wrong.
    """
    z = _scores(held_out) / temperature
    p = z.log_softmax(1).exp()
    z = torch.where(p > 0, z, torch.zeros_like(z))  # a class that is ruled out weighs nothing
    mean = (p * z).sum(1)
    spread = (p * (z - mean[:, None]).square()).sum(1)
    first = z.gather(1, held_out.truth[:, None])[:, 0] - mean
    added = z.gather(1, p.topk(min(2, z.shape[1]), 1).indices) - mean[:, None]
    squares = fsum(first.square().tolist()) + fsum(added.square().mean(1).tolist()) / len(z)
    curvature = fsum((spread - first).tolist()) + fsum((spread - added.mean(1)).tolist()) / len(z)
    if curvature <= 0:
        return LOWEST, HIGHEST
    s = min(1.96 * sqrt(squares) / curvature, log(HIGHEST / LOWEST))
    return max(LOWEST, temperature * exp(-s)), min(HIGHEST, temperature * exp(s))


def temperature_of(held_out: Predictions, found_on: str) -> Temperature:
    """The temperature that the answers to the held-out images of the split `found_on` tell; errors as there."""
    value = find_temperature(held_out)
    low, high = temperature_interval(held_out, value)
    return Temperature(value=value, low=low, high=high, found_on=found_on, images=len(held_out))


def at_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """The same answers with probabilities softmax(scores / temperature); classes and ranks stay as they are."""
    log_p = (_scores(predictions) / temperature).log_softmax(1)
    of_truth = log_p.gather(1, predictions.truth[:, None])[:, 0]
    return replace(
        predictions,
        probability=log_p.gather(1, predictions.predicted[:, None])[:, 0].exp(),
        probability_of_truth=of_truth.exp(),
        loss=-of_truth,
        scores=log_p,
    )


def tempered(predictions: Predictions, temperature: Temperature) -> Tempered:
    """What a temperature that was found on other images makes of `predictions`."""
    after = at_temperature(predictions, temperature.value)
    before_bins, bins = calibration_bins(predictions), calibration_bins(after)
    return Tempered(
        temperature=temperature.value,
        temperature_low=temperature.low,
        temperature_high=temperature.high,
        found_on=temperature.found_on,
        found_on_images=temperature.images,
        calibration_error_before=expected_error(before_bins),
        calibration_error=expected_error(bins),
        cross_entropy_before=_mean(predictions.loss),
        cross_entropy=_mean(after.loss),
        calibration=bins,
        covered=coverage(after),
    )


def _scores(predictions: Predictions) -> Tensor:
    if predictions.scores is None:
        raise InputError("temperature: wanted the scores of all classes; evaluate with keep_scores=True")
    return predictions.scores.to(torch.float64)


def _mean(values: Tensor) -> float:
    return fsum(values.tolist()) / len(values)
