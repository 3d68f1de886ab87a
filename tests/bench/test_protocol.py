import json
import sys
from pathlib import Path

import protocol
import pytest
import torch
from protocol import Contender

CPU = torch.device("cpu")


def test_warm_up_is_apart_and_rounds_are_interleaved_in_turning_order() -> None:
    order: list[str] = []
    contenders = [Contender(name, lambda name=name: order.append(name), 1) for name in "ab"]
    seconds = protocol.measure(contenders, 2, warm_up=1, calls=2)
    assert "".join(order) == "ab" + "aabb" + "bbaa"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize("clock", ["wall", "processor"])
def test_seconds_are_those_of_one_call(clock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    time = [0.0]
    monkeypatch.setattr(protocol, "perf_counter" if clock == "wall" else "process_time", lambda: time[0])

    def call() -> None:
        time[0] += 0.5

    assert protocol.measure([Contender("a", call, 1)], 3, calls=4, clock=clock)["a"] == [0.5, 0.5, 0.5]  # type: ignore[arg-type]


def test_ratios_are_formed_within_a_round_and_per_image() -> None:
    contenders = [Contender("base", lambda: None, 2), Contender("other", lambda: None, 4, ready_seconds=1.26)]
    base, other = protocol.rows(contenders, {"base": [1.0, 2.0, 4.0], "other": [1.0, 1.0, 1.0]}, "base")
    assert base["images_per_second"] == {"median": 1.0, "min": 0.5, "max": 2.0}
    assert base["times_as_fast"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert other["times_as_fast"] == {"median": 4.0, "min": 2.0, "max": 8.0}  # not 4 / 1 and the like: round by round
    assert base["against"] == {"other": 0.25}
    assert other["against"] == {"base": 4.0}
    assert other["ready_seconds"] == 1.3
    assert other["n"] == 3


def test_the_spread_has_quartiles_from_four_values_on() -> None:
    assert protocol.spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert protocol.spread([1, 2, 3, 4, 5]) == {"median": 3, "min": 1, "max": 5, "q1": 2, "q3": 4}
    assert protocol.spread([1 / 3])["median"] == 0.3333


def test_a_claim_says_what_it_rests_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["somewhere/x.py", "--output", "a b"])
    protocol.write(protocol.claim("it is fast", CPU, 5, rows=[]), tmp_path / "x.json")
    facts = json.loads((tmp_path / "x.json").read_text())
    assert facts["claim"] == "it is fast"
    assert facts["command"] == "python bench/x.py --output 'a b'"
    assert {"hardware", "threads", "versions", "n", "rows", "load_before"} <= facts.keys()
    assert facts["versions"]["torch"] == torch.__version__


def test_the_table_has_a_line_a_contender() -> None:
    contenders = [Contender("a", lambda: None, 1), Contender("b", lambda: None, 1)]
    rows = protocol.rows(contenders, {"a": [0.5], "b": [0.25]}, "a")
    assert protocol.table("t", rows).splitlines()[3:] == [
        "| a | 2 | 2-2 | 1.00 | 1.00-1.00 |  |",
        "| b | 4 | 4-4 | 2.00 | 2.00-2.00 |  |",
    ]


def test_whole_processes_are_timed_in_turn_and_a_failure_is_an_error() -> None:
    seconds = protocol.commands({"a": ["true"], "b": ["true"]}, 2)
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}
    with pytest.raises(protocol.subprocess.CalledProcessError):
        protocol.commands({"a": ["false"]}, 1)
