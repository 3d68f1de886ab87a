"""Small networks of Keras: MLPerf Tiny's ResNet-8 as its authors' files are, and what of them is refused."""

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deepres.base.errors import InputError
from deepres.cli.main import run
from deepres.nn.create import create_model
from deepres.nn.weights import hdf5
from deepres.nn.weights.hub import find_weights, is_weights

Values = dict[str, dict[str, np.ndarray]]
NAME = "resnet8_tiny"
STACKS = ((16, 1), (32, 2), (64, 2))


@pytest.fixture(autouse=True)
def _read_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that reads is that of tests/faults/test_hdf5.py."""

    @contextmanager
    def here(path: Path, member: str, seconds: int) -> Iterator[SimpleNamespace]:
        out = io.BytesIO()
        hdf5._answer(str(path), member, out)
        out.seek(0)
        yield SimpleNamespace(stdout=out, returncode=0)

    monkeypatch.setattr(hdf5, "_process", here)


def _conv(name: int) -> str:
    return f"conv2d_{name}" if name else "conv2d"


def _norm(name: int) -> str:
    return f"batch_normalization_{name}" if name else "batch_normalization"


def _values() -> Values:
    """Nine convolutions in Keras's order of creation (two branches, then the shortcut), seven norms, a dense layer."""
    draw = np.random.default_rng(0)
    shapes = [(3, 3, 3, 16)]
    given = 16
    for width, stride in STACKS:
        shapes += [(3, 3, given, width), (3, 3, width, width)]
        shapes += [(1, 1, given, width)] if stride != 1 else []
        given = width
    norms = [16, 16, 16, 32, 32, 64, 64]
    layers: Values = {}
    for number, shape in enumerate(shapes):
        kernel = draw.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape)
        layers[_conv(number)] = {"kernel": kernel, "bias": draw.normal(0, 0.5, shape[3])}
    for number, width in enumerate(norms):
        gamma, variance = draw.uniform(0.5, 1.5, width), draw.uniform(0.001, 2, width)
        beta, mean = draw.normal(0, 0.5, width), draw.normal(0, 0.5, width)
        layers[_norm(number)] = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
    layers["dense"] = {"kernel": draw.normal(0, 0.1, (64, 10)), "bias": draw.normal(0, 0.5, 10)}
    return {layer: {k: v.astype(np.float32) for k, v in tensors.items()} for layer, tensors in layers.items()}


def _order() -> list[str]:
    return [
        *("conv2d", "batch_normalization", "conv2d_1", "batch_normalization_1", "conv2d_2", "batch_normalization_2"),
        *("conv2d_3", "batch_normalization_3", "conv2d_4", "conv2d_5", "batch_normalization_4"),
        *("conv2d_6", "batch_normalization_5", "conv2d_7", "conv2d_8", "batch_normalization_6", "dense"),
    ]


