import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_run import NAMES, SIDE, SMALL, noise

from deepres.base.errors import InputError
from deepres.data.transforms.per_batch import normalise
from deepres.export.onnx_file import write
from deepres.predict.exported.onnx_session import read, session
from deepres.predict.predictor import Predictor

Made = Callable[..., tuple[Predictor, Path]]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_file_answers_as_its_network_at_any_batch_without_deepres(made: Made, task: str) -> None:
    predictor, file = made(task)
    run = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    output = "values" if task == "regression" else "probabilities"
    assert [each.name for each in run.get_inputs()] == ["image"]
    assert [each.name for each in run.get_outputs()] == [output]
    for number in (1, 2, 7, 64):
        images = noise(number)
        (found,) = run.run(None, {"image": images.numpy()})
        wanted = predictor.probabilities(normalise(images, predictor.preparation, predictor.statistics))
        torch.testing.assert_close(torch.from_numpy(found).double(), wanted.double(), rtol=1e-5, atol=1e-5)
    assert len(set(found.round(3)[:, 0])) > 5, "answers that are all alike prove nothing"


@pytest.mark.slow
def test_the_batch_is_symbolic_and_the_file_says_what_it_answers(made: Made) -> None:
    predictor, file = made()
    model = onnx.load(file)
    (image,), (answer,) = model.graph.input, model.graph.output
    for each in (image, answer):
        first = each.type.tensor_type.shape.dim[0]
        assert (first.dim_param, first.dim_value) == ("batch", 0)
    assert [dim.dim_value for dim in image.type.tensor_type.shape.dim[1:]] == [3, SIDE, SIDE]
    said = {each.key: each.value for each in model.metadata_props}
    assert json.loads(said["names"]) == {"0": "ant", "1": "bee", "2": "cat"}
    assert json.loads(said["preparation"]) == predictor.preparation.model_dump(mode="json")
    assert json.loads(said["task"])["temperature"]["value"] == 0.7
    assert len(said["weights_sha256"]) == 64
    assert (said["network"], said["license"], said["parity"]) == ("tiny", "not stated", "unchecked")
    assert said["deepres_version"]
    assert {each.domain for each in model.opset_import} == {""}
    assert b"/" + str(Path.home().name).encode() not in file.read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in file.read_bytes(), "a path of this machine"


@pytest.mark.slow
def test_norms_are_folded_and_a_session_gives_what_it_read(made: Made) -> None:
    _, file = made()
    assert not [node for node in onnx.load(file).graph.node if "Normalization" in node.op_type]
    asked = session(file)
    assert asked.bundle.names == NAMES
    assert asked(noise(3)).shape == (3, 3)
    assert str(asked).startswith("onnxruntime 1.")


def test_a_file_says_what_it_answers_and_answers_any_batch(small: Path) -> None:
    asked = session(small)
    assert asked.bundle == SMALL
    for number in (1, 2, 7, 64):
        images = noise(number)
        wanted = (images.float().mean((2, 3)) * torch.tensor([0.1, 0.2, 0.3])).softmax(1)
        torch.testing.assert_close(asked(images), wanted, rtol=1e-4, atol=1e-4)


def _changed(file: Path, tmp_path: Path, change: Callable[[Any], None]) -> Path:
    model = onnx.load(file)
    change(model)
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "other.onnx"


def _foreign(model: Any) -> None:
    model.opset_import.add(domain="com.evil", version=1)
    model.graph.node.add(op_type="Run", domain="com.evil", input=["image"], output=["x"])


def _outside(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _in_a_branch(model: Any) -> None:
    branch = onnx.helper.make_graph([onnx.helper.make_node("X", [], ["y"], domain="com.evil")], "b", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))


def _in_a_function(model: Any) -> None:
    inner = onnx.helper.make_node("Run", ["a"], ["b"], domain="com.evil")
    model.functions.append(onnx.helper.make_function("", "Own", ["a"], ["b"], [inner], model.opset_import))


def _places_outside(model: Any) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32), "sparse"))
    sparse.indices.data_location = onnx.TensorProto.EXTERNAL
    sparse.indices.external_data.add(key="location", value="/etc/shadow")


def _unnamed(model: Any) -> None:
    del model.metadata_props[:]


def _twice(model: Any) -> None:
    next(each for each in model.metadata_props if each.key == "names").value = '{"0": "a", "1": "a", "2": "b"}'


def _fewer(model: Any) -> None:
    next(each for each in model.metadata_props if each.key == "names").value = '{"0": "a"}'


def _renamed(model: Any) -> None:
    model.graph.output[0].name = "other"
    model.graph.node[-1].output[0] = "other"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_foreign, "operators of com.evil, which may run anything"),
        (_in_a_branch, "operators of com.evil"),
        (_in_a_function, "operators of com.evil"),
        (_places_outside, r"weights that lie in /etc/shadow, outside of it"),
        (_outside, r"weights that lie in \.\./\.\./etc/passwd, outside of it"),
        (_unnamed, "does not say what it answers; wanted a file that deepres export wrote"),
        (_twice, "different names"),
        (_fewer, "answers of shape"),
        (_renamed, "gives other, wanted image in uint8 and probabilities"),
    ],
)
def test_files_of_an_enemy_are_refused_in_one_line(small: Path, tmp_path: Path, change: Any, told: str) -> None:
    file = _changed(small, tmp_path, change)
    with pytest.raises(InputError, match=told):
        session(file)(noise(2))


def test_nothing_of_other_domains_is_written(small: Path, tmp_path: Path) -> None:
    model, _, bundle = read(small)
    _foreign(model)
    with pytest.raises(InputError, match=r"com\.evil"):
        write(tmp_path / "x.onnx", model, bundle)
    assert not (tmp_path / "x.onnx").exists()


def test_a_missing_library_is_told_with_its_extra(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(InputError, match=r"needs onnx; pip install 'deepres\[export\]'"):
        read(small)


@pytest.mark.parametrize("content", [b"", b"\x08\x0a", b"PK\x03\x04", b"not at all" * 20])
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"wanted|not an ONNX"):
        session(tmp_path / "x.onnx")


def test_an_absent_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.onnx: cannot be read \(No such file"):
        session(tmp_path / "x.onnx")
