"""When a run saves its state: as often as it is asked to, as epochs end, and for no more than a share of its time."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from deepres.train.loop import Epoch, Step

SHARE = 0.05
"""Of the time, at most, that goes into states of epochs that follow each other fast: lost epochs are trained again."""
CHEAP = 0.25
"""Seconds: what is saved faster is saved after every epoch."""


class Saving:
    """Whether a state is due; `every` are the seconds of training that may be lost."""

    def __init__(self, every: float) -> None:
        self._every, self._last, self._took = every, monotonic(), 0.0

    def due(self, event: Step | Epoch, *, finished: bool) -> bool:
        """After this event; the end of a run always is."""
        since = monotonic() - self._last
        if finished or since > self._every:
            return True
        return isinstance(event, Epoch) and (self._took < CHEAP or since > self._took / SHARE)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Around the saving of a state."""
        began = monotonic()
        yield
        self._last = monotonic()
        self._took = self._last - began
