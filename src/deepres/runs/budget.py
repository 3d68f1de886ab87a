"""A time budget (`--minutes`): the length and size that fit, from measured speed; and the cut that ends a run in time.

What fits is planned once, before training, and is then a plain run: its `train.epochs` and `preparation` given without
a clock lead to the same weights to the bit. Where the machine becomes slower than it was measured, the run is bent to
fewer steps (`train/schedules.py`): the clock decides when, so that such a run cannot be repeated from its seed; but its
state holds the bend, so that it resumes exactly. A run that is resumed keeps the steps that it had; minutes given with
--resume are those of that command, and cut it where they do not suffice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil, exp, floor
from time import monotonic

from deepres.arch.readings.cost import cost
from deepres.base.errors import InputError, shared
from deepres.base.events import Detail
from deepres.base.wording import counted, duration
from deepres.data.sources.open import Source
from deepres.recipes.run import Run
from deepres.runs.autotune import Pace
from deepres.train.compile import LONG_ENOUGH
from deepres.train.distributed import SINGLE_PROCESS, Distributed
from deepres.train.loop import Epoch, Step
from deepres.train.state import Progress

SIZES = (224, 160, 128, 96)
SHRINKING = ("photos", "finetune", "imagenet_modern")
"""Recipes that may take images smaller than they do by default; a paper's size belongs to the paper."""

WORTHWHILE = 5  # full size is kept where one part in so many of the recipe's length fits
FILLED = 0.9  # of the time is planned with
REFILLED = 0.9  # of what is left, once it was too little
WINDOW = 0.25  # of what is left is the time over which the pace of steps is averaged,
LEAST_WINDOW = 10.0  # in seconds
PATIENCE = 0.25  # so much too late, at the beginning, may still be made up; towards the end nothing
SETTLING = 0.25  # of what is left passes until the next cut
MOST_SLOWER = 4.0
END_SECONDS = 4.0  # of an idle machine: weights, report, a few answers, the end of the process


@dataclass(frozen=True)
class Deadline:
    """So many minutes from `began` on, by `clock`, which is in seconds; with `any_size` images may become smaller.

    As one of `folds` equal runs is planned, it is a share of them. The one that is then trained `ends` earlier, on the
    clock, keeps the length that was planned, and goes at the `pace` that was measured, where that is known.
    """

    minutes: float
    began: float
    clock: Callable[[], float] = monotonic
    any_size: bool = True
    folds: int = 1
    ends: float | None = None
    pace: Pace | None = None

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return self.clock() - self.began

    @property
    def left(self) -> float:
        """Seconds until it is over, for each of the folds; below 0 afterwards."""
        if self.ends is not None:
            return self.ends - self.clock()
        return (60 * self.minutes - self.spent) / self.folds

    def shared(self, processes: Distributed) -> "Deadline":
        """The deadline of the first process, by its clock, which all have to ask together."""
        if processes.size == 1:
            return self
        began = processes.on_rank_zero(lambda: self.began)
        return replace(self, began=began, clock=lambda: processes.on_rank_zero(self.clock))

    def __str__(self) -> str:
        return f"{self.minutes:g} min"


@dataclass(frozen=True)
class Needs:
    """Seconds: of each unit of length (an epoch, or a step where a run's length is in steps), and of all else."""

    unit: float
    rest: float

    def fitting(self, seconds: float) -> int:
        """Units that `seconds` hold besides the rest."""
        return max(0, floor((seconds - self.rest) / self.unit))


