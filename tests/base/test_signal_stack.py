"""Handlers of signals after a library has exchanged the stack they run on, and freed it."""

import subprocess
import sys

import pytest

AFTER = """
import ctypes, faulthandler, mmap, os, signal
from contextlib import nullcontext
from deepres.base.signal_stack import _Stack, signal_stack_kept
faulthandler.enable()  # as a stack of its own, as tests and servers have one
handled = []
signal.signal(signal.SIGINT, lambda number, frame: handled.append(number))
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
with {around}:
    place = libc.mmap(None, ctypes.c_size_t(16384), 3, 34, -1, 0)
    assert libc.sigaltstack(ctypes.byref(_Stack(place, 0, 16384)), None) == 0
    libc.munmap(ctypes.c_void_p(place), ctypes.c_size_t(16384))
os.kill(os.getpid(), signal.SIGINT)
print(handled)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the stack of handlers is read as Linux lays it out")
@pytest.mark.parametrize(("around", "ended"), [("signal_stack_kept()", (0, "[2]\n")), ("nullcontext()", (-11, ""))])
def test_a_stack_that_was_freed_while_it_served_is_put_back(around: str, ended: tuple[int, str]) -> None:
    done = subprocess.run([sys.executable, "-c", AFTER.format(around=around)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == ended
