"""A forked process is what `subprocess` would have begun: its answer, its streams, its environment, its end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they are subprocess's own"),
]

PROGRAM = """
import json, os, sys, threading, time
print(json.dumps([sys.argv[1:], os.getcwd(), os.environ["OF_TEST"], sys.stdin.read(), os.getsid(0) == os.getpid(),
    sys.path[0], sys.stdout.encoding, threading.active_count()]))
print("to stderr", file=sys.stderr)
sys.exit(3)
"""


@pytest.mark.parametrize("session", [False, True])
def test_it_is_told_what_a_new_process_is_told(tmp_path: Path, session: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_TEST", "é")
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [sys.executable, str(tmp_path / "program.py"), "a b", "c"]
    how = {"cwd": tmp_path, "input": "in", "capture_output": True, "text": True, "start_new_session": session}
    forked, new = processes.run(words, **how), subprocess.run(words, **how, check=False)
    assert (forked.returncode, forked.stdout, forked.stderr) == (3, new.stdout, new.stderr)


@pytest.mark.long
def test_a_command_answers_and_refuses_in_the_same_words(tmp_path: Path) -> None:
    for words in (["describe", "resnet20_cifar"], ["describe", "nothing"], ["train", str(tmp_path / "none")]):
        how = {"capture_output": True, "text": True}
        forked = processes.run([*processes.DEEPRES, *words], **how)
        new = subprocess.run([*processes.DEEPRES, *words], **how, check=False)
        assert (forked.returncode, forked.stdout, forked.stderr) == (new.returncode, new.stdout, new.stderr)


def test_its_end_is_told_whatever_ends_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("print('begun', flush=True)\nimport time\ntime.sleep(600)")
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = processes.Popen(
            [sys.executable, tmp_path / "program.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(number)
        assert process.wait(30) == -number
        assert process.poll() == -number
        process.stdout.close()


def test_what_is_read_in_beginning_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    forked = processes.Popen(processes.DEEPRES, stdout=subprocess.DEVNULL)
    anew = processes.Popen(processes.DEEPRES, env={"PYTHONHASHSEED": "1"}, stdout=subprocess.DEVNULL)
    assert (type(forked) is subprocess.Popen, type(anew) is subprocess.Popen) == (False, True)
    until = time.monotonic() + 60
    while None in (forked.poll(), anew.poll()) and time.monotonic() < until:
        time.sleep(0.01)
    assert (forked.returncode, anew.returncode) == (0, 0)
