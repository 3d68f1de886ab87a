"""A system without fcntl, resource, SIGHUP and other things of POSIX, as Windows is, simulated in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import os, signal, sys
from pathlib import Path
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for module, names in {
    os: "O_NONBLOCK O_CLOEXEC pread sysconf getuid sched_getaffinity".split(),
    signal: "SIGHUP SIGXCPU SIGKILL pthread_sigmask".split(),
}.items():
    for name in names:
        delattr(module, name)
"""
LOCKS = """
from deepres.base.errors import InputError
from deepres.base.locks import is_locked, locked
folder = Path(sys.argv[1])
assert not is_locked(folder)
with locked(folder, "taken"):
    assert is_locked(folder)
    try:
        with locked(folder, "taken"):
            raise SystemExit("two hold it")
    except InputError as refusal:
        assert str(refusal) == f"{folder}: taken", refusal
assert not is_locked(folder)
with locked(folder, "taken"):
    pass
try:
    with locked(folder / "none", "taken"):
        raise SystemExit("no folder")
except InputError as refusal:
    assert "none: cannot be used" in str(refusal), refusal
"""
TRAIN = """
os.chdir(sys.argv[1])
from deepres.cli.main import run
words = "digits --model resnet8_tiny --output one --device cpu --compile off --set train.epochs=none".split()
assert run(["train", *words, "--set", "train.iterations=4", "--set", "train.batch_size=16"]) == 0
assert run(["train", "--resume", "one", "--set", "train.iterations=6"]) == 0
assert run(["predict", "one", *map(str, sorted(Path("one/samples").glob("*.png"))[:1])]) == 0
"""


@pytest.mark.medium
def test_a_folder_is_held_where_there_is_no_fcntl(tmp_path: Path) -> None:
    _run(WITHOUT + LOCKS, tmp_path)


@pytest.mark.long
def test_a_run_begins_and_goes_on_where_there_is_no_posix(tmp_path: Path) -> None:
    _run(WITHOUT + TRAIN, tmp_path)


def _run(program: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
