"""TensorBoard's events in `RUN/events`."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from deepres.train.loggers.logger import About, Ended, EpochRow, numbers

EVENTS = "events"


class TensorBoard:
    """Scalars such as `train/loss` against the step; what a resumed run shows again, TensorBoard drops."""

    def __init__(self) -> None:
        self._about: About | None = None
        self._events: Any = None

    def begin(self, about: About) -> str:
        self._about = about
        return ""

    def row(self, row: EpochRow) -> None:
        assert self._about is not None
        if self._events is None:  # a run that has ended needs none
            place = self._about.folder / EVENTS
            missed = () if place.is_dir() else self._about.rows
            # it loads slowly, and only training needs it
            writer = import_module("torch.utils.tensorboard").SummaryWriter
            self._events = writer(str(place), purge_step=self._about.step + 1 if not missed else None)
            for before in missed:
                self._add(before)
        self._add(row)
        self._events.flush()

    def result(self, figures: Mapping[str, float]) -> None:
        """It shows curves, and has been shown them."""

    def close(self, ended: Ended) -> None:
        if self._events is not None:
            self._events.close()

    def _add(self, row: EpochRow) -> None:
        for name, value in numbers(row).items():
            self._events.add_scalar(name, value, row["step"])
