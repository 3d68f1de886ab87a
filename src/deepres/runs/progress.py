"""How training shows itself: the steps in the live line, and what is said of epochs and of the whole."""

import sys
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

from deepres.base.events import Detail, Doing
from deepres.base.watch import Watch
from deepres.base.wording import counted, duration
from deepres.runs.train import Event
from deepres.train.history import figures, told_figure
from deepres.train.loop import Epoch, Step

RECENT = 0.05  # weight of the newest step in the figures on the live line
PACED = (5.0, 3)  # seconds and steps after which the pace is known well enough to say how long it will take


class Display:
    """Called with each event of a run; details are shown where `verbose`, `fold` says of which of several."""

    def __init__(
        self, watch: Watch, verbose: bool = False, clock: Callable[[], float] = monotonic, fold: str = ""
    ) -> None:
        self._watch, self._verbose, self._clock, self._fold = watch, verbose, clock, f"{fold}: " if fold else ""
        self._means: dict[str, float] = {}
        self._speed = self._waited = 0.0
        self._seen = 0
        self._began: tuple[float, int] | None = None
        self._paced = False

    def __call__(self, event: Event) -> None:
        match event:
            case Step():
                self._step(event)
            case Epoch():
                self._watch.say(line(event))
            case Doing():
                self._watch(replace(event, what=f"{self._fold}{event.what}"))
            case Detail():
                if self._verbose:
                    self._watch.say(event.text)
            case _:
                self._watch.say(event)

    def _step(self, step: Step) -> None:
        weight = max(RECENT, 1 / (self._seen + 1))
        self._seen += 1
        waited = step.waited_seconds / step.seconds
        for name, value in figures(step.loss * step.images, step.counts, step.images).items():
            self._means[name] = self._means.get(name, 0.0) + weight * (value - self._means.get(name, 0.0))
        self._speed += weight * (step.images / step.seconds - self._speed)
        self._waited += weight * (waited - self._waited)
        self._watch(Doing(f"{self._fold}training", step.step, step.total), self._figures())
        self._pace(step)

    def _pace(self, step: Step) -> None:
        """How long it will take, said once: after the first steps, of which the very first (it compiles) counts not."""
        if self._began is None:
            self._began = (self._clock(), step.step)
            return
        began, first = self._began
        spent, steps = self._clock() - began, step.step - first
        if not self._paced and spent >= PACED[0] and steps >= PACED[1] and step.step < step.total:
            self._paced = True
            left = duration(spent * (step.total - step.step) / steps)
            self._watch.say(
                f"about {left} to go: {counted(step.total - step.step, 'step')}, {self._speed:,.0f} images/s"
            )

    def _figures(self) -> tuple[str, ...]:
        return (
            *(" ".join(told_figure(name, value).split()) for name, value in self._means.items()),
            f"{self._speed:,.0f} images/s",
            f"waiting for data {100 * self._waited:.0f} %",
        )


def line(epoch: Epoch) -> str:
    """What an epoch came to."""
    totals = epoch.totals
    shown = {
        "train": figures(totals.loss, totals.counts, totals.seen),
        **({"val": epoch.val.shown} if epoch.val else {}),
    }
    figures_shown = "".join(
        f"  {split} {' '.join(told_figure(name, value) for name, value in known.items())}"
        for split, known in shown.items()
    )
    mark = "  (best)" if epoch.val is not None and epoch.best else ""
    return (
        f"epoch {epoch.epoch:>4}{figures_shown}{mark}"
        f"  lr {epoch.lr:.4g}  {totals.seen / totals.seconds:,.0f} images/s"
        f"  waiting for data {100 * totals.waited / totals.seconds:.0f} %"
    )


def showing(watch: Watch, alone: bool) -> Callable[[str, Event], None]:
    """For runs one after another a `Display` of each; for several at once `print_event`, for any process."""
    if not alone:
        return print_event
    shown: dict[str, Display] = {}

    def show(name: str, event: Event) -> None:
        if name not in shown:
            shown.clear()
            shown[name] = Display(watch)
        shown[name](event)

    return show


def print_event(name: str, event: Event) -> None:
    """A line on stderr that begins with the run's name: an epoch's, or what is said; all else is passed over."""
    if isinstance(event, Epoch | str):
        print(f"{name}: {line(event) if isinstance(event, Epoch) else event}", file=sys.stderr, flush=True)
