"""A run's own temperature: found on its held-out images as it ends, kept with its weights, and what is said of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from deepres.base.errors import InputError
from deepres.base.telling import telling
from deepres.runs.context import Setting
from deepres.tasks.classification.calibration import Temperature, temperature_of
from deepres.tasks.classification.evaluator import Evaluation
from deepres.train.precision import choose

HELD_OUT = "val"


@dataclass(frozen=True)
class Calibration:
    """The temperature, or None; what there is to say of it; the answers to the held-out images that it came from."""

    temperature: Temperature | None
    said: str
    held_out: Evaluation | None = None


def calibrate(setting: Setting, network: nn.Module, tell: Callable[[Any], None]) -> Calibration:
    """The temperature of a run's weights, in float32 as it is used; probabilities are left as they are without one."""
    val = setting.source.val
    if val is None:
        return Calibration(None, "probabilities are left as the network gives them: no images were held out")
    showing = telling(tell, "held-out images")
    reported = choose("float32", setting.precision.device)
    answers = setting.judge(network, val, HELD_OUT, None, showing, reported, keep_scores=True)
    try:
        found = temperature_of(answers.predictions, HELD_OUT)
    except InputError as cause:
        why = cause.message.removeprefix("temperature: ").partition(";")[0]
        return Calibration(None, f"probabilities are left as the network gives them: {why}", answers)
    return Calibration(found, f"probabilities at {found}", answers)
