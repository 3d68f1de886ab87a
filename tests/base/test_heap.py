import os
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest

from deepres.base import heap

PROGRAM = """
import sys, resource, torch
from deepres.base import heap
torch.set_num_threads(1)
assert eval(f"heap.{sys.argv[1]}")
count, size = int(sys.argv[2]), int(sys.argv[3])
turns = 30
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for turn in range(turns):
    held = [torch.ones(size // 4) for _ in range(count)]
    del held[:]
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / turns)
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap")


def faults(policy: str, count: int, size: int) -> float:
    """Page faults a page of so many tensors of so many bytes, taken 30 times: 1 where all are given back.

    Kept are they after some turns only: what is small lies down in the holes, and the heap grows until all has a place.
    """
    found = subprocess.check_output([sys.executable, "-c", PROGRAM, policy, str(count), str(size)], text=True)
    return float(found) / (count * size / 4096)


@pytest.mark.long
def test_tensors_of_2_mib_are_kept_or_returned_as_told() -> None:
    assert faults("keep_freed_memory()", 100, 2**21) < 0.5
    assert faults("return_freed_memory()", 100, 2**21) > 0.9


@pytest.mark.long
def test_tensors_of_40_mib_are_kept_where_it_is_asked_for() -> None:
    assert faults("keep_freed_memory()", 2, 40 * 2**20) > 0.9
    assert faults("keep_freed_memory(of_any_size=True)", 2, 40 * 2**20) < 0.5


@pytest.mark.long
def test_the_last_word_counts() -> None:
    assert faults("keep_freed_memory(of_any_size=True) and heap.return_freed_memory()", 2, 40 * 2**20) > 0.9


def test_a_preloaded_allocator_is_seen_and_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = tmp_path / "maps"
    monkeypatch.setattr(heap, "Path", lambda _: maps)
    assert heap.preloaded_allocator() is None  # no such file
    for line, name in (("/usr/lib/libc.so.6", None), ("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "jemalloc")):
        maps.write_text(f"7f00-7f01 r-xp 00000000 00:00 1 {line}\n")
        assert heap.preloaded_allocator() == name
        assert heap.keep_freed_memory() == (name is None)


@pytest.mark.skipif(find_library("jemalloc") is None, reason="jemalloc is not installed")
def test_jemalloc_itself_is_seen() -> None:
    program = "from deepres.base import heap; print(heap.preloaded_allocator(), heap.return_freed_memory())"
    environment = os.environ | {"LD_PRELOAD": str(find_library("jemalloc"))}
    assert subprocess.check_output([sys.executable, "-c", program], env=environment, text=True) == "jemalloc False\n"
