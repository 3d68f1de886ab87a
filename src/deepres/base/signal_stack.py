"""The stack that handlers of signals run on in this thread, put back after a library that exchanges it."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """Linux's stack_t."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Afterwards signals of this thread are handled where they were before; what is unused by then is collected within.

    A library that puts its own stack there and frees it while it still serves has the next signal, be it Ctrl-C, end
    the process with a segmentation fault: OpenVINO 2026's processor plugin, where several lie in one process.
    """
    function = None if sys.platform != "linux" else getattr(ctypes.CDLL(None), "sigaltstack", None)
    before = _Stack()
    if function is None or function(None, ctypes.byref(before)) != 0:
        yield
        return
    try:
        yield
    finally:
        gc.collect()
        function(ctypes.byref(before), None)