def _logits(values: Values, x: np.ndarray) -> Tensor:
    """Keras's computation in float64, channels last to begin with, padding written out: nothing of ours in it."""

    def conv(x: Tensor, name: str, stride: int) -> Tensor:
        kernel = torch.from_numpy(values[name]["kernel"]).double().permute(3, 2, 0, 1)
        size, side = kernel.shape[2], x.shape[2]
        total = max((-(-side // stride) - 1) * stride + size - side, 0)
        before, after = total // 2, total - total // 2
        bias = torch.from_numpy(values[name]["bias"]).double()
        return F.conv2d(F.pad(x, (before, after, before, after)), kernel, bias, stride)

    def norm(x: Tensor, name: str) -> Tensor:
        g, b, m, v = (torch.from_numpy(values[name][k]).double()[:, None, None] for k in values[name])
        return g * (x - m) / torch.sqrt(v + 0.001) + b

    y = torch.from_numpy(x).double().permute(0, 3, 1, 2)
    y = F.relu(norm(conv(y, "conv2d", 1), "batch_normalization"))
    convs, norms = 1, 1
    for _, stride in STACKS:
        z = F.relu(norm(conv(y, _conv(convs), stride), _norm(norms)))
        z = norm(conv(z, _conv(convs + 1), 1), _norm(norms + 1))
        short = y if stride == 1 else conv(y, _conv(convs + 2), stride)
        convs, norms = convs + 2 + (stride != 1), norms + 2
        y = F.relu(short + z)
    dense = {k: torch.from_numpy(v).double() for k, v in values["dense"].items()}
    return y.mean((2, 3)) @ dense["kernel"] + dense["bias"]


def _config(values: Values, **changed: Any) -> dict[str, Any]:
    """What Keras writes of the model, cut down to what is read; `changed` edits layers by name."""
    layers: list[dict[str, Any]] = [
        {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 32, 32, 3]}}
    ]
    for name in _order():
        kernel = values[name].get("kernel")
        if name.startswith("conv2d"):
            assert kernel is not None
            strided = name in ("conv2d_3", "conv2d_5", "conv2d_6", "conv2d_8")
            more = {"strides": [2, 2] if strided else [1, 1], "padding": "same", "dilation_rate": [1, 1], "groups": 1}
            layers.append({"class_name": "Conv2D", "config": {"name": name, **more, "activation": "linear"}})
        elif name == "dense":
            layers.append({"class_name": "Dense", "config": {"name": name, "activation": "softmax"}})
        else:
            layers.append({"class_name": "BatchNormalization", "config": {"name": name, "epsilon": 0.001}})
            layers.append({"class_name": "Activation", "config": {"name": f"act_{name}", "activation": "relu"}})
    for layer in layers:
        layer["config"] |= changed.get(layer["config"]["name"], {})
    extra = [
        {"class_name": kind, "config": {"name": name, **fields}} for kind, name, fields in changed.get("extra", [])
    ]
    return {"class_name": "Functional", "config": {"layers": [*layers, *extra]}}


def _write(path: Path, values: Values, config: dict[str, Any] | None, form: str) -> Path:
    """tf.keras 2's file, Keras 3's weights alone, or its archive."""
    if form == "keras":
        inner = io.BytesIO()
        _write3(inner, values)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("model.weights.h5", inner.getvalue())
    elif form == "weights":
        _write3(path, values)
    else:
        with h5py.File(path, "w") as file:
            if config is not None:
                file.attrs["model_config"] = json.dumps(config)
            for layer, tensors in values.items():
                for leaf, array in tensors.items():
                    file[f"model_weights/{layer}/{layer}/{leaf}:0"] = array
            file["optimizer_weights/Adam/iter:0"] = np.zeros((), np.int64)
    return path


def _write3(target: Any, values: Values) -> None:
    with h5py.File(target, "w") as file:
        for layer, tensors in values.items():
            for number, array in enumerate(tensors.values()):
                file[f"layers/{layer}/vars/{number}"] = array
            file[f"layers/{layer}/vars"].attrs["name"] = layer
        file["optimizer/vars/0"] = np.zeros((), np.int64)


FORMS = {"h5": "a.h5", "bare": "a.hdf5", "weights": "a.weights.h5", "keras": "a.keras"}


@pytest.mark.medium
@pytest.mark.parametrize("form", FORMS)
def test_the_logits_are_those_of_keras(tmp_path: Path, form: str) -> None:
    values = _values()
    path = _write(tmp_path / FORMS[form], values, None if form == "bare" else _config(values), form)
    x = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    assert is_weights(str(path))
    with pytest.raises(InputError, match=f"by shapes and order its layers are {NAME}'s; look through the table"):
        create_model(NAME, weights=path)
    net = create_model(NAME, weights=path, variant=NAME).eval().double()
    with torch.no_grad():
        ours = net(torch.from_numpy(x).double().permute(0, 3, 1, 2))
    wanted = _logits(values, x)
    assert torch.allclose(ours, wanted, rtol=1e-9, atol=1e-7), (ours - wanted).abs().max()
    others = create_model(f"{NAME}+style.padding=symmetric").eval().double()
    others.load_state_dict(net.state_dict())
    with torch.no_grad():  # the padding shows
        assert not torch.allclose(others(torch.from_numpy(x).double().permute(0, 3, 1, 2)), wanted, rtol=1e-3)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("model", "changed", "said"),
    [
        (
            f"{NAME}+style.eps=1e-5",
            {},
            r"batch_normalization has epsilon 0.001, stem.norm of resnet8_tiny 1e-05; set model",
        ),
        (NAME, {"batch_normalization_3": {"epsilon": 0.01}}, r"batch_normalization_3 has epsilon 0.01"),
        (f"{NAME}+style.padding=symmetric", {}, r"conv2d_3 has padding same, stage2.unit1.branch.conv1 .* 1 on every"),
        (NAME, {"conv2d_4": {"padding": "valid"}}, r"conv2d_4 has padding valid, .* same"),
        (
            NAME,
            {"conv2d_7": {"strides": [2, 2]}},
            r"conv2d_7 has strides 2, stage3.unit1.branch.conv2 of resnet8_tiny 1",
        ),
        (NAME, {"conv2d_1": {"dilation_rate": [2, 2]}}, r"conv2d_1 has dilation 2"),
        (
            NAME,
            {"conv2d_1": {"activation": "elu"}},
            r"conv2d_1 is elu, resnet8_tiny has relu; wanted --set model.style.act",
        ),
        (NAME, {"act_batch_normalization": {"activation": "swish"}}, r"act_batch_normalization is swish"),
        (NAME, {"in": {"batch_shape": [None, 96, 96, 3]}}, r"made for 3x96x96, resnet8_tiny for 3x32x32; wanted --set"),
        (NAME, {"extra": [("ZeroPadding2D", "pad", {})]}, r"the layer pad, a ZeroPadding2D, is not described here"),
        (NAME, {"extra": [("Functional", "inner", {})]}, r"the layer inner, a Functional, is not described here"),
        (
            NAME,
            {"extra": [("Rescaling", "by", {"scale": [1, 2, 3]})]},
            r"Rescaling by \[1, 2, 3\] and 0.0; wanted one, by two",
        ),
        (
            "resnet20_cifar_b+depths=1,1,1",
            {},
            r"does not fit resnet20_cifar_b by structure: conv2d has bias and weight",
        ),
        (f"{NAME}+depths=2,2,2", {}, r"does not fit resnet8_tiny by structure: 10 conv"),
    ],
)
def test_what_the_file_says_is_what_the_description_says(
    tmp_path: Path, model: str, changed: dict[str, Any], said: str
) -> None:
    values = _values()
    path = _write(tmp_path / "a.keras", values, _config(values, **changed), "keras")
    with pytest.raises(InputError, match=said) as caught:
        create_model(model, weights=path, variant=model)
    assert "\n" not in caught.value.message


