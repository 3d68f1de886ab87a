"""How work that takes long shows itself: a live line on a terminal, elsewhere a plain line every 30 s; on stderr."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event, RLock, Thread
from time import monotonic
from types import TracebackType
from typing import Any, Self

from deepres.base.events import Doing, OnProgress
from deepres.base.wording import duration, shown

EVERY = 30.0
"""Seconds after which a line is due where there is no terminal."""

_DRAWN = 0.2  # seconds between two drawings of the live line
_BAR = 24


class Watch:
    """What is being done, shown by a thread of its own, so that no part of the work has to think of it.

    `live` says that `out` is a terminal whose lines can be drawn over; `clock` gives seconds.
    """

    def __init__(
        self,
        what: str,
        *,
        out: Any = None,
        live: bool | None = None,
        visible: bool = True,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._out = sys.stderr if out is None else out
        self._draw: Callable[[str], Any] = getattr(self._out, "draw", self._out.write)
        self._live = visible and (_can_draw(self._out) if live is None else live)
        self._shown, self._clock = visible, clock
        self._lock, self._ended = RLock(), Event()
        self._drawn = self._amid = False  # whether the live line stands there, or half a line of others
        self._now, self._figures = Doing(what), tuple[str, ...]()
        self._said = clock()
        self._begun = {what: (self._said, 0)}  # when each kind of work began, and from which number
        self._done = {what: 0}
        self._thread: Thread | None = None

    def __call__(self, now: Doing, figures: Sequence[str] = ()) -> None:
        """This is being done now; `figures` are shown beside it, the most telling first."""
        now = replace(now, what=shown(now.what))
        with self._lock:
            if now.done <= self._begun.get(now.what, (0.0, now.done))[1] or now.done < self._done[now.what]:
                self._begun[now.what] = (self._clock(), now.done)
            self._done[now.what] = now.done
            self._now, self._figures = now, tuple(figures)

    def counting(self, what: str) -> OnProgress:
        """`on_progress(done, total)` of this."""
        return lambda done, total: self(Doing(what, done, total))

    def hear(self, event: Doing | str) -> None:
        """What work says of itself: what is being done, or a line that stays."""
        if isinstance(event, Doing):
            self(event)
        else:
            self.say(event)

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._shown:
            self.write(self._out, f"{line}\n")
            self._said = self._clock()

    def write(self, out: Any, text: str) -> None:
        """Text for a stream that may be the same terminal: above the live line."""
        with self._lock:
            self._wipe()
            out.write(shown(text, "\n\t"))
            out.flush()
            self._amid = bool(text) and not text.endswith("\n")

    def beat(self) -> None:
        """Draw the live line anew; or say, where none is, what is being done, if nothing was said for so long."""
        with self._lock:
            if self._live:
                if not self._amid:
                    self._draw("\r" + self.line(_columns(self._out) - 1) + "\x1b[K")
                    self._out.flush()
                    self._drawn = True
            elif self._shown and self._clock() - self._said >= EVERY:
                self.say(self.line())

    def line(self, width: int | None = None) -> str:
        """`training: 31 %, 12 min left, 3,120 of 10,000, loss …`: of its parts as many as fit into `width` columns.

        Percent and time stay longest; then what is done is cut short.
        """
        now, (since, first) = self._now, self._begun[self._now.what]
        spent, gained = self._clock() - since, now.done - first
        parts = []
        if now.total:
            parts.append(f"{100 * now.done / now.total:.0f} %")
        if now.total and gained > 0 and spent >= 1:
            parts.append(f"{duration(spent * (now.total - now.done) / gained)} left")
        elif spent >= 1:
            parts.append(f"for {duration(spent)} so far")
        keep = len(parts)
        if now.total:
            parts.append(f"{now.done:,} of {now.total:,}")
        parts += self._figures
        if width is None:
            return _joined(now.what, parts)
        while len(_joined(now.what, parts)) > width and len(parts) > keep:
            parts.pop()
        while len(tail := _joined("", parts)) > width and parts:
            parts.pop()
        what = now.what if len(now.what) + len(tail) <= width else f"{now.what[: max(0, width - len(tail) - 1)]}…"
        line = _joined(what, parts)[:width]
        bar = min(_BAR, width - len(line) - 1)
        return f"{line} {self._bar(now.done / now.total, bar)}" if now.total and bar >= 8 else line

    def _bar(self, share: float, size: int) -> str:
        done, left = ("━", "─") if (self._out.encoding or "").lower().startswith("utf") else ("#", "-")
        full = round(min(1.0, share) * size)
        return done * full + left * (size - full)

    def __enter__(self) -> Self:
        self._streams = sys.stdout, sys.stderr
        if self._shown:
            self._thread = Thread(target=self._run, daemon=True)
            self._thread.start()
        if self._live:
            sys.stdout, sys.stderr = (_Above(out, self) if out.isatty() else out for out in self._streams)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._wipe()
        sys.stdout, sys.stderr = self._streams

    def _run(self) -> None:
        while not self._ended.wait(_DRAWN if self._live else 1.0):
            try:
                self.beat()
            except (OSError, ValueError):  # nobody is there to read any more
                return

    def _wipe(self) -> None:
        if self._drawn:
            self._drawn = False
            self._draw("\r\x1b[K")
            self._out.flush()


class _Above:
    """A stream to the terminal that the live line is on: what is written comes above it."""

    def __init__(self, out: Any, watch: Watch) -> None:
        self._out, self._watch = out, watch

    def write(self, text: str) -> int:
        self._watch.write(self._out, text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


def _joined(what: str, parts: Sequence[str]) -> str:
    return f"{what}: {', '.join(parts)}" if parts else what


def _can_draw(out: Any) -> bool:
    """Whether it is a terminal that draws, and whose owner wants no plain text."""
    plain = os.environ.get("TERM") in ("dumb", "unknown") or os.environ.get("NO_COLOR")
    return out.isatty() and not plain


def _columns(out: Any) -> int:
    """The width of the terminal that `out` is, or what COLUMNS says."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(out.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
