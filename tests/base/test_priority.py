"""Work that gives way: as the system itself sees it, and what it takes for free processors."""

import subprocess
import sys
from pathlib import Path

import pytest

from deepres.base.priority import free_processors, give_way

ASKED = """
import ctypes, os, platform, threading
from deepres.base.priority import give_way
give_way()
number = {"x86_64": 252, "aarch64": 31}[platform.machine()]
seen = []
def look():
    seen.append((os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), ctypes.CDLL(None).syscall(number, 1, 0) >> 13))
look()
thread = threading.Thread(target=look)
thread.start()
thread.join()
print(seen)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of Linux")
@pytest.mark.medium
def test_a_process_and_the_threads_that_it_begins_have_the_lowest_priority_of_processor_and_disk() -> None:
    ended = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[(19, 3), (19, 3)]"


@pytest.mark.parametrize(
    ("leads", "before", "after", "told"),
    [
        (True, "/autogroup-7 nice 0\n", "19\n", 0),
        (False, "/autogroup-7 nice 0\n", "/autogroup-7 nice 0\n", 1),
        (False, "/autogroup-7 nice 19\n", "/autogroup-7 nice 19\n", 0),
    ],
)
def test_the_session_is_lowered_where_it_is_its_own(
    leads: bool, before: str, after: str, told: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    from deepres.base import priority

    own = tmp_path / "autogroup"
    own.write_text(before)
    monkeypatch.setattr(os, "setpriority", lambda *given: None)
    monkeypatch.setattr(priority.ctypes, "CDLL", lambda *given, **named: type("", (), {"syscall": lambda *words: 0})())
    monkeypatch.setattr(priority, "_shares_by_session", lambda place: True)
    monkeypatch.setattr(os, "getsid", lambda process: os.getpid() if leads else 1)
    lines = give_way(own)
    assert own.read_text() == after
    assert len(lines) == told
    assert not lines or "start it with setsid" in lines[0]


BEFORE = "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 100 0 0 100 0 0 0 0 0 0\ncpu1 0 50 0 100 50 0 0 0 0 0\ncpu2 0 0 0 0 0 0 0 0 0 0\nintr 5"


@pytest.mark.parametrize(
    ("after", "own", "free"),
    [
        ("cpu0 100 0 0 300 0 0 0 0\ncpu1 0 50 0 250 100 0 0 0\ncpu2 0 0 0 9 0 0 0 0", (0, 1, 2), 3),
        ("cpu0 300 0 0 100 0 0 0 0\ncpu1 0 50 0 250 100 0 0 0\ncpu2 0 0 0 9 0 0 0 0", (0, 1), 1),
        ("cpu0 100 200 0 100 0 0 0 0\ncpu1 0 250 0 100 50 0 0 0\ncpu2 9 0 0 0 0 0 0 0", (0, 1, 2), 1),  # niced work
        ("cpu0 100 0 0 100 0 0 0 0\ncpu1 0 50 0 100 50 0 0 0\ncpu2 0 0 0 0 0 0 0 0", (0, 1), 1),  # no time has passed
        ("nothing", (0, 1), 1),
    ],
)
def test_free_are_those_that_were_idle(after: str, own: tuple[int, ...], free: int) -> None:
    texts = iter([BEFORE, after])
    assert free_processors(read=lambda: next(texts), wait=lambda seconds: None, own=frozenset(own)) == free


def test_where_the_system_tells_nothing_one_is_taken() -> None:
    def absent() -> str:
        raise FileNotFoundError

    assert free_processors(read=absent, wait=lambda seconds: None) == 1
