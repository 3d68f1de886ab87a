"""One JSON line for each request and event, written by a thread of its own: a reader that stands still stops nobody.

Never pixels, never tokens: of a request its path, sizes and times.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Full, Queue
from threading import Thread
from typing import Any

from starlette.types import Scope

_MOST = 10_000
"""Lines that wait to be written; then they are counted instead."""


@dataclass
class LogEntry:
    """What a log line says of a request; handlers fill it in."""

    number: str
    model: str | None = None
    images: int | None = None
    bytes: int | None = None
    px: int | None = None
    queue_ms: float | None = None
    decode_ms: float | None = None
    network_ms: float | None = None
    batch: int | None = None
    problem: str | None = None
    status: int = 0
    whole: bool = field(default=False, repr=False)


def entry_of(scope: Scope) -> LogEntry:
    """The entry of the request that this scope is of."""
    found: LogEntry = scope["deepres.entry"]
    return found


class Logs:
    """Where lines go: `write` is given one at a time."""

    def __init__(self, write: Callable[[str], Any] | None = None) -> None:
        self._write, self._lines, self.lost = write or _to_stdout, Queue[str | None](_MOST), 0
        self._writer = Thread(target=self._work, name="logs", daemon=True)
        self._writer.start()

    def __call__(self, event: str, **facts: object) -> None:
        """A line: when, which event, its facts; those that are None left out."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        said = {"time": now, "event": event, **{name: value for name, value in facts.items() if value is not None}}
        try:
            self._lines.put_nowait(json.dumps(said, default=str))
        except Full:
            self.lost += 1

    def close(self, seconds: float = 1.0) -> None:
        """Write what waits, for so long at most."""
        try:
            self._lines.put(None, timeout=seconds)
        except Full:
            return
        self._writer.join(seconds)

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(line)
            except Exception:  # nobody reads, a full disk: the server goes on
                self.lost += 1


def _to_stdout(line: str) -> None:
    """Past Python's buffer, which would keep what a full disk refuses, and fail with it at the end."""
    data, place = f"{line}\n".encode(), sys.stdout.fileno()
    while data:
        data = data[os.write(place, data) :]
