"""Does a network know when it is wrong? One temperature, found on held-out images, and what it mends.

p_T = softmax(z / T) (Guo et al. 2017, section 4.2): the order of classes, and so the error, stays as it is.
"""

from dataclasses import replace
from math import exp, fsum, log

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.evaluate.measures import CalibrationBin, Coverage, Predictions, calibration_bins, coverage, expected_error

LOWEST, HIGHEST = 0.01, 100.0


class Tempered(Record):
    """The same answers at a temperature, which was found on `found_on_images` images of the split `found_on`."""

    temperature: float
    found_on: str
    found_on_images: int
    calibration_error_before: float
    calibration_error: float
    cross_entropy_before: float
    cross_entropy: float
    calibration: tuple[CalibrationBin, ...]
    covered: tuple[Coverage, ...]

    def __str__(self) -> str:
        """`temperature 1.31, found on 500 images of val: calibration error 3.05 % to 1.10 %, …`."""
        errors = f"{100 * self.calibration_error_before:.2f} % to {100 * self.calibration_error:.2f} %"
        return (
            f"temperature {self.temperature:.3f}, found on {self.found_on_images:,} images of {self.found_on}: "
            f"calibration error {errors}, cross-entropy {self.cross_entropy_before:.4f} to {self.cross_entropy:.4f}"
        )


def find_temperature(held_out: Predictions) -> float:
    """The T in [0.01, 100] of the lowest mean of -log p_T(truth), by Brent's bounded search over log T.

    In 1/T that mean is convex, so there is one minimum. Where every image is right it falls for ever towards T = 0.

    Raises:
        InputError: no scores were kept, or all held-out images are right, which tells no temperature.
    """
    scores = _scores(held_out)
    if not bool((held_out.rank > 0).any()):
        raise InputError(
            f"temperature: all {len(held_out)} held-out images are right, which tells none; hold more images out"
        )

    def loss(log_t: float) -> float:
        scaled = (scores / exp(log_t)).log_softmax(1)
        return -fsum(scaled.gather(1, held_out.truth[:, None])[:, 0].tolist()) / len(scores)

    found = minimize_scalar(loss, bounds=(log(LOWEST), log(HIGHEST)), method="bounded", options={"xatol": 1e-6})
    return float(exp(found.x))


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


def tempered(predictions: Predictions, held_out: Predictions, found_on: str) -> Tempered:
    """What the temperature found on `held_out` makes of `predictions`."""
    temperature = find_temperature(held_out)
    after = at_temperature(predictions, temperature)
    before_bins, bins = calibration_bins(predictions), calibration_bins(after)
    return Tempered(
        temperature=temperature,
        found_on=found_on,
        found_on_images=len(held_out),
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
