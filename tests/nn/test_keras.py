import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from deepres.arch.architecture import with_classes
from deepres.arch.catalogue import lookup
from deepres.base.errors import InputError
from deepres.nn.create import create_model
from deepres.nn.weights.hub import find_weights, is_weights
from deepres.nn.weights.keras import AUTHORS, _named, read_keras

LEAVES = {
    "conv": {"weight": "kernel", "bias": "bias"},
    "norm": {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"},
    "fc": {"weight": "kernel", "bias": "bias"},
}


def _theirs(tensors: dict[str, Tensor], late: bool = False) -> dict[str, np.ndarray]:
    """Keras's names and layouts of our tensors, written out apart from the code under test."""
    found = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        kind = re.sub(r"\d", "", module.rpartition(".")[2])
        if leaf == "num_batches_tracked":
            continue
        values = tensor.numpy()
        if module == "stem.conv" and leaf == "weight":
            values = values[:, ::-1]
        if values.ndim == 4:
            values = values.transpose(2, 3, 1, 0)
        if values.ndim == 2:
            values = values.T
        if module.startswith("stage"):
            stage, unit, part, layer = module.split(".")
            s, u, i = int(stage[5:]) + 1, int(unit[4:]), re.sub(r"\D", "", layer)
            i = i if part == "branch" else "0"
            if late:
                module = f"conv{s}_block{u}_{i}_{'conv' if kind == 'conv' else 'bn'}"
            else:
                branch = "1" if i == "0" else "2" + "xabc"[int(i)]
                module = f"{'res' if kind == 'conv' else 'bn'}{s}{'xabcdef'[u]}_branch{branch}"
        else:
            early = {"stem.conv": "conv1", "stem.norm": "bn_conv1", "head.fc": "fc1000"}
            module = (
                {"stem.conv": "conv1_conv", "stem.norm": "conv1_bn", "head.fc": "predictions"}[module]
                if late
                else early[module]
            )
        found[f"{module}/{LEAVES[kind][leaf]}"] = np.ascontiguousarray(values)
    return found


def _write_js(folder: Path, weights: dict[str, np.ndarray], parts: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    content = b"".join(values.astype("<f4").tobytes() for values in weights.values())
    names = [f"group1-shard{n + 1}of{parts}.bin" for n in range(parts)]
    size = -(-len(content) // parts)
    for number, name in enumerate(names):
        (folder / name).write_bytes(content[number * size : (number + 1) * size])
    listed = [{"name": name, "shape": list(values.shape), "dtype": "float32"} for name, values in weights.items()]
    path = folder / "model.json"
    path.write_text(json.dumps({"weightsManifest": [{"paths": names, "weights": listed}]}))
    return path


def _network(name: str, classes: int):
    network = create_model(with_classes(lookup.architecture(name), classes), seed=3).eval()
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if key.endswith(("running_mean", "bias")):
                value.normal_(0, 0.1)
    return network


def test_names_of_both_generations_are_the_same_layers() -> None:
    assert _named("res2a_branch2b") == _named("conv2_block1_2_conv") == "stage1.unit1.branch.conv2"
    assert _named("bn5c_branch2c") == _named("conv5_block3_3_bn") == "stage4.unit3.branch.norm3"
    assert _named("res3a_branch1") == _named("conv3_block1_0_conv") == "stage2.unit1.shortcut.conv"
    assert _named("res4b22_branch2a") == _named("conv4_block23_1_conv") == "stage3.unit23.branch.conv1"  # Caffe's count
    assert _named("conv2_block1_preact_bn") is None


@pytest.mark.slow
def test_tensorflow_js_and_both_hdf5_give_the_released_network(tmp_path: Path) -> None:
    network = _network("resnet50_caffe", 5)
    tensors = dict(network.state_dict())
    js = _write_js(tmp_path / "js", _theirs(tensors))
    assert is_weights(str(js))
    assert is_weights(str(js.parent))
    with h5py.File(tmp_path / "late.h5", "w") as file:  # as Keras 2.3 and later save a whole model
        for name, values in _theirs(tensors, late=True).items():
            layer = name.split("/")[0]
            file[f"model_weights/{layer}/{name}:0"] = values
        file["optimizer_weights/adam/iterations:0"] = 3
    first = {"moving_mean": "running_mean", "moving_variance": "running_std", "kernel": "W", "bias": "b"}
    with h5py.File(tmp_path / "early.h5", "w") as file:  # as the weights of 2016 are
        for name, values in _theirs(tensors).items():
            layer, leaf = name.split("/")
            file[f"{layer}/{layer}_{first.get(leaf, leaf)}_1:0"] = values
    image = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        wanted = network(image)
        for where in (js.parent, tmp_path / "late.h5", tmp_path / "early.h5"):
            stored = find_weights(where)
            assert stored.description == network.description
            assert stored.preprocessing == AUTHORS
            assert stored.classes == ()  # only 1,000 are ImageNet's
            assert torch.equal(create_model(stored.description, weights=stored).eval()(image), wanted)


@pytest.mark.slow
def test_a_bias_that_the_released_network_has_not_goes_into_the_mean(tmp_path: Path) -> None:
    network = _network("resnet50_caffe", 0)
    tensors = dict(network.state_dict())
    theirs = _theirs(tensors)
    assert not any(name.startswith("fc1000") for name in theirs)  # a file without a head
    bias = np.linspace(-1, 1, 64, dtype=np.float32)
    theirs["res2a_branch2a/bias"] = bias
    stored = read_keras(_write_js(tmp_path, theirs))
    assert stored.description is not None
    assert stored.description.num_classes == 0
    assert stored.classes == ()
    moved = stored.tensors["stage1.unit1.branch.norm1.running_mean"]
    assert torch.equal(moved, tensors["stage1.unit1.branch.norm1.running_mean"] - torch.from_numpy(bias))
    assert "stage1.unit1.branch.conv1.bias" not in stored.tensors


@pytest.mark.medium
def test_bad_files_are_one_line(tmp_path: Path) -> None:
    kernel = {"conv1/kernel": np.zeros((7, 7, 3, 64), np.float32)}
    unit = {"res2a_branch2a/kernel": np.zeros((1, 1, 64, 64), np.float32)}
    with pytest.raises(InputError, match="1 units of a ResNet; wanted Keras's ResNet50"):
        read_keras(_write_js(tmp_path / "a", kernel | unit))
    with pytest.raises(InputError, match="block_1_expand/kernel is no layer of Keras's ResNet50"):
        read_keras(_write_js(tmp_path / "b", unit | {"block_1_expand/kernel": np.zeros(3, np.float32)}))
    cut = _write_js(tmp_path / "c", kernel)
    (cut.parent / "group1-shard3of3.bin").write_bytes(b"")
    with pytest.raises(InputError, match="not a whole TensorFlow"):
        read_keras(cut)
    quantized = json.loads(cut.read_text())
    quantized["weightsManifest"][0]["weights"][0]["quantization"] = {"dtype": "uint8"}
    cut.write_text(json.dumps(quantized))
    with pytest.raises(InputError, match="conv1/kernel is quantized; take the float32 model"):
        read_keras(cut)
    (tmp_path / "x.h5").write_bytes(b"not")
    with pytest.raises(InputError, match="not a whole HDF5 file"):
        find_weights(tmp_path / "x.h5")
    units = {
        f"res{s}{u}_branch2a/bias": np.zeros(3, np.float32)
        for s, last in zip("2345", "cdfc", strict=True)
        for u in "abcdef"[: "abcdef".index(last) + 1]
    }
    with pytest.raises(InputError, match=r"stage1.unit1.branch.conv1.bias without its norm's stage1"):
        read_keras(_write_js(tmp_path / "d", kernel | units))
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["conv1_conv/conv1_conv/bias:0"] = np.zeros(64, np.float32)
        file["res2a_branch2a/res2a_branch2a/bias:0"] = np.zeros(64, np.float32)
    with pytest.raises(InputError, match="no conv1 in it"):
        read_keras(tmp_path / "y.h5")
