"""What the C library does with memory that is freed: kept for the next step, or given back to the system."""

import ctypes
import sys


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory instead of giving it back: maps are taken and freed at every step.

    Returning them costs a page fault for every 4 KiB of them, a tenth of a ResNet-20 step on a CPU. Where the C library
    has no such switch nothing is done, and False is returned.
    """
    return _heap(mmap_threshold=2**25, trim_threshold=2**31 - 1)


def return_freed_memory() -> bool:
    """Have glibc give back every freed tensor from a megabyte on: nothing is lost to holes, and steps are slower.

    Of very deep networks the heap's holes have been measured to take 2.8 times the bytes in use (evidence/memory_*).
    """
    return _heap(mmap_threshold=2**20, trim_threshold=2**20)


def _heap(mmap_threshold: int, trim_threshold: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(-3, mmap_threshold)) and bool(mallopt(-1, trim_threshold))  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
