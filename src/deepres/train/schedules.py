"""Learning rates as pure functions of progress: `lr = schedule(progress)`, progress in [0, 1).

A schedule keeps no state: the rate is computed from the step, so a resumed run and an uninterrupted one
cannot differ, and a schedule can be drawn without training.
"""

from collections.abc import Callable
from itertools import pairwise
from math import cos, log10, pi
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from deepres.base.records import Record
from deepres.base.wording import counted

Schedule = Callable[[float], float]


def constant(lr: float) -> Schedule:
    """lr(p) = lr."""
    return lambda progress: lr  # noqa: ARG005


def steps(lr: float, milestones: tuple[float, ...], gamma: float = 0.1) -> Schedule:
    """lr(p) = lr * gamma^(number of milestones passed), each a fraction of the run.

    He et al. 2015, section 4.2: 0.1, divided by 10 at 32k and 48k of 64k iterations, is `steps(0.1, (0.5, 0.75))`.
    """
    return lambda progress: lr * gamma ** sum(progress >= drop for drop in milestones)


def cosine(lr: float, end: float = 0.0) -> Schedule:
    """lr(p) = end + (lr - end) (1 + cos(pi p)) / 2 (Loshchilov & Hutter 2017, eq. 5, one cycle)."""
    return lambda progress: end + (lr - end) * (1 + cos(pi * progress)) / 2


def linear_warmup(schedule: Schedule, until: float) -> Schedule:
    """Rises linearly from almost 0 to `schedule(until)` at progress `until`, then follows `schedule`."""
    return lambda progress: (
        schedule(until) * max(progress, until / 1000) / until if progress < until else schedule(progress)
    )


WIDE, DECADES = 48, 3
"""Columns of a drawn schedule, and the powers of ten that its heights tell apart."""


def sketch(schedule: Schedule, wide: int = WIDE) -> str:
    """The rate over the run as a row of blocks `▁▂▃▄▅▆▇█`, equal steps of the logarithm over three powers of ten."""
    rates = [schedule((column + 0.5) / wide) for column in range(wide)]
    top = max(rates)
    heights = [1 + log10(rate / top) / DECADES if rate > 0 else 0.0 for rate in rates]
    return "".join("▁▂▃▄▅▆▇█"[round(7 * max(0.0, height))] for height in heights)


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
    """The learning rate over the run: `lr` is its peak; `milestones` and `gamma` for "steps", `end` for "cosine".

    `warmup_fraction` is the fraction of the run with a linear rise. `warmup_lr` is the paper's other warm-up: that rate
    is held until the training error falls below `warmup_until_error` (He et al. 2015, section 4.2, for 110 layers: 0.01
    until 80 %, about 400 iterations), or for `warmup_steps` steps where they are given (He et al. 2016, appendix: 400).
    """

    renamed: ClassVar = {
        "rate": "lr",
        "low_rate": "warmup_lr",
        "low_until_error": "warmup_until_error",
        "low_steps": "warmup_steps",
        "warm_up": "warmup_fraction",
        "drops": "milestones",
        "factor": "gamma",
    }

    kind: Literal["constant", "steps", "cosine"] = "cosine"
    lr: Annotated[float, Field(gt=0)] = 0.1
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1
    end: Annotated[float, Field(ge=0)] = 0.0
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    warmup_lr: Annotated[float, Field(gt=0)] | None = None
    warmup_until_error: Annotated[float, Field(gt=0, lt=1)] = 0.8
    warmup_steps: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _warmup_has_an_lr(self) -> "ScheduleConfig":
        if self.warmup_steps is not None and self.warmup_lr is None:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} without warmup_lr: give the rate that is held, such as 0.01"
            )
        return self

    @model_validator(mode="after")
    def _milestones_rise(self) -> "ScheduleConfig":
        if not all(a < b for a, b in pairwise((0.0, *self.milestones, 1.0))):
            raise ValueError(f"milestones {self.milestones}: wanted rising fractions of the run, such as (0.5, 0.75)")
        return self

    def told(self, steps: int) -> str:
        """`rate: ███▅▅▂ 0.1 to 0.001 over 64,000 steps`, with the low rate that is held before, drawn by logarithm."""
        schedule = self.schedule()
        held = "" if self.warmup_lr is None else f", {self.warmup_lr:g} until it has learnt a little"
        if self.warmup_lr is not None and self.warmup_steps is not None:
            held = f", {self.warmup_lr:g} for the first {self.warmup_steps:,}"
        last = schedule(1 - 0.5 / max(1, steps))
        return f"rate: {sketch(schedule)} {self.lr:g} to {last:.3g} over {counted(steps, 'step')}{held}"

    def schedule(self) -> Schedule:
        """The function; `warmup_lr` is the loop's affair, since it depends on the training error."""
        chosen = {
            "constant": lambda: constant(self.lr),
            "steps": lambda: steps(self.lr, self.milestones, self.gamma),
            "cosine": lambda: cosine(self.lr, self.end),
        }[self.kind]()
        return linear_warmup(chosen, self.warmup_fraction) if self.warmup_fraction else chosen
