import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_run import SMALL, noise

from deepres.base.errors import InputError
from deepres.export import openvino_folder
from deepres.nn.hardware import saturates_int8
from deepres.predict.exported import openvino_network
from deepres.predict.exported.answerer import read_exported
from deepres.predict.exported.names import is_exported
from deepres.predict.exported.onnx_session import read, session
from deepres.predict.exported.saturation import bits_of_first, bits_of_openvino
from deepres.predict.predictor import Predictor
from deepres.serve.served import files_of

pytest.importorskip("openvino")


@pytest.fixture
def folder(small: Path) -> Path:
    openvino_folder.write(small.parent, openvino_folder.converted(read(small)[0]), SMALL)
    return small.parent


@pytest.mark.medium
def test_a_folder_says_and_answers_what_its_file_does(folder: Path, small: Path) -> None:
    asked = openvino_network.read(folder)
    assert asked.bundle == SMALL
    for number in (1, 2, 7):
        torch.testing.assert_close(asked(noise(number)), session(small)(noise(number)), rtol=1e-4, atol=1e-5)
    assert str(asked).startswith("OpenVINO 20")


def test_either_file_is_the_network_under_whatever_name(folder: Path, tmp_path: Path) -> None:
    for ending in (".xml", ".bin"):
        shutil.copy(folder / f"model{ending}", tmp_path / f"mine{ending}")
    wanted = openvino_network.read(folder)(noise(2))
    for place in (folder / "model.bin", tmp_path / "mine.xml", tmp_path / "mine.bin"):
        assert is_exported(place)
        assert torch.equal(read_exported(place).asked(noise(2)), wanted)
        assert [file.suffix for file in files_of(str(place))] == [".xml", ".bin"]
    (tmp_path / "mine.xml").unlink()
    assert not is_exported(tmp_path / "mine.bin"), "weights of another kind"
    with pytest.raises(InputError, match=r"mine\.xml: no such file; wanted mine\.xml and mine\.bin"):
        read_exported(tmp_path / "mine.xml")


def test_half_a_folder_and_others_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (folder / "model.xml").read_text()
    (folder / "model.xml").write_text(text.replace("deepres_version", "x"))
    with pytest.raises(InputError, match="does not say what it answers"):
        openvino_network.read(folder)
    (folder / "model.bin").unlink()
    with pytest.raises(InputError, match=r"model\.bin: no such file; wanted model\.xml and model\.bin"):
        openvino_network.read(folder)
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(InputError, match=r"needs openvino; pip install 'deepres\[openvino\]'"):
        openvino_network.read(folder)


ENDED = """
import faulthandler, gc, os, signal, sys
faulthandler.enable()
from pathlib import Path
from small_run import noise
from deepres.export import openvino_folder
from deepres.predict.exported import openvino_network
from deepres.predict.exported.answerer import read_exported
from deepres.predict.exported.names import is_exported
from deepres.predict.exported.onnx_session import read
model, _, bundle = read(Path(sys.argv[1]))
if sys.argv[2] == "two":
    first, second = (openvino_network.compiled(openvino_folder.converted(model), bundle, "x") for _ in range(2))
    first(noise(1)), second(noise(1))
    del first
    gc.collect()
    del second
else:
    openvino_folder.quantised(openvino_folder.converted(model), list(noise(100)))
gc.collect()
handled = []
signal.signal(signal.SIGINT, lambda number, frame: handled.append(number))
os.kill(os.getpid(), signal.SIGINT)
print(handled)
"""


@pytest.mark.long
@pytest.mark.parametrize("which", ["two", "calibrated"])
def test_ctrl_c_is_heard_after_networks_that_are_gone(which: str, small: Path) -> None:
    """OpenVINO's plugin frees the stack that signals are handled on, where a process has it several times."""
    home = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", ENDED, str(small), which],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": home},
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["[2]"]), done.stderr


@pytest.mark.slow
def test_eight_bits_answer_nearly_the_same_and_nothing_is_sent(made: Callable[..., tuple[Predictor, Path]]) -> None:
    model, _, bundle = read(made()[1])
    found = openvino_folder.quantised(openvino_folder.converted(model), list(noise(100)))
    kinds = {node.get_type_name() for node in found.get_ops()}
    assert "FakeQuantize" in kinds
    asked = openvino_network.compiled(found, bundle, "x")
    wanted = session(made()[1])(noise(16))
    assert (asked(noise(16)) - wanted).abs().max() < (0.35 if saturates_int8() else 0.15)
    assert (bits_of_first(found), bits_of_openvino(found)) == (7, 8)
    assert os.environ["NNCF_CI"], "NNCF would send telemetry"