@dataclass
class Budget:
    """What a run has time for: `run` as it was made to fit, `sentences` why, and what cuts it where that fails."""

    run: Run
    source: Source
    deadline: Deadline
    pace: Pace
    sentences: tuple[str | Detail, ...] = ()
    _seconds: float = field(init=False)  # of the last steps, older ones counting less; and how many these are
    _count: float = field(init=False)
    _last: float | None = None
    _waits: float = 0.0  # until then, on the clock, for what the last cut comes to
    _evaluated: float | None = None  # seconds of an evaluation on held-out images, the last counting half

    def __post_init__(self) -> None:
        self._seconds = _window(self.deadline.left) / 2  # as measured
        self._count = self._seconds / self._planned_step

    def too_short_to_compile(self, kind: str) -> bool:
        """Whether measuring if compiling pays would take more than it could give."""
        return self.deadline.left < LONG_ENOUGH[kind]

    def cut(self, event: Step | Epoch, progress: Progress) -> int | None:
        """The steps that there is time for in all, where those that the run has are too many; asked at each event."""
        now = self.deadline.clock()
        spent, self._last = (None if self._last is None else now - self._last), now
        if isinstance(event, Epoch):
            if event.val is not None and spent is not None:
                self._evaluated = spent if self._evaluated is None else (self._evaluated + spent) / 2
            return None
        if spent is None:  # of the first step, which has what came before it, too
            return None
        room, left = self.deadline.left - self.end(), event.total - progress.step
        kept = exp(-spent / _window(room))
        self._seconds, self._count = kept * self._seconds + spent, kept * self._count + 1
        step, judging, shares = self.step_seconds, self._judging, self.run.train.batch_size / len(self.source.train)
        if left and spent + judging > room:  # the next step would end too late
            return progress.step
        needed = left * step + (ceil(left * shares) + 1) * judging
        if not left or now < self._waits or needed <= room * (1 + PATIENCE * left / event.total):
            return None
        self._waits = now + SETTLING * room
        total = progress.step + max(0, floor(REFILLED * (room - judging) / (step + shares * judging)))
        return total if total < event.total else None

    @property
    def step_seconds(self) -> float:
        """Seconds of a step: of the last ones, and at first as measured before."""
        return self._seconds / self._count

    def end(self) -> float:
        """Seconds from the last step on: the test images in float32, weights and report."""
        held_out = _num(self.source, "val")
        answered = self._judging / held_out if held_out else self._slower * self.pace.answered
        pace = self.pace.replace(answered=max(answered, self.pace.answered), burden=self._slower * self.pace.burden)
        return _end(self.source, pace.replace(reported=self._slower * pace.reported))

    @property
    def _planned_step(self) -> float:
        return self.run.train.batch_size * self.pace.trained

    @property
    def _slower(self) -> float:
        """How many times as long as measured before steps take; at most so much is believed of what is not a step."""
        return min(MOST_SLOWER, max(1.0, self.step_seconds / self._planned_step))

    @property
    def _judging(self) -> float:
        """Seconds of an evaluation on held-out images."""
        planned = self._slower * _num(self.source, "val") * self.pace.answered
        return planned if self._evaluated is None else self._evaluated

    def said(self, event: Step | Epoch, total: int) -> str:
        """The line about a cut."""
        now, planned = self.run.train.batch_size / self.step_seconds, 1 / self.pace.trained
        was = event.total if isinstance(event, Step) else total
        return (
            f"after step {event.step:,}: {_rate(now)} now, {_rate(planned)} as measured before, "
            f"{duration(max(0.0, self.deadline.left))} left: {counted(total, 'step')} in all, not {was:,}; "
            "the rate falls to its end within them"
        )

    def bent(self, progress: Progress, total: int) -> Progress:
        """The progress of a run that was cut to `total` steps."""
        planned = self.run.train.steps(len(self.source.train))
        return progress.bent(total, planned, f"--minutes {self.deadline.minutes:g}")


def fitted(
    run: Run,
    source: Source,
    deadline: Deadline,
    measure: Callable[[Run], Pace],
    processes: Distributed = SINGLE_PROCESS,
    any_size: bool = True,
) -> Budget:
    """The run with as many epochs as fit, at most its own, at its own size or, with `any_size`, a smaller one.

    A smaller one is taken where less than a fifth of the run's length fits. `measure` gives the pace of a run, the same
    in all of `processes`, of which the clock of the first counts.

    Raises:
        InputError: not even one epoch fits at the smallest size; the message has the shortest time that would do.
    """
    own, deadline = deadline, deadline.shared(processes)
    sizes = [run, *(_smaller(run) if any_size else ())]
    first: Pace | None = None
    for candidate in sizes:
        last = candidate is sizes[-1]
        if (
            first is not None
            and not last
            and _units(candidate, source, _scaled(first, run, candidate), deadline) < (_worthwhile(run))
        ):
            continue
        pace = measure(candidate)
        first = first or pace
        units = min(_units(candidate, source, pace, deadline), _length(run))
        if units >= _worthwhile(run) or (last and units):
            return _planned(run, candidate, source, own, pace, first, units)
    raise shared(InputError(_too_short(candidate, source, deadline, pace, run)))


def going_on(run: Run, source: Source, deadline: Deadline, measure: Callable[[Run], Pace]) -> Budget:
    """The budget of a run whose length is planned, resumed or one of several folds: it keeps its steps in time."""
    pace = deadline.pace or measure(run)
    own = "" if deadline.ends is None else f", of which {duration(max(0.0, deadline.left))} for this fold"
    line = f"{deadline}{own}: what is left is cut where it would not end in time (measured {_rate(1 / pace.trained)})"
    return Budget(run, source, deadline, pace, (line,))


