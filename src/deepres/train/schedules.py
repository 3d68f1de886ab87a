"""Learning rates as pure functions of progress: `rate = schedule(progress)`, progress in [0, 1).

A schedule keeps no state: the rate is computed from the step, so a resumed run and an uninterrupted one
cannot differ, and a schedule can be drawn without training.
"""

from collections.abc import Callable
from itertools import pairwise
from math import cos, pi
from typing import Annotated, Literal

from pydantic import Field, model_validator

from deepres.base.records import Record

Schedule = Callable[[float], float]


def constant(rate: float) -> Schedule:
    """rate(p) = rate."""
    return lambda progress: rate  # noqa: ARG005


def steps(rate: float, drops: tuple[float, ...], factor: float = 0.1) -> Schedule:
    """rate(p) = rate * factor^(number of drops passed), each drop a fraction of the run.

    He et al. 2015, section 4.2: 0.1, divided by 10 at 32k and 48k of 64k iterations, is `steps(0.1, (0.5, 0.75))`.
    """
    return lambda progress: rate * factor ** sum(progress >= drop for drop in drops)


def cosine(rate: float, end: float = 0.0) -> Schedule:
    """rate(p) = end + (rate - end) (1 + cos(pi p)) / 2 (Loshchilov & Hutter 2017, eq. 5, one cycle)."""
    return lambda progress: end + (rate - end) * (1 + cos(pi * progress)) / 2


def linear_warm_up(schedule: Schedule, until: float) -> Schedule:
    """Rises linearly from almost 0 to `schedule(until)` at progress `until`, then follows `schedule`."""
    return lambda progress: (
        schedule(until) * max(progress, until / 1000) / until if progress < until else schedule(progress)
    )


class Bend(Record):
    """A run of another length than was planned: from `step` on progress runs evenly from `progress` to 1 at `total`.

    So a schedule that falls still falls to its end. `why` says what bent it.
    """

    step: int
    progress: float
    total: int
    why: str

    def at(self, step: int) -> float:
        """The progress at `step`, from `self.step` on."""
        return self.progress + (1 - self.progress) * (step - self.step) / max(1, self.total - self.step)


class ScheduleConfig(Record):
    """The rate over the run: `rate` at its height; `drops` and `factor` for "steps", `end` for "cosine".

    `warm_up` is the fraction of the run with a linear rise. `low_rate` is the paper's other warm-up: that rate is held
    until the training error falls below `low_until_error` (He et al. 2015, section 4.2, for 110 layers: 0.01 until
    80 %, about 400 iterations), or for `low_steps` steps where they are given (He et al. 2016, appendix: 400).
    """

    kind: Literal["constant", "steps", "cosine"] = "cosine"
    rate: Annotated[float, Field(gt=0)] = 0.1
    drops: tuple[float, ...] = (0.5, 0.75)
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    end: Annotated[float, Field(ge=0)] = 0.0
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.0
    low_rate: Annotated[float, Field(gt=0)] | None = None
    low_until_error: Annotated[float, Field(gt=0, lt=1)] = 0.8
    low_steps: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _low_has_a_rate(self) -> "ScheduleConfig":
        if self.low_steps is not None and self.low_rate is None:
            raise ValueError(f"low_steps {self.low_steps} without low_rate: give the rate that is held, such as 0.01")
        return self

    @model_validator(mode="after")
    def _drops_rise(self) -> "ScheduleConfig":
        if not all(a < b for a, b in pairwise((0.0, *self.drops, 1.0))):
            raise ValueError(f"drops {self.drops}: wanted rising fractions of the run, such as (0.5, 0.75)")
        return self

    def schedule(self) -> Schedule:
        """The function; `low_rate` is the loop's affair, since it depends on the training error."""
        chosen = {
            "constant": lambda: constant(self.rate),
            "steps": lambda: steps(self.rate, self.drops, self.factor),
            "cosine": lambda: cosine(self.rate, self.end),
        }[self.kind]()
        return linear_warm_up(chosen, self.warm_up) if self.warm_up else chosen
