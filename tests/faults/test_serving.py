"""A server's memory, in small; `serving.py` measures it in earnest."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from serving import MOST_GROWTH, measured


@pytest.mark.slow
def test_a_server_keeps_nothing_of_what_it_was_asked() -> None:
    facts = measured(600, 3)
    assert set(facts["statuses"]) == {200, 413, 422}
    assert facts["growth"] < MOST_GROWTH + 0.1  # the heap's holes fill within the first thousands
    assert facts["growth_by_reloads"] < MOST_GROWTH + 0.05
    assert facts["exit_code"] == 0
