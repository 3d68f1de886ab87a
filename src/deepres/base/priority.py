"""Work that gives way: the lowest priority of processors and disk, and how many processors others leave free."""

import ctypes
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import sleep

LOWEST = 19
"""The niceness of what runs only where nothing else wants to."""

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_ITSELF, _IDLE = 1, 3 << 13  # IOPRIO_WHO_PROCESS, the class that gets the disk only when nobody else wants it


def give_way(own: Path = Path("/proc/self/autogroup")) -> list[str]:
    """Lower this process, and the threads that it begins from here on, to the lowest priority; what is left, as lines.

    Niceness 19, the disk only when it is idle. Where Linux shares processors out between sessions first (autogroups),
    niceness counts within a session only: that of a session which this process leads is lowered too. A session of
    others, such as a terminal's, stays as it is.
    """
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST)
    left = []
    number = _IOPRIO_SET.get(platform.machine())
    if number is None or ctypes.CDLL(None, use_errno=True).syscall(number, _ITSELF, 0, _IDLE) != 0:
        left.append("the disk is used at the usual priority: this system has no other")
    if _shares_by_session(own) and not _lowered(own):
        left.append(
            "other sessions are not given way to, as Linux shares processors out between sessions first: start it with "
            "setsid"
        )
    return left


def free_processors(
    seconds: float = 2.0,
    *,
    read: Callable[[], str] = lambda: Path("/proc/stat").read_text(),
    wait: Callable[[float], None] = sleep,
    own: frozenset[int] | None = None,
) -> int:
    """Processors that nothing else uses, measured over `seconds`, of those that this process may use; 1 at least.

    Work of low priority counts as use: beside it, more threads only wait for one another.
    """
    try:
        own = frozenset(os.sched_getaffinity(0)) if own is None else own
        before = _idle(read())
        wait(seconds)
        after = _idle(read())
    except (AttributeError, OSError, ValueError, LookupError):  # no /proc, or one of another form
        return 1
    both = [number for number in before if number in after]
    spent = {number: (after[number][0] - before[number][0], after[number][1] - before[number][1]) for number in both}
    return max(1, round(sum(idle / whole for number, (idle, whole) in spent.items() if number in own and whole > 0)))


def _idle(text: str) -> dict[int, tuple[int, int]]:
    """Processor -> ticks that it was idle, and all ticks; `cpu0 user nice system idle iowait …`."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if name.startswith("cpu") and name != "cpu":
            ticks = [int(each) for each in rest.split()[:8]]
            found[int(name[3:])] = (ticks[3] + ticks[4], sum(ticks))
    return found


def _shares_by_session(own: Path) -> bool:
    with suppress(OSError):
        return own.is_file() and Path("/proc/sys/kernel/sched_autogroup_enabled").read_text().strip() == "1"
    return False


def _lowered(own: Path) -> bool:
    """Whether this process' session has the lowest priority, which it is given where this process leads it."""
    with suppress(OSError):
        if own.read_text().strip().endswith(f"nice {LOWEST}"):
            return True
        if os.getsid(0) == os.getpid():
            own.write_text(f"{LOWEST}\n")
            return True
    return False
