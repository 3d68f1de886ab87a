"""A server in trouble, and its memory, in small; the drill does both in earnest."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from servers import TRIALS, tried
from serving import MOST_GROWTH, measured


@pytest.mark.long
def test_a_server_keeps_nothing_of_what_it_was_asked() -> None:
    facts = measured(400, 3)
    assert set(facts["statuses"]) == {200, 413, 422}
    assert facts["growth"] < MOST_GROWTH + 0.1  # the heap's holes fill within the first thousands
    assert facts["growth_by_reloads"] < MOST_GROWTH + 0.05
    assert facts["exit_code"] == 0


@pytest.mark.long
@pytest.mark.parametrize("name", TRIALS)
def test_a_server_in_trouble_does_what_it_promises(name: str) -> None:
    assert tried(name, random.Random(0)) is None
