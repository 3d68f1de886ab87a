"""Lines of the log: JSON, in order, and nobody waits for who reads them."""

import json
import threading
from typing import Any

import pytest

from deepres.serve import logs
from deepres.serve.logs import Logs


def test_a_line_is_json_without_what_is_none() -> None:
    lines: list[str] = []
    log = Logs(lines.append)
    log("request", id="1", model=None, path="/a\nb", status=200)
    log("ready")
    log.close()
    first, second = map(json.loads, lines)
    assert {**first, "time": ""} == {"time": "", "event": "request", "id": "1", "path": "/a\nb", "status": 200}
    assert first["time"].endswith("Z")
    assert second["event"] == "ready"
    assert all("\n" not in line for line in lines)


def test_who_does_not_read_stops_nobody_and_what_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_MOST", 3)
    gate, lines = threading.Event(), list[str]()

    def write(line: str) -> Any:
        gate.wait(20)
        lines.append(line)

    log = Logs(write)
    for number in range(10):
        log("request", id=number)
    assert 6 <= log.lost <= 7  # one may be on its way already
    gate.set()
    log.close()
    assert len(lines) == 10 - log.lost


def test_a_full_disk_is_counted_and_the_next_line_is_tried() -> None:
    def write(line: str) -> None:
        raise OSError(28, "No space left on device")

    log = Logs(write)
    log("request")
    log("request")
    log.close()
    assert log.lost == 2