def test_a_rescaling_in_the_network_is_its_preprocessing(tmp_path: Path) -> None:
    values = _values()
    config = _config(values, extra=[("Rescaling", "by", {"scale": 1 / 127.5, "offset": -1.0})])
    found = find_weights(_write(tmp_path / "a.h5", values, config, "h5")).preprocessing
    assert found is not None
    assert found.mean == pytest.approx((0.5,) * 3)
    assert found.std == pytest.approx((0.5,) * 3)


@pytest.mark.medium
def test_it_is_measured_as_pixels_from_0_to_255(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = _values()
    path = _write(tmp_path / "a.h5", values, _config(values), "h5")
    x = np.random.default_rng(2).integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    y = _logits(values, x.astype(np.float32)).argmax(1).numpy()
    y[:10] = np.arange(10)
    np.savez(tmp_path / "images.npz", x=x, y=y, classes=np.array(list("abcdefghij")))
    right = int((_logits(values, x.astype(np.float32)).argmax(1).numpy() == y).sum())
    plain = ("--preprocessing", "0-255", "--device", "cpu")
    assert run(["eval", str(path), str(tmp_path / "images.npz"), "--variant", NAME, *plain]) == 0
    assert f"{20 - right} of 20 images wrong" in capsys.readouterr().out
    assert run(["eval", str(path), str(tmp_path / "images.npz"), "--variant", NAME]) == 2
    assert "does not say how its images were normalised" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"mobile/depthwise_kernel:0": np.zeros((3, 3, 8, 1))},
            "mobile/depthwise_kernel is no tensor of a convolution",
        ),
        (
            {
                "layers/lstm/vars/0": np.zeros((3, 3)),
                "layers/lstm/vars/1": np.zeros((3, 3)),
                "layers/lstm/vars/2": np.zeros(3),
            },
            "lstm/vars/0 is no",
        ),
        ({"layers/norm/vars/0": np.zeros(3), "layers/norm/vars/1": np.zeros(3)}, "norm/vars/0 is no tensor"),
        ({"optimizer/vars/0": np.zeros(3)}, "no weights in it"),
    ],
)
def test_other_layers_are_refused_by_name(tmp_path: Path, content: dict[str, np.ndarray], said: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in content.items():
            file[name] = values
    with pytest.raises(InputError, match=said):
        find_weights(tmp_path / "a.h5")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x89HDF"])
def test_a_broken_archive_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.keras").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.keras: not a whole Keras archive"):
        find_weights(tmp_path / "a.keras")
