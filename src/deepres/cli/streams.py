"""What goes to stdout and stderr: nothing in it steers a terminal, and a stream that takes no more ends no work."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepres.base.wording import shown

LOST = 74
"""The exit code where stdout could not be written (EX_IOERR)."""

GONE = "nobody reads it any more"


class ReaderGoneError(Exception):
    """Who read stdout, such as `head`, has seen enough; no OSError, which click would take for its own."""


class SafeStream:
    """A stream that makes texts safe to show; a failure to write is kept in `lost`, and nothing is written any more.

    `out` is None where the stream was closed before the program began. A reader that went away (`| head`) is an error
    where `ends` says so.
    """

    buffer = None
    """Nobody writes past it."""
    __slots__ = ("_ends", "_out", "lost")  # no weak reference either, by which click would keep each for ever

    def __init__(self, out: Any, *, ends: bool) -> None:
        self._out, self._ends = open(os.devnull, "w") if out is None else out, ends  # noqa: SIM115, PTH123
        self.lost = "it is closed" if out is None else ""

    def write(self, text: str) -> int:
        """The text, safe to show; an empty one, by which click probes a stream and hears no error, is not written."""
        if text != "":  # of bytes, with which it also probes, it wants the error
            self.draw(shown(text, "\n\t"))
        return len(text)

    def draw(self, text: str) -> None:
        """The text as it is: of our own making."""
        self._try(self._out.write, text)

    def flush(self) -> None:
        """What was written is written."""
        self._try(self._out.flush)

    def go_on(self) -> None:
        """From here on, a reader that goes away ends no work."""
        self._ends = False

    def finish(self) -> None:
        """Write what is held back."""
        self.go_on()
        self.flush()

    def _try(self, work: Any, *arguments: str) -> None:
        if self.lost:
            return
        try:
            work(*arguments)
        except BrokenPipeError:
            self.lost = GONE
            if self._ends:
                raise ReaderGoneError from None
        except OSError as cause:
            self.lost = cause.strerror or "an error"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


@contextmanager
def safe_streams() -> Iterator[SafeStream]:
    """Inside, stdout and stderr are `SafeStream`; stdout, whose failures count, is given."""
    before = sys.stdout, sys.stderr
    out, err = SafeStream(before[0], ends=True), SafeStream(before[1], ends=False)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before


def open_closed() -> None:
    """Give the numbers of stdin, stdout and stderr to the null device where closed, else files would get them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def leave_unwritten() -> None:
    """Let nothing that stdout or stderr still hold be tried again when the program ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except AttributeError:  # closed from the start
            continue
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def command_line() -> str:
    """`deepres train digits`: the command of this process, as it is written down beside what came of it."""
    return " ".join(["deepres", *sys.argv[1:]])
