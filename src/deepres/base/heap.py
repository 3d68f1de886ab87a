"""What the C library does with memory that is freed: kept for the next step, or given back to the system."""

import ctypes
import re
import sys
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""mallopt's numbers, from malloc.h."""


def keep_freed_memory(*, of_any_size: bool = False) -> bool:
    """Have glibc keep freed memory instead of giving it back: maps are taken and freed at every step.

    Returning them costs a page fault for every 4 KiB of them: a tenth of a ResNet-20 step on a CPU, half of ResNet-50's
    time for 32 images. From 32 MiB on glibc gives every block back all the same, but `of_any_size`: for passes without
    gradients, whose maps live briefly; the heap's holes take memory all the same (1.4 times as much for 250 images, see
    evidence/evaluation_batches.json). Where the C library has no such switch, or another allocator serves, nothing is
    done, and False is returned.
    """
    return _heap(mmap_threshold=2**25, trim_threshold=-1, mmap_max=0 if of_any_size else 2**16)


def return_freed_memory() -> bool:
    """Have glibc give back every freed tensor from a megabyte on: nothing is lost to holes, and steps are slower.

    Of very deep networks the heap's holes have been measured to take 2.8 times the bytes in use (evidence/memory_*).
    """
    return _heap(mmap_threshold=2**20, trim_threshold=2**20, mmap_max=2**16)


def preloaded_allocator() -> str | None:
    """The allocator that answers in place of the C library's, where one is preloaded: jemalloc, tcmalloc or mimalloc.

    What is said here of glibc does not hold of these: tcmalloc's heap has no such holes between the tensors of very
    deep networks, and takes no more time (`save tcmalloc` in evidence/memory_*).
    """
    maps = Path("/proc/self/maps")
    try:
        found = re.search(r"/lib(jemalloc|tcmalloc|mimalloc)[^/\n]*\.so", maps.read_text())
    except OSError:  # another system
        return None
    return found and found[1]


def _heap(mmap_threshold: int, trim_threshold: int, mmap_max: int) -> bool:
    if not sys.platform.startswith("linux") or preloaded_allocator():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    wanted = {_MMAP_THRESHOLD: mmap_threshold, _TRIM_THRESHOLD: trim_threshold, _MMAP_MAX: mmap_max}
    return {mallopt(name, value) for name, value in wanted.items()} == {1}
