"""The figures of servers: rows over rounds, ratios within a round, and what an earlier start left."""

import json
from pathlib import Path
from typing import Any

import pytest

import serve


def _cell(each: int, name: str, clients: int, rate: float, p50: float = 10.0, p99: float = 12.0) -> dict[str, Any]:
    cell = {"round": each, "contender": name, "clients": clients, "load_before": 0.5}
    return {**cell, "requests_per_second": rate, "p50_ms": p50, "p99_ms": p99}


CELLS = [
    *(_cell(each, "deepres", 32, rate, p99=30) for each, rate in enumerate((20.0, 40.0, 30.0))),
    *(_cell(each, "LitServe, eager", 32, rate, p99=60) for each, rate in enumerate((10.0, 10.0, 10.0))),
    *(_cell(each, "deepres", 1, 9.0) for each in range(3)),
    _cell(0, serve.PREDICT, 0, 25.0),
]


def test_what_was_to_be_reached_is_told_as_ratios_within_a_round() -> None:
    told = serve.verdict(CELLS)
    assert told["requests_per_second_of_litserve_eager"] == {"median": 3.0, "min": 2.0, "max": 4.0}
    assert told["p99_of_litserve_eager"]["median"] == 0.5
    assert told["throughput_of_predict"] == {"median": 0.8, "min": 0.8, "max": 0.8}
    assert told["p99_of_p50_with_one_client"]["median"] == 1.2
    assert told["granian_of_uvicorn"] is None
    row = next(one for one in serve.rows_of(CELLS) if (one["contender"], one["clients"]) == ("deepres", 32))
    assert row["n"] == 3
    assert row["requests_per_second"]["median"] == 30
    assert "images_per_batch" not in row


def test_a_second_start_goes_on_and_one_of_other_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    assert serve.kept(path, {"seconds": 5}) == []
    path.write_text(json.dumps({"settings": {"seconds": 5}, "cells": CELLS}))
    assert serve.kept(path, {"seconds": 5}) == CELLS
    with pytest.raises(SystemExit, match="holds other settings"):
        serve.kept(path, {"seconds": 60})
