"""All loggers of a run at once; one that fails is told of and left out, and the run goes on."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from deepres.base.errors import DeepresError
from deepres.base.events import Detail
from deepres.base.extras import need
from deepres.base.reading import cause_text
from deepres.base.wording import shown
from deepres.train.history import HISTORY
from deepres.train.loggers.csv_table import CsvTable
from deepres.train.loggers.logger import About, Ended, EpochRow, Logger
from deepres.train.loggers.mlflow_run import MlflowRun
from deepres.train.loggers.names import LoggerName
from deepres.train.loggers.tensorboard import TensorBoard
from deepres.train.loggers.wandb_run import WandbRun


def loggers(names: Sequence[LoggerName]) -> dict[str, Logger]:
    """The loggers that a run asks for, by name, none of them begun.

    Raises:
        InputError: the library of one is not installed; the line says how to.
    """
    made: dict[LoggerName, Callable[[], Logger]] = {"csv": CsvTable, "wandb": WandbRun, "mlflow": MlflowRun}
    found: dict[str, Logger] = {}
    for name in names:
        if name in made:
            found[name] = made[name]()
            continue
        if name == "tensorboard":
            need("tensorboard", "--log tensorboard")
        if name == "tensorboard" or _is_there("tensorboard"):
            found["tensorboard"] = TensorBoard()
    return found


class AllLoggers:
    """What each of the loggers is told, from `begin` to the end of the block, however it ends.

    `stopped` is the error of a run that was asked to stop. `on_event` hears of a logger that fails, once.
    """

    def __init__(
        self,
        each: Mapping[str, Logger],
        on_event: Callable[[Any], None],
        stopped: type[BaseException] = KeyboardInterrupt,
    ) -> None:
        self._each, self._on_event, self._stopped = dict(each), on_event, stopped

    def begin(self, about: About) -> None:
        """The run begins, or goes on; where it can be seen is told."""

        def begun(logger: Logger) -> None:
            if where := logger.begin(about):
                self._on_event(Detail(shown(where)))

        self._all(begun)

    def row(self, row: EpochRow) -> None:
        """An epoch has ended."""
        self._all(lambda logger: logger.row(row))

    def result(self, figures: Mapping[str, float]) -> None:
        """What was measured at the end."""
        self._all(lambda logger: logger.result(figures))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        ended: Ended = "failed"
        if kind is None or issubclass(kind, (self._stopped, KeyboardInterrupt)):
            ended = "finished" if kind is None else "stopped"
        self._all(lambda logger: logger.close(ended))

    def _all(self, tell: Callable[[Logger], None]) -> None:
        for name, logger in list(self._each.items()):
            try:
                tell(logger)
            except Exception as cause:
                del self._each[name]
                with suppress(Exception):
                    logger.close("failed")
                why = cause.message if isinstance(cause, DeepresError) else cause_text(cause)
                self._on_event(f"--log {name}: {shown(why)}; the run goes on without it, {HISTORY} has every epoch")


def _is_there(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ValueError:  # it was marked as missing
        return False
