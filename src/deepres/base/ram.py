"""The memory that this process may still take: what the machine has free, within the limits set for it."""

import os
from collections.abc import Iterator
from pathlib import Path


def free_bytes() -> int:
    """Bytes of main memory that this process may still take."""
    return min([_free(Path("/proc/meminfo")), *_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def told_bytes(count: int) -> str:
    """`512 MiB`, `1.5 GiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _free(meminfo: Path) -> int:
    """What Linux says is available; elsewhere the whole memory of the machine."""
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if not hasattr(os, "sysconf"):
        return _UNTOLD
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


_UNTOLD = 8 * 2**30
"""Taken for the memory of a system that does not tell it."""


def _limits(membership: Path, root: Path) -> Iterator[int]:
    """What the control groups of this process leave it, those around them included (versions 1 and 2)."""
    if not membership.is_file():
        return
    for line in membership.read_text().splitlines():
        _, controllers, inner = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = root / controllers
        names = (
            ("memory.max", "memory.current") if not controllers else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        )
        place = top / inner.lstrip("/")
        for folder in (place, *place.parents):
            if not folder.is_relative_to(top):
                break
            limit, used = (_number(folder / name) for name in names)
            if limit is not None and used is not None:
                yield max(0, limit - used + _reclaimable(folder / "memory.stat"))


def _number(path: Path) -> int | None:
    """The number in a control file; None where there is no file or no limit (`max`)."""
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None


def _reclaimable(stat: Path) -> int:
    """File pages that count as used and are given up when memory is wanted."""
    lines = stat.read_text().splitlines() if stat.is_file() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
