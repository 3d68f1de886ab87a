import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import noise, run_folder

from deepres.base.errors import InputError
from deepres.export.facts import bundle_of
from deepres.export.torch_program import program, write
from deepres.predict.exported.torch_program import read
from deepres.predict.predictor import Predictor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Predictor, Path]:
    folder = run_folder(tmp_path_factory.mktemp("run"))
    predictor = Predictor.load(folder, "cpu")
    bundle = bundle_of(predictor, str(folder), input="image")
    write(folder / "model.pt2", program(predictor, bundle), bundle)
    return predictor, folder / "model.pt2"


def test_a_program_answers_as_its_network_at_any_batch_and_size(written: tuple[Predictor, Path]) -> None:
    predictor, file = written
    asked = read(file)
    for number, height, width in ((1, 16, 16), (2, 40, 23), (7, 9, 30), (64, 20, 20)):
        images = noise(number, height, width)
        wanted = predictor.probabilities(torch.stack([predictor.prepare(image) for image in images]))
        torch.testing.assert_close(asked(images), wanted, rtol=1e-4, atol=1e-4)
    assert asked.bundle.names == predictor.classes


def test_nothing_of_this_machine_and_no_pickle_is_in_it(written: tuple[Predictor, Path]) -> None:
    _, file = written
    content = file.read_bytes()
    for word in (str(Path(__file__).parents[2]), str(Path(torch.__file__).parent), "Sequential"):
        assert word.encode() not in content, word
    with zipfile.ZipFile(file) as archive:
        assert not [name for name in archive.namelist() if archive.read(name)[:2] == b"\x80\x02"]


ALONE = """
import sys
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "deepres":
            raise ImportError("there is no deepres")
sys.meta_path.insert(0, Refusing())
import torch
run = torch.export.load(sys.argv[1]).module()
found = run(torch.full((3, 3, 50, 20), 7, dtype=torch.uint8))
assert found.shape == (3, 3) and "deepres" not in sys.modules
print(float(found.sum()))
"""


@pytest.mark.long
def test_torch_alone_loads_it(written: tuple[Predictor, Path], tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text(ALONE)
    told = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "alone.py"), str(written[1])], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert abs(float(told.stdout) - 3) < 1e-4


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("executed",)


def _with(content: bytes, change: Callable[[str, bytes], bytes], extra: str = "") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name.partition("/")[2], old.read(name)))
        if extra:
            new.writestr(old.namelist()[0].partition("/")[0] + "/" + extra, b"x")
    return made.getvalue()


def _program(change: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def changed(name: str, content: bytes) -> bytes:
        if name != "models/model.json":
            return content
        facts = json.loads(content)
        change(facts)
        return json.dumps(facts).encode()

    return changed


def _first(facts: Any, key: str) -> Any:
    """The first object that has the key."""
    if isinstance(facts, dict):
        if key in facts:
            return facts
        facts = list(facts.values())
    for each in facts if isinstance(facts, list) else ():
        found = _first(each, key)
        if found is not None:
            return found
    return None


def _pickled(name: str, content: bytes) -> bytes:
    return pickle.dumps(Evil()) if name == "data/sample_inputs/model.pt" else content


def _weights(name: str, content: bytes) -> bytes:
    return content.replace(b'"use_pickle": false', b'"use_pickle": true', 1) if "weights_config" in name else content


NODES = "graph_module"


@pytest.mark.parametrize(
    ("change", "extra", "told"),
    [
        (_pickled, "", "holds a pickle, which may run anything"),
        (_weights, "", "holds a pickle, which may run anything"),
        (lambda _, content: content, "data/aotinductor/model.so", "holds data/aotinductor/model.so, which no"),
        (_program(lambda f: _first(f, "nodes")["nodes"][0].update(target="torch.hub.load")), "", "target .*torch.hub"),
        (_program(lambda f: _first(f, "nodes")["nodes"][0].update(target="torch.os.system")), "", "target .*may run"),
        (_program(lambda f: _first(f, "nodes")["nodes"][0].update(target="_operator.methodcaller")), "", "target"),
        (_program(lambda f: _first(f, "expr_str").update(expr_str="__import__('os').getcwd()")), "", "expr_str"),
        (_program(lambda f: _first(f, "nodes")["nodes"][0].update(metadata={"custom": "{}"})), "", "metadata"),
        (
            _program(lambda f: _first(f, "in_spec").update(in_spec='[1, {"type": "os.X", "children_spec": []}]')),
            "",
            "in_spec",
        ),
    ],
)
def test_what_could_run_something_is_refused_before_torch_reads_it(
    written: tuple[Predictor, Path], tmp_path: Path, change: Any, extra: str, told: str, capsys: Any
) -> None:
    file = tmp_path / "x.pt2"
    file.write_bytes(_with(written[1].read_bytes(), change, extra))
    with pytest.raises(InputError, match=told):
        read(file)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip"])
def test_what_is_no_program_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt2").write_bytes(content)
    with pytest.raises(InputError, match="not a torch program that deepres export wrote"):
        read(tmp_path / "x.pt2")
