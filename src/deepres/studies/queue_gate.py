"""Where every event of a queue's runs passes: they are held there while it is paused, and asked to stop in its time."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from deepres.base.events import Doing
from deepres.runs.lock import asked_to_stop
from deepres.runs.train import Event
from deepres.studies.executor import OnJobEvent
from deepres.studies.queue_status import NOW, PAUSED, Now
from deepres.train.loop import Step

LOOK = 0.5
"""Seconds after which a queue that is paused looks whether it still is."""


@dataclass
class Gate:
    """Every event of a run passes here: the run is held while the queue is paused, and asked to stop in its time.

    `asked` are the signals that came while no run listened; `ends` is when the time is over, by `clock`.
    """

    home: Path
    show: OnJobEvent
    asked: list[int]
    ends: float | None = None
    clock: Callable[[], float] = monotonic
    wait: Callable[[float], None] = sleep
    now: Now = field(default_factory=Now)
    _told: bool = False  # a run that trains has heard that it is to stop

    @property
    def late(self) -> bool:
        """Whether the queue's time is over."""
        return self.ends is not None and self.clock() >= self.ends

    @property
    def over(self) -> bool:
        """Whether no other run is to be begun."""
        return bool(self.asked) or self.late

    def __call__(self, name: str, event: Event) -> None:
        """Show the event; hold the run here if need be; between two steps, where it listens, ask it to stop."""
        self.show(name, event)
        self.hold()
        if isinstance(event, Step) and self.over and not self._told:
            self._told = True
            signal.raise_signal(self.asked[0] if self.asked else signal.SIGTERM)

    def hold(self) -> None:
        """Stay here as long as the queue is paused; a signal that asks to stop is passed on to who listens outside."""
        if self._told or self.over or not self.is_paused():
            return
        self.write(self.now.replace(held=True))
        self.show(self.now.runs[0] if self.now.runs else "", Doing("paused until --unpause"))
        with asked_to_stop() as asked:
            while self.is_paused() and not asked and not self.over:
                self.wait(LOOK)
        self.write(self.now.replace(held=False))
        if asked:
            signal.raise_signal(asked[0])
            self._told = not self.asked

    def is_paused(self) -> bool:
        """Whether the file that pauses lies there."""
        return (self.home / PAUSED).exists()

    def write(self, now: Now) -> None:
        """Say what is being done, for `--status` and `--pause`."""
        self.now = now
        now.save(self.home / NOW)

    def refuse(self, name: str, reason: str) -> None:
        """Say that a run cannot go on, and why; the others are not kept waiting by it."""
        self.write(self.now.replace(refused={**self.now.refused, name: reason}))
        self.show(name, f"could not go on: {reason}")
