"""How a run shows itself: a live line on a terminal, a plain line an epoch elsewhere; always on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from deepres.recipes.execute import Event
from deepres.train.loop import Epoch, Step

RECENT = 0.05  # weight of the newest step in the figures on the live line
PLAIN_SECONDS = 60  # how often an epoch in progress is reported where there is no terminal


class Display:
    """Called with each event of a run."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._loss = self._error = self._speed = self._waited = 0.0
        self._seen = 0
        self._said = monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Epoch):
            self._console.print(_line(event), soft_wrap=True)
            self._said = monotonic()
        else:
            self._console.print(event, soft_wrap=True, markup=False)

    def _step(self, step: Step) -> None:
        weight = max(RECENT, 1 / (self._seen + 1))
        self._seen += 1
        error, waited = step.wrong / step.images, step.waited_seconds / step.seconds
        self._loss += weight * (step.loss - self._loss)
        self._error += weight * (error - self._error)
        self._speed += weight * (step.images / step.seconds - self._speed)
        self._waited += weight * (waited - self._waited)
        if self._console.is_terminal:
            if self._task is None:
                self._task = self._live.add_task("training", total=step.total, figures="")
            self._live.update(self._task, completed=step.step, figures=self._figures())
        elif monotonic() - self._said > PLAIN_SECONDS:
            self._console.print(f"step {step.step:>8,}  {self._figures()}", soft_wrap=True)
            self._said = monotonic()

    def _figures(self) -> str:
        return (
            f"loss {self._loss:.3f}  error {100 * self._error:5.2f} %  {self._speed:,.0f} images/s  "
            f"waiting for data {100 * self._waited:.0f} %"
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._live.stop()


def _line(epoch: Epoch) -> str:
    tally = epoch.tally
    loss, error, speed = tally.loss / tally.seen, tally.wrong / tally.seen, tally.seen / tally.seconds
    val = ""
    if epoch.val is not None:
        mark = "  (best)" if epoch.best else ""
        val = f"  val loss {epoch.val.loss:.4f} error {100 * epoch.val.error:5.2f} %{mark}"
    return (
        f"epoch {epoch.epoch:>4}  train loss {loss:.4f} error {100 * error:5.2f} %{val}"
        f"  rate {epoch.rate:.4g}  {speed:,.0f} images/s"
        f"  waiting for data {100 * tally.waited / tally.seconds:.0f} %"
    )


@contextmanager
def display(shown: bool) -> Iterator[Callable[[Event], None]]:
    """A `Display`, or one that shows nothing: of several processes the first speaks for all."""
    if not shown:
        yield lambda _: None
        return
    with Display() as live:
        yield live


@contextmanager
def showing(alone: bool) -> Iterator[Callable[[str, Event], None]]:
    """For runs one after another a `Display` of each; for several at once `told`, which works from any process."""
    if not alone:
        yield told
        return
    with ExitStack() as stack:
        shown: dict[str, Display] = {}

        def show(name: str, event: Event) -> None:
            if name not in shown:
                stack.close()
                shown[name] = stack.enter_context(Display())
            shown[name](event)

        yield show


def told(name: str, event: Event) -> None:
    """A line on stderr that begins with the run's name: an epoch's, or what is said; steps are passed over."""
    if not isinstance(event, Step):
        print(f"{name}: {_line(event) if isinstance(event, Epoch) else event}", file=sys.stderr, flush=True)


class Count:
    """`done of total` on a terminal, nothing elsewhere."""

    def __init__(self, what: str, shown: bool = True) -> None:
        console = Console(stderr=True)
        columns = (TextColumn(what), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
        self._live = Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal))
        self._task: TaskID | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._task is None:
            self._task = self._live.add_task("", total=total)
        self._live.update(self._task, completed=done)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._live.stop()
