"""Checkpoints as tools write them: the weights alone are taken, or one line says what to choose or leave out."""

import argparse
import collections
import copy
import datetime
import gzip
import os
import pathlib
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from deepres.arch.catalogue.lookup import entry
from deepres.base.errors import InputError
from deepres.base.records import edit
from deepres.cli.main import run
from deepres.nn.create import create_model
from deepres.nn.weights.convert import to_foreign
from deepres.nn.weights.files import read_tensors
from deepres.nn.weights.hub import find_weights
from deepres.nn.weights.names import CIFAR10

Weights = dict[str, Tensor]
SMALL = edit(entry("resnet20_cifar").config, ["depths=1,1,1", "num_classes=3"]).architecture()


@cache
def _ours(seed: int) -> Weights:
    return dict(create_model(SMALL, seed=seed).state_dict())


def _theirs(seed: int = 0) -> Weights:
    """As pytorch_resnet_cifar10 names them."""
    return to_foreign(_ours(seed), SMALL, CIFAR10)


def _behind(prefix: str, tensors: Weights) -> Weights:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _require_loads(path: Path | str, seed: int = 0, **how: Any) -> None:
    net = create_model(SMALL, weights=path, **how)
    given = _ours(seed)
    assert all(torch.equal(tensor, given[name]) for name, tensor in net.state_dict().items())


A, B = _theirs(0), _theirs(1)
HALF = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in A.items()}
FACTS: dict[str, Any] = {
    "epoch": 3,
    "args": argparse.Namespace(lr=0.1, path=pathlib.Path("/data"), when=datetime.datetime(2020, 1, 1)),
    "cfg": types.SimpleNamespace(depth=20, dtype=torch.float16, seen={1, 2}),
    "best": np.float64(93.5),
    "classes": np.array(["cat", "dog"]),
    "optimizer": {"state": {0: {"momentum_buffer": torch.ones(16, 3, 3, 3)}}, "param_groups": [{"lr": 0.1}]},
    "lr_scheduler": {"last_epoch": 3},
    "counts": collections.Counter("aab"),
}