def _planned(run: Run, chosen: Run, source: Source, deadline: Deadline, pace: Pace, first: Pace, units: int) -> Budget:
    noun = _noun(run)
    made = chosen.replace(train=chosen.train.replace(**{_field(run): units}))
    size = made.model.input[1]
    own, all_of_it = run.model.input[1], units == _length(run)
    folds = deadline.folds
    takes = folds * _seconds(made, source, pace, units)
    length = f"all {counted(units, noun)}" if all_of_it and units > 1 else counted(units, noun)
    measured = f"measured {_rate(1 / pace.trained)}"
    if size != own:
        least = _worthwhile(run)
        full = duration(folds * _seconds(run, source, first, least))
        why = f"{measured}; at {own} px {_rate(1 / first.trained)}, where {counted(least, noun)} would take {full}"
    elif all_of_it:
        why = f"{measured}; about {duration(takes)} from here"
    else:
        whole = duration(folds * _seconds(run, source, pace, _length(run)))
        why = f"{measured}; {counted(_length(run), noun)} would take {whole}"
    edits = [f"--set preparation.crop={size} --set preparation.resize={made.preparation.resize}"] if size != own else []
    flag = f"--epochs {units}" if noun == "epoch" else f"--set train.iterations={units}"
    return Budget(
        made,
        source,
        deadline,
        pace,
        (
            f"{deadline}: {length} at {size} px{_of_folds(deadline)} ({why})",
            Detail(f"the same without a clock: {' '.join([flag, *edits])}"),
        ),
    )


def _window(room: float) -> float:
    return max(LEAST_WINDOW, WINDOW * room)


def _too_short(smallest: Run, source: Source, deadline: Deadline, pace: Pace, run: Run) -> str:
    seconds = deadline.spent + 1.1 * deadline.folds * _seconds(smallest, source, pace, 1) / FILLED
    minutes = ceil(seconds / 6) / 10 if seconds < 600 else ceil(seconds / 60)
    return (
        f"--minutes {deadline.minutes:g}: {counted(1, _noun(run))} at {smallest.model.input[1]} px"
        f"{_of_folds(deadline)} does not fit ({_rate(1 / pace.trained)} measured, {duration(deadline.spent)} gone so "
        f"far); the shortest is --minutes {minutes:g}"
    )


def _of_folds(deadline: Deadline) -> str:
    return f" in each of {deadline.folds} folds" if deadline.folds > 1 else ""


def _units(run: Run, source: Source, pace: Pace, deadline: Deadline) -> int:
    return _needs(run, source, pace).fitting(FILLED * deadline.left)


def _seconds(run: Run, source: Source, pace: Pace, units: int) -> float:
    needs = _needs(run, source, pace)
    return needs.rest + units * needs.unit


def _needs(run: Run, source: Source, pace: Pace) -> Needs:
    images = len(source.train)
    epoch = images * pace.trained + _num(source, "val") * pace.answered
    share = 1.0 if run.train.epochs is not None else run.train.batch_size / images
    return Needs(share * epoch, pace.before + _end(source, pace))


def _end(source: Source, pace: Pace) -> float:
    reported = _num(source, "test") + _num(source, "val")  # these tell the temperature
    return reported * max(pace.answered, pace.reported) + END_SECONDS * pace.burden


def _smaller(run: Run) -> list[Run]:
    """The run at the smaller sizes that its network takes with the same weights."""
    prepared, own = run.preparation, run.preparation.size
    if own is None or run.recipe not in SHRINKING:
        return []
    found = []
    parameters = cost(run.model.architecture()).parameters
    for size in (size for size in SIZES if size < own):
        resize = None if prepared.resize is None else round(prepared.resize * size / own)
        model = run.model.replace(input=(run.model.input[0], size, size))
        try:
            network = model.architecture()
        except InputError:
            continue
        if cost(network).parameters == parameters:
            found.append(run.replace(model=model, preparation=prepared.replace(crop=size, resize=resize)))
    return found


def _scaled(pace: Pace, run: Run, smaller: Run) -> Pace:
    """The pace at a smaller size, as far as operations tell."""
    share = cost(smaller.model.architecture()).macs / cost(run.model.architecture()).macs
    return pace.replace(trained=share * pace.trained, answered=share * pace.answered)


def _length(run: Run) -> int:
    return run.train.epochs or run.train.iterations or 1


def _worthwhile(run: Run) -> int:
    return max(1, _length(run) // WORTHWHILE)


def _field(run: Run) -> str:
    return "epochs" if run.train.epochs is not None else "iterations"


def _noun(run: Run) -> str:
    return "epoch" if run.train.epochs is not None else "step"


def _num(source: Source, split: str) -> int:
    images = {"val": source.val, "test": source.test}[split]
    return 0 if images is None else len(images)


def _rate(images: float) -> str:
    return f"{images:,.0f} images/s" if images >= 20 else f"{images:.1f} images/s"
