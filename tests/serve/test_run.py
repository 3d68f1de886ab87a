"""A server as its owner meets it: started, warned, ended by signals, nothing left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from deepres.cli.main import run
from deepres.serve.connections import QUIET_SECONDS
from deepres.serve.run import is_open_to_others

BREAKS = """
import sys, time
if "hang" in sys.argv:
    from deepres.serve import served
    sys.argv.remove("hang")
    served.Served.ask = lambda self, read: time.sleep(3600)
from deepres.cli.main import main
main()
"""


def _refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["serve", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    return line


def test_what_cannot_be_served_is_one_line(
    capsys: pytest.CaptureFixture[str], small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = _refused(capsys, str(small), "--port", str(port), "--device", "cpu")
        assert f"http://127.0.0.1:{port}: the port cannot be taken (Address already in use); choose another" in line
    assert "both are called small" in _refused(capsys, str(small), f"small={small}")
    assert "no such file or folder" in _refused(capsys, str(tmp_path / "none"), "--port", "0")
    assert "net.onnx: " in _refused(capsys, "net.onnx", "--port", "0")
    line = _refused(capsys, "net.onnx", "--port", "0", "--precision", "float32")
    assert "--precision with net.onnx: an exported file answers as it was written" in line
    assert "device cuda with net.onnx: an exported file answers on the CPU" in _refused(
        capsys, "net.onnx", "--port", "0", "--device", "cuda"
    )
    assert "--max-bytes huge: wanted a number" in _refused(capsys, str(small), "--max-bytes", "huge")
    assert "max_pixels: " in _refused(capsys, str(small), "--max-pixels", "1G")
    assert "--host nowhere.invalid: no address of this machine" in _refused(
        capsys, str(small), "--host", "nowhere.invalid"
    )
    (tmp_path / "token").write_text("short")
    assert "wanted one line of at least 8 letters" in _refused(
        capsys, str(small), "--token-file", str(tmp_path / "token")
    )
    monkeypatch.setattr("deepres.cli.serve.find_spec", lambda name: None if name == "fastapi" else name)
    line = _refused(capsys, str(small))
    assert line == "deepres: serve needs an extra (fastapi not there): pip install 'deepres[serve]'"


def test_which_addresses_others_can_reach() -> None:
    hosts = ("127.0.0.1", "localhost", "::1", "127.1.2.3", "0.0.0.0", "::", "192.168.1.5", "example.org")
    assert [is_open_to_others(host) for host in hosts] == [False] * 4 + [True] * 4


Started = tuple[subprocess.Popen[str], int, list[str]]


@pytest.fixture
def start(small: Path) -> Iterator[Callable[..., Started]]:
    """`start(…)`: a server in a process of its own, its port, the lines of its stderr."""
    running: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> Started:
        command = [sys.executable, "-c", BREAKS, "serve", str(small), "--port", "0", "--device", "cpu", *words]
        done = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        running.append(done)
        lines: list[str] = []
        assert done.stderr is not None
        for line in done.stderr:
            lines.append(line)
            if found := re.search(r"ready at http://[^:]+:(\d+) in [\d.]+ s \(import .* s, weights .* s, first", line):
                return done, int(found[1]), lines
        raise AssertionError("".join(lines))

    yield begin
    for one in running:
        one.kill()
        one.wait()
        assert one.stderr is not None
        one.stderr.close()


def _asks(port: int, data: bytes, stop: threading.Event, statuses: list[int], failed: list[str]) -> None:
    """Ask without end on one connection; whoever is told that it ends does not ask again.

    Nor is one promised an answer who asks long after the last: quiet connections end with the server.
    """
    while not stop.is_set():
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            connection.connect()
        except ConnectionRefusedError:
            return
        answered = asked = time.monotonic()
        try:
            while not stop.is_set():
                asked = time.monotonic()
                connection.request("POST", "/v1/predict", data)
                answer = connection.getresponse()
                answer.read()
                answered = time.monotonic()
                statuses.append(answer.status)
                if answer.getheader("connection") == "close":
                    break
        except OSError as cause:
            if asked - answered < QUIET_SECONDS / 2:
                failed.append(repr(cause))
            return
        finally:
            connection.close()


@pytest.mark.slow
def test_sigterm_answers_all_that_was_accepted(start: Callable[..., Started], pictures: Any) -> None:
    process, port, lines = start("--host", "0.0.0.0", "--batch-size", "4")
    assert any("warning: --host 0.0.0.0 without --token-file" in line for line in lines)
    stop, statuses, failed = threading.Event(), list[int](), list[str]()
    threads = [threading.Thread(target=_asks, args=(port, pictures(n), stop, statuses, failed)) for n in range(32)]
    for thread in threads:
        thread.start()
    while len(statuses) < 100:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert set(statuses) == {200}
    with socket.create_server(("0.0.0.0", port)):  # the port is free
        pass


@pytest.mark.long
def test_a_hung_network_is_left_after_the_time_for_it(start: Callable[..., Started], pictures: Any) -> None:
    process, port, _ = start("--drain", "1.5", "--timeout", "60", "hang")
    asking = threading.Thread(target=_asks, args=(port, pictures(), threading.Event(), [], []))
    asking.start()
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 1
    assert time.monotonic() - began < 10
    asking.join()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.long
def test_sighup_takes_up_the_network_anew(start: Callable[..., Started], small: Path) -> None:
    process, port, _ = start()
    connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def since() -> str:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return "".join(line for line in text.splitlines() if line.startswith("deepres_reloads_total"))

    process.send_signal(signal.SIGHUP)
    for _ in range(300):
        if since():
            break
        time.sleep(0.1)
    assert since() == 'deepres_reloads_total{model="small",outcome="done"} 1.0'
    connection.close()
    process.terminate()
    assert process.wait(30) == 0