class Ema:
    """As training programs write it down whole."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.decay = module, 0.999


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (f"touch {self.path}",))


class Unknown:
    """Of a module that nobody has here."""


@pytest.mark.medium
@pytest.mark.parametrize(
    "prefix",
    [
        *(
            "module.",
            "_orig_mod.",
            "model.",
            "net.",
            "network.",
            "backbone.",
            "encoder.",
            "0.",
            "student.",
            "ema_model.",
        ),
        *("_orig_mod.module.", "model._orig_mod.", "module.model._orig_mod.net.", "a.b.c.d.e.", "learner.resnet."),
    ],
)
def test_a_prefix_falls_away_whatever_it_is(tmp_path: Path, prefix: str) -> None:
    torch.save(_behind(prefix, A), tmp_path / "theirs.pth")
    _require_loads(tmp_path / "theirs.pth")
    save_file(_behind(prefix, _ours(0)), tmp_path / "ours.safetensors")
    _require_loads(tmp_path / "ours.safetensors")


@pytest.mark.medium
@pytest.mark.parametrize(
    "found",
    [
        *(
            {key: A}
            for key in ("state_dict", "model_state_dict", "weights", "params", "teacher", "model", "net", "ema")
        ),
        {"state_dict": A, **FACTS},
        {"state_dict": _behind("module.", A), "meta": {"CLASSES": ("a", "b", "c"), "epoch": 3}, "message_hub": {}},
        {"checkpoint": {"model": {"weights": A}}, **FACTS},
        (A, 93.5),
        [{"net": A}, FACTS["optimizer"]],
        {"state_dict": A, "state_dict_ema": dict(A)},  # one set twice is one set
        {"model": {name: tensor.numpy() for name, tensor in A.items()}, "__author__": "them"},
        {
            "state_dict": A,
            "pytorch-lightning_version": "2.0",
            "hyper_parameters": FACTS["args"],
            "callbacks": {"x": {}},
        },
        {**A, "epoch": 3, "acc": 0.5},
        collections.OrderedDict(A),
        HALF,
        {"model": HALF, "optimizer": {"fc.weight": {"exp_avg": torch.ones(2, 2, 1, 1)}}},
    ],
)
def test_the_weights_are_found_wherever_they_lie(tmp_path: Path, found: object) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(found, path)
    net = create_model(SMALL, weights=path)
    for name, tensor in net.state_dict().items():
        assert torch.allclose(tensor.double(), _ours(0)[name].double(), atol=1e-3)


@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.ckpt", "a.pth.tar", "a", "a.safetensors", "a.model"])
@pytest.mark.medium
def test_a_file_is_what_it_holds_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    save_file(A, tmp_path / name)
    _require_loads(tmp_path / name)
    if not name.endswith("safetensors"):
        torch.save(A, tmp_path / name)
        _require_loads(tmp_path / name)


@pytest.mark.medium
def test_arrays_are_weights_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{name: tensor.numpy() for name, tensor in A.items()})
    _require_loads(tmp_path / "a.npz")


@pytest.mark.medium
@pytest.mark.parametrize(
    ("found", "said", "keys"),
    [
        ({**_behind("model.", A), **_behind("module.", B)}, "model.… and module.…", {"model": 0, "module": 1}),
        ({**_behind("module.", B), **_behind("model.", A)}, "model.… and module.…", {"model": 0, "module": 1}),
        ({**_behind("student.", A), **_behind("teacher.", B)}, "student.… and", {"student": 0, "teacher": 1}),
        ({**A, **_behind("ema.", B)}, "2 sets of weights, … and ema.…", {"ema": 1}),
        (
            {**_behind("module.encoder_q.", A), **_behind("module.encoder_k.", B), "queue": torch.ones(2, 2)},
            "module.encoder_q.… and module.encoder_k.…",
            {"module.encoder_q": 0, "module.encoder_k": 1},
        ),
        ({"state_dict": A, "state_dict_ema": B}, r"state_dict \(\d+ tensors\)", {"state_dict": 0, "state_dict_ema": 1}),
        ({"model": A, "model_ema": {"module": B}}, r"model_ema.module \(", {"model": 0, "model_ema.module": 1}),
        ({"model": A, "model_ema": _behind("module.", B)}, r"model_ema \(", {"model": 0, "model_ema": 1}),
        ({"G": {"net": A}, "D": {"net": B}, **FACTS}, r"G.net \(", {"G.net": 0, "D.net": 1}),
        (
            {"state_dict": {**_behind("student.", A), **_behind("teacher.", B)}},
            "student.… and teacher.…",
            {"student": 0, "state_dict.student": 0, "state_dict.teacher": 1},
        ),
    ],
)
def test_of_several_sets_the_user_says_which(tmp_path: Path, found: object, said: str, keys: dict[str, int]) -> None:
    path = tmp_path / "two.pth"
    torch.save(found, path)
    with pytest.raises(InputError, match=rf"two\.pth: (2 sets of weights, )?.*{said}") as caught:
        create_model(SMALL, weights=path)
    assert f"say which is meant, such as {path}::" in str(caught.value)
    assert "\n" not in str(caught.value)
    for key, seed in keys.items():
        _require_loads(f"{path}::{key}", seed)
    with pytest.raises(InputError, match=r"two\.pth: no studnet in it; it has .*wanted FILE::KEY"):
        create_model(SMALL, weights=f"{path}::studnet")


@pytest.mark.medium
def test_two_tensors_never_become_one(tmp_path: Path) -> None:
    path = tmp_path / "two.pth"
    torch.save({**_behind("module.", A), "conv1.weight": B["conv1.weight"]}, path)
    with pytest.raises(InputError, match=r"module\.conv1\.weight and conv1\.weight are two tensors for one; say which"):
        create_model(SMALL, weights=path)
    _require_loads(f"{path}::module")
    _require_loads(path, ignore=("conv1.weight",))


@pytest.mark.medium
@pytest.mark.parametrize(
    ("extra", "said", "ignore"),
    [
        (
            {"criterion.weight": torch.ones(3)},
            r"criterion\.weight \(3\); leave them out with --ignore 'criterion",
            None,
        ),
        ({"n_averaged": torch.tensor(7)}, r"n_averaged \(a number\); leave", None),
        ({"loss_fn.margin": torch.ones(1)}, r"loss_fn\.margin \(1\); leave", None),
        ({"train_acc.tp": torch.zeros(3), "train_acc.fp": torch.zeros(3)}, r"train_acc\.tp \(3\), train_acc", "train*"),
        (
            {"mean": torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)},
            r"mean 0\.5, 0\.4, 0\.3: what images are norm",
            None,
        ),
        ({"pixel_std": torch.ones(3)}, r"pixel_std 1, 1, 1: what images are normalised by\? say so with --mean", None),
        (
            {f"head{i}.w": torch.ones(1) for i in range(9)},
            r"and 5 more; leave them out with --ignore '\*\.w' if",
            "head*",
        ),
        (
            {f"{name}.total_ops": torch.zeros(1) for name in ("layer1", "layer2", "layer3", "conv1", "bn1")},
            r"leave them out with --ignore '\*\.total_ops' if",
            "*.total_ops",
        ),
        (
            {"decoder.layer1.weight": torch.ones(2), **_behind("decoder.", {c: torch.ones(1) for c in "abcd"})},
            "",
            "dec*",
        ),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_what_is_none_of_the_networks_is_named_and_left_out_when_told(
    tmp_path: Path, extra: Weights, said: str, ignore: str | None, prefix: str
) -> None:
    path = tmp_path / "more.pth"
    torch.save({**_behind(prefix, A), **extra}, path)
    with pytest.raises(InputError, match=rf"more\.pth: tensors that the network does not have: .*{said}") as caught:
        create_model(SMALL, weights=path)
    assert "\n" not in str(caught.value)
    _require_loads(path, ignore=tuple(extra) if ignore is None else (ignore,))
    advised = [part.split("'")[1] for part in str(caught.value).split("--ignore ")[1:]]
    _require_loads(path, ignore=tuple(advised))
    with pytest.raises(InputError, match=r"more\.pth: no tensor is called critreion"):
        create_model(SMALL, weights=path, ignore=("critreion",))


@pytest.mark.medium
def test_an_average_kept_as_an_object_is_a_set(tmp_path: Path) -> None:
    from torch.optim.swa_utils import AveragedModel

    net = create_model(SMALL, num_classes=3, seed=0)
    torch.save({"ema": Ema(net), **FACTS}, tmp_path / "ema.pt")
    with pytest.raises(InputError, match=r"tensors of a pickled .*Ema, whose code is not run"):
        create_model(SMALL, weights=tmp_path / "ema.pt")
    _require_loads(tmp_path / "ema.pt", variant="resnet20_cifar+depths=1,1,1")
    torch.save(AveragedModel(net).state_dict(), tmp_path / "swa.pt")
    with pytest.raises(InputError, match=r"n_averaged \(a number\); leave them out"):
        create_model(SMALL, weights=tmp_path / "swa.pt")
    _require_loads(tmp_path / "swa.pt", ignore=("n_averaged",))


@pytest.mark.parametrize("put", [lambda h: h, lambda h: argparse.Namespace(x=h), lambda h: [{"a": h}]])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_file_runs_nothing(tmp_path: Path, put: Callable[[Any], Any], zipped: bool) -> None:
    path = tmp_path / "hostile.pth"
    torch.save({"state_dict": A, "args": put(Hostile(tmp_path / "ran"))}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"hostile\.pth: refused, the file wants to run (posix|nt|os)\.system"):
        read_tensors(path)
    assert not (tmp_path / "ran").exists()


def test_classes_that_nobody_has_here_are_no_hindrance(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.pth", copy.copy(Unknown)
    torch.save({"state_dict": A, "cfg": Unknown(), "kind": whole}, path)
    _require_loads(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file; copy it again"),
        (gzip.compress(b"x", mtime=0), "compressed by gzip; unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a pointer of Git LFS.*git lfs pull"),
        (b"<!DOCTYPE html><html>", "a page of the web, not weights"),
        (b"\x89HDF\r\n\x1a\n", "HDF5; Keras's are read if they are called .h5"),
        (b"\n\n  <!DOCTYPE html><html>", "a page of the web, not weights"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error>", "a page of the web, not weights"),
        (b'{"message": "Not Found"}', r"a text \(JSON\), not weights; is it the answer of a server\?"),
        (b"hello, I am no weights", r'a text \("hello, I am no weights"\), not weights'),
        (b"Not Found\n", r'a text \("Not Found"\), not weights; .* download the file itself'),
        (b"PK\x03\x04nothing", "cut short, its end is missing; download or copy it again"),
        (b"\x01\x02\x03\x04", "not a whole torch checkpoint"),
    ],
)
def test_what_is_no_file_of_weights_says_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.pth: {said}") as caught:
        find_weights(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(64, 3), (3, 16), (3,), ()])
def test_a_classifier_of_another_shape_is_told_whatever_the_order_of_channels(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    torch.save({**A, "linear.weight": torch.zeros(shape)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth: (these weights|the weights do not fit|no classifier)"):
        create_model(SMALL, weights=tmp_path / "a.pth")


def test_many_patterns_are_no_long_path(tmp_path: Path) -> None:
    more = {f"{'a' * 40}{number}.w": torch.ones(1) for number in range(9)}
    torch.save({**A, **more}, tmp_path / "more.pth")
    _require_loads(tmp_path / "more.pth", ignore=tuple(more))


def test_a_broken_archive_is_no_traceback(tmp_path: Path) -> None:
    torch.save(A, tmp_path / "a.pth")
    whole = bytearray((tmp_path / "a.pth").read_bytes())
    for place in range(len(whole) - 400, len(whole) - 22, 7):  # the list of what is in it
        whole[place] ^= 0xFF
    (tmp_path / "a.pth").write_bytes(whole)
    with pytest.raises(InputError, match=r"a\.pth: ") as caught:
        find_weights(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


def test_a_key_of_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"weights resnet50\.a1_in1k::ema: resnet50\.a1_in1k is no file"):
        find_weights("resnet50.a1_in1k::ema")
    with pytest.raises(InputError, match=r"two keys, a and b; wanted FILE::KEY"):
        find_weights("w.pth::a::b")


@pytest.mark.medium
def test_the_command_line_chooses_and_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {**A, "n_averaged": torch.tensor(1)}, "ema": B}, tmp_path / "two.pth")
    np.savez(tmp_path / "set.npz", x=np.zeros((3, 32, 32, 3), np.uint8), y=np.arange(3))
    where, rest = (
        f"{tmp_path}/two.pth",
        ["--model", "resnet20_cifar", "--set", "model.depths=1,1,1", "--preprocessing", "cifar10"],
    )
    images = [f"{tmp_path}/set.npz", "--json"]
    assert run(["eval", where, *images, *rest]) == 2
    assert "2 sets of weights, state_dict (" in capsys.readouterr().err
    assert run(["eval", f"{where}::state_dict", *images, *rest]) == 2
    assert "--ignore 'n_averaged'" in capsys.readouterr().err
    assert run(["eval", f"{where}::state_dict", *images, *rest, "--ignore", "n_*"]) == 0
    said = capsys.readouterr().out
    assert "two.pth::state_dict::-n_*" in said
    assert '"weights_sha256":null' not in said.replace(" ", "")
