"""HDF5 files over which the C library goes on for ever, crashes or opens others: one line, and never in this process."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import ModuleType

import numpy as np
import pytest

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.nn.weights import hdf5
from deepres.nn.weights.hdf5 import read_hdf5
from deepres.nn.weights.keras import read_keras

h5py: ModuleType = pytest.importorskip("h5py")


def _weights(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"config": {"layers": []}})
        file.create_dataset("dense/dense/kernel:0", data=np.ones((4, 2), ">f4"))
        file.create_dataset("dense/dense/bias:0", data=np.ones(2, "<f8"))
        file.create_dataset("optimizer_weights/names", data=["a"], dtype=h5py.string_dtype())
    return path


def _endless(path: Path) -> Path:
    """The free space of the heap of texts is 0 bytes, by which the library goes on from object to object."""
    content = bytearray(_weights(path).read_bytes())
    start = content.index(b"GCOL")
    place = start + 16
    while number := int.from_bytes(content[place : place + 2], "little"):
        place += 16 + (int.from_bytes(content[place + 8 : place + 16], "little") + 7) // 8 * 8
        assert number < 100
    content[place + 8 : place + 16] = bytes(8)
    path.write_bytes(content)
    return path


def _archived(path: Path) -> Path:
    inside = _endless(path.with_name("inside"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(inside, "model.weights.h5")
    return path


def _of_texts(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("dense/kernel:0", data=["1", "2"], dtype=h5py.string_dtype())
    return path


def _of_references(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("dense/kernel:0", data=[file.ref], dtype=h5py.ref_dtype)
    return path


def _elsewhere(path: Path) -> Path:
    path.with_name("secret").write_bytes(b"secrets!")
    with h5py.File(path, "w") as file:
        file.create_dataset("dense/kernel:0", (2,), "<f4", external=[(str(path.with_name("secret")), 0, 8)])
    return path


def _virtual(path: Path) -> Path:
    layout = h5py.VirtualLayout(shape=(4, 2), dtype="<f4")
    layout[:] = h5py.VirtualSource(str(_weights(path.with_name("other.h5"))), "dense/dense/kernel:0", shape=(4, 2))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("dense/kernel:0", layout)
    return path


def _empty(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("dense/kernel:0", dtype="<f4")
    return path


def _bomb(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("dense/kernel:0", (2**20, 2**10), "<f4", chunks=True, compression="gzip")
    return path


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "made", "told"),
    [
        ("w.h5", _endless, r"reading it takes more than 1 s of the processor"),
        ("w.keras", _archived, r"reading it takes more than 1 s of the processor"),
        ("w.h5", _of_texts, r"which are no numbers"),
        ("w.h5", _of_references, r"which are no numbers"),
        ("w.h5", _elsewhere, r"dense/kernel:0 lies in another file"),
        ("w.h5", _virtual, r"dense/kernel:0 lies in another file"),
        ("w.h5", _empty, r"w\.h5: not "),
        ("w.h5", _bomb, r"would be 4,294,967,296 bytes"),
        ("w.h5", _fifo, r"no regular file"),
    ],
)
def test_what_no_weights_are_is_one_line(
    name: str, made: Callable[[Path], Path], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "SECONDS", 1)
    with pytest.raises(InputError, match=told) as refused:
        read_keras(made(tmp_path / name))
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashes over it, SIGSEGV"),
        ("os.abort()", "crashes over it, SIGABRT"),
        ("os._exit(3)", "ends over it, exit code 3"),
        ("os.write(1, b'\\x08' + bytes(7) + b'{\"array')", "ends over it"),
        ("os.write(1, (2**62).to_bytes(8, 'little') + b'{}')", "w.h5: not a whole HDF5 file"),
        ("sys.stdout.write('x' * 100)", "w.h5: not a whole HDF5 file"),
    ],
)
def test_a_crash_of_the_library_stays_in_its_process(
    act: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "crash.py"
    script.write_text(f"import os, signal, sys\n{act}\n")
    monkeypatch.setattr(hdf5, "_SCRIPT", str(script))
    with pytest.raises(InputError, match=told):
        read_hdf5(_weights(tmp_path / "w.h5"))


@pytest.mark.medium
def test_what_waits_without_computing_is_ended_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "sleeps.py"
    script.write_text("import time\ntime.sleep(60)\n")
    for name, value in {"_SCRIPT": str(script), "SECONDS": 1, "WAITED": 1}.items():
        monkeypatch.setattr(hdf5, name, value)
    began = monotonic()
    with pytest.raises(InputError, match="more than 1 s"):
        read_hdf5(_weights(tmp_path / "w.h5"))
    assert monotonic() - began < 30


@pytest.mark.medium
def test_numbers_come_as_they_are_and_an_optimizers_stay(tmp_path: Path) -> None:
    held = read_hdf5(_weights(tmp_path / "w.h5"))
    assert {name: values.dtype.str for name, values in held.arrays} == {
        "dense/dense/bias:0": "<f8",
        "dense/dense/kernel:0": ">f4",
    }
    assert all((values == 1).all() for _, values in held.arrays)
    assert held.config == '{"config": {"layers": []}}'


@pytest.mark.medium
def test_the_process_is_light_and_leaves_nothing_behind(tmp_path: Path) -> None:
    words = f"import sys, runpy; runpy.run_path({hdf5.__file__!r}); print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
    read_hdf5(_weights(tmp_path / "w.h5"))
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    zombies = children.read_text().split() if children.exists() else []
    assert not [each for each in zombies if str(hdf5.__file__).encode() in Path(f"/proc/{each}/cmdline").read_bytes()]


@pytest.mark.medium
def test_the_command_says_it_and_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hdf5, "SECONDS", 1)
    assert run(["weights", "inspect", str(_endless(tmp_path / "w.h5"))]) == 2
    assert "as over a loop in it" in capsys.readouterr().err
