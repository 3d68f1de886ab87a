import subprocess
import sys

import pytest

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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap"),
]


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
