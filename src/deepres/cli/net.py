"""The last net: what nobody foresaw ends in one line and exit code 70; the traceback lies in a file that it names."""

import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType

import click

from deepres.base.files import cache_folder
from deepres.base.reading import cause_text
from deepres.base.version import VERSION
from deepres.base.wording import quoted

CODE = 70
"""What sysexits.h calls an internal error of the software."""

OFF = "DEEPRES_TRACEBACK"
"""Set to 1, nothing is caught: tracebacks are shown as Python shows them, as tests and developers want them."""


def caught(work: Callable[[], int]) -> int:
    """The exit code of `work`, or 70 where it raises what it does not tell of itself; interruptions pass.

    Threads that fail are told in the same way, and end nothing.
    """
    if os.environ.get(OFF) == "1":
        return work()
    threading.excepthook = lambda failed: _say(failed.exc_type, failed.exc_value, failed.exc_traceback)
    try:
        return work()
    except Exception as cause:
        _say(type(cause), cause, cause.__traceback__)
        return CODE


def _say(kind: type[BaseException], cause: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, SystemExit):
        return
    what = "" if cause is None else cause_text(cause)
    name = f"{kind.__name__}: " if what != kind.__name__ else ""
    name = "out of memory: " if kind is MemoryError else name
    named = getattr(cause, "filename", None) if isinstance(cause, OSError) else None
    file = f" ({quoted(os.fsdecode(named))})" if isinstance(named, str | bytes) else ""
    rank = f" (process {os.environ['RANK']})" if os.environ.get("RANK", "0") != "0" else ""
    line = f"deepres: {name}{what}{file}{rank}; this was not foreseen; {_kept(kind, cause, trace)}"
    try:
        click.echo(line, err=True)
    except OSError:  # nobody listens
        return


def _kept(kind: type[BaseException], cause: BaseException | None, trace: TracebackType | None) -> str:
    """Where the details lie: the folder for temporary files, else the cache, else the working directory."""
    try:
        text = "".join(
            [
                f"deepres {VERSION}, Python {sys.version.split()[0]} on {sys.platform}, {datetime.now():%F %T}\n",
                f"{[os.fsencode(each) for each in sys.argv]}\n\n",
                *traceback.format_exception(kind, cause, trace),
            ]
        )
    except Exception:  # no memory for that either
        return "details could not be written"
    places: tuple[Callable[[], Path], ...] = (_temporary, cache_folder, Path.cwd)
    for place in places:
        try:
            folder = place()
            folder.mkdir(parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(prefix="deepres-", suffix=".txt", dir=folder)  # for its owner's eyes alone
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except (OSError, RuntimeError):
            continue
        return f"details are in {path}, which a report of the mistake should hold"
    return f"details could not be written anywhere; set {OFF}=1 to see them"


def _temporary() -> Path:
    return Path(tempfile.gettempdir())
