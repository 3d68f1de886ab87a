"""Pickles of any kind: the tensors come out as torch itself would give them, and nothing in the file is ever called."""

import argparse
import collections
import contextlib
import enum
import io
import os
import pickle
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deepres.base.errors import InputError
from deepres.nn.weights.inert import Thing
from deepres.nn.weights.pickles import module_tensors, read_pickled


class Schedule(enum.Enum):
    COSINE = "cosine"


class Settings:
    def __init__(self) -> None:
        self.rate, self.schedule, self.device = 0.1, Schedule.COSINE, torch.device("cpu")


class Slotted:
    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = 1


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.blocks = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
        self.register_buffer("hidden", torch.ones(1), persistent=False)
        self.conv1.register_forward_hook(_hook)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.bn1(self.conv1(x)))


def _hook(*_: Any) -> None:
    return None


def _tensors() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    whole = torch.randn(4, 6, generator=draw)
    return {
        "float": whole,
        "view": whole[1:3, ::2],
        "turned": whole.T,
        "expanded": torch.ones(1, 1).expand(3, 5),
        "half": whole.half(),
        "bfloat": whole.bfloat16(),
        "double": whole.double(),
        "long": torch.arange(5),
        "scalar": torch.tensor(7),
        "bool": torch.tensor([True, False]),
        "byte": torch.arange(4, dtype=torch.uint8),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.ones(2)),
    }


def _with_attribute() -> nn.Parameter:
    marked = nn.Parameter(torch.arange(3.0))
    marked.no_decay = True  # type: ignore[attr-defined]
    return marked


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_what_torch_gives(tmp_path: Path, zipped: bool, protocol: int) -> None:
    path = tmp_path / "a.pt"
    given = {
        "state_dict": collections.OrderedDict(_tensors()),
        "marked": _with_attribute(),
        "args": argparse.Namespace(lr=0.1, milestones=[1, 2]),
        "settings": Settings(),
        "slotted": Slotted(),
        "seen": {1, 2},
        "counts": collections.Counter("aab"),
        "table": collections.defaultdict(list, a=[1]),
        "path": Path("x"),
        "size": torch.Size([1, 2]),
        "array": np.arange(6, dtype=">f4").reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "number": np.float64(0.5),
        "random": np.random.RandomState(0).get_state(),
        "epoch": 3,
        ("a", 1): None,
    }
    torch.save(given, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    found = read_pickled(path)
    for name, tensor in _tensors().items():
        got = found["state_dict"][name]
        assert (got.dtype, got.shape, got.stride()) == (tensor.dtype, tensor.shape, tensor.stride()), name
        assert torch.equal(got, tensor), name
    assert torch.equal(found["marked"], torch.arange(3.0))
    assert found["args"].name == "argparse.Namespace"
    assert found["args"].state == {"lr": 0.1, "milestones": [1, 2]}
    assert found["settings"].name.endswith("test_pickles.Settings")
    assert found["settings"].state["rate"] == 0.1
    assert found["slotted"].state == {"a": 1}
    assert (sorted(found["seen"]), found["counts"], found["table"]) == ([1, 2], {"a": 2, "b": 1}, {"a": [1]})
    assert (found["size"], found["epoch"], found[("a", 1)]) == ((1, 2), 3, None)
    assert torch.equal(found["array"], torch.arange(6.0).reshape(2, 3))
    assert torch.equal(found["columns"], torch.arange(6.0, dtype=torch.float64).reshape(2, 3))
    assert found["number"] == 0.5


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_are_read_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.pkl"
    weights = {"w": torch.arange(3.0), "n": np.arange(4, dtype=">i8"), "f": np.eye(2, 3, order="F")}
    text, shared = "ä\n'", [1.5, -(2**40), True, None, b"\x00\xff"]
    path.write_bytes(pickle.dumps({"model": weights, "t": text, "l": [shared, shared]}, protocol=protocol))
    found = read_pickled(path)
    assert torch.equal(found["model"]["w"], torch.arange(3.0))
    assert torch.equal(found["model"]["n"], torch.arange(4))
    assert torch.equal(found["model"]["f"], torch.eye(2, 3, dtype=torch.float64))
    assert (found["t"], found["l"][0]) == (text, shared)
    assert found["l"][0] is found["l"][1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["module", "legacy", "parallel", "checkpoint", "script", "trace"])
@pytest.mark.medium
def test_the_tensors_of_a_pickled_module_are_those_of_its_state_dict(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    net, path = Small(), tmp_path / "a.pt"
    wanted = dict(net.state_dict())
    if kind in ("script", "trace"):
        net.conv1._forward_hooks.clear()
        del net.hidden  # TorchScript keeps it: it has no word for buffers that are not to be kept
        made = torch.jit.script(net.eval()) if kind == "script" else torch.jit.trace(net.eval(), torch.ones(1, 3, 8, 8))
        torch.jit.save(made, path)
    elif kind == "parallel":
        torch.save(nn.DataParallel(net), path)
        wanted = {f"module.{name}": tensor for name, tensor in wanted.items()}
    else:
        torch.save(
            {"model": net} if kind == "checkpoint" else net, path, _use_new_zipfile_serialization=kind != "legacy"
        )
    found = read_pickled(path)
    got = module_tensors(found["model"] if kind == "checkpoint" else found)
    assert got is not None
    assert set(got) == set(wanted)
    assert all(torch.equal(got[name], tensor) for name, tensor in wanted.items())
    if kind not in ("script", "trace"):
        assert list(got) == list(wanted)


class Calls:
    """What an attacker pickles: `what(*arguments)` is called when the file is loaded."""

    def __init__(self, what: Any, *arguments: Any) -> None:
        self.made = what, arguments

    def __reduce__(self) -> Any:
        return self.made


def _program(text: bytes) -> bytes:
    """A pickle written by hand: `c` names, `(` marks, `t` makes a tuple, `R` calls, `b` sets a state."""
    return text


ATTACKS: dict[str, Any] = {
    "os.system": Calls(os.system, "touch {}"),
    "subprocess": Calls(subprocess.check_output, ["touch", "{}"]),
    "eval": Calls(eval, "open('{}', 'w')"),
    "exec": Calls(exec, "open('{}', 'w')"),
    "getattr of os": _program(
        b"cbuiltins\ngetattr\n(cos\nsystem\nX\x08\x00\x00\x00__call__tR(X\x08\x00\x00\x00touch {}tR."
    ),
    "getattr of a stand-in": _program(b"cbuiltins\ngetattr\n(ctorch.nn\nModule\nX\x07\x00\x00\x00__new__tR(S'x'\ntR."),
    "a call on a stand-in": _program(b"ca.b\nC\n(tR(S'touch {}'\ntR."),
    "setattr by a state": _program(b"ccollections\nOrderedDict\n(N(S'__init__'\ncos\nsystem\ndtb."),
    "a state on a tensor's maker": _program(b"ctorch._utils\n_rebuild_tensor_v2\n(N(S'__code__'\nNdtb."),
    "dotted": _program(b'\x80\x04\x8c\x08builtins\x8c\x04exec\x93(S\'open("{}", "w")\'\ntR.'),
    "dotted deeper": _program(b"\x80\x04\x8c\x05torch\x8c\x0f_utils.os.systemn\x93(S'touch {}'\ntR."),
    "instance": _program(b"(S'touch {}'\nios\nsystem\n."),
    "object": _program(b"(cos\nsystem\nS'touch {}'\no."),
    "new object": _program(b"\x80\x02cos\nsystem\n(S'touch {}'\nt\x81."),
    "registry": _program(b"\x80\x02\x82\x01."),
    "persistent": _program(b"Pos.system\n."),
    "torch.load inside": Calls(torch.hub.load, "a/b", "c"),
    "maker of lists": _program(b"ctorch.jit._pickle\nrestore_type_tag\n(cos\nsystem\nS'touch {}'\ntR."),
    "key": _program(b"}(cos\nsystem\nK\x01u."),
}


@pytest.mark.parametrize("form", ["plain", "zip", "legacy"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_a_pickle_would_call_is_never_called(tmp_path: Path, attack: str, form: str) -> None:
    ran, path, bomb = tmp_path / "ran", tmp_path / "bomb.pt", ATTACKS[attack]
    if isinstance(bomb, Calls):
        what, arguments = bomb.made
        placed = [[a.format(ran) for a in one] if isinstance(one, list) else one.format(ran) for one in arguments]
        content = pickle.dumps(Calls(what, *placed), protocol=2)
    else:
        content = bomb.replace(b"{}", str(ran).encode())
    if form == "plain":
        path.write_bytes(content)
    elif form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3\n")
    else:
        torch.save({}, path, _use_new_zipfile_serialization=False)
        whole, empty = path.read_bytes(), pickle.dumps({}, protocol=2)
        path.write_bytes(whole.replace(empty, content, 1))
    before = repr(collections.OrderedDict.__init__), torch._utils._rebuild_tensor_v2.__code__
    with contextlib.suppress(InputError):
        assert not callable(read_pickled(path))
    assert not ran.exists()
    assert before == (repr(collections.OrderedDict.__init__), torch._utils._rebuild_tensor_v2.__code__)


@pytest.mark.parametrize("what", [os.system, eval, subprocess.Popen])
def test_a_hostile_file_is_refused_by_the_name_of_what_it_wants(tmp_path: Path, what: Any) -> None:
    torch.save({"state_dict": {"w": torch.ones(1)}, "x": Calls(what, "true")}, tmp_path / "a.pt")
    with pytest.raises(
        InputError, match=r"a\.pt: refused, the file wants to run \w+\.(system|eval|Popen); nothing was run"
    ):
        read_pickled(tmp_path / "a.pt")


def _bytes(value: Any, **options: Any) -> bytes:
    into = io.BytesIO()
    torch.save(value, into, **options)
    return into.getvalue()


def _cut(content: bytes) -> bytes:
    return content[:-200]


def _lying(content: bytes) -> bytes:
    """A storage that says it has more numbers than lie there."""
    return content.replace(b"K\x10", b"K\x20")


BROKEN = {
    "empty": b"",
    "a page": b"<!DOCTYPE html><html>",
    "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "cut zip": _cut(_bytes({"w": torch.ones(99)})),
    "cut legacy": _cut(_bytes({"w": torch.ones(99)}, _use_new_zipfile_serialization=False)),
    "lying zip": _lying(_bytes({"w": torch.ones(16)})),
    "lying legacy": _lying(_bytes({"w": torch.ones(16)}, _use_new_zipfile_serialization=False)),
    "endless list": b"(l" * 1000 + b"aaa",
    "stack underrun": b"0000.",
    "a tuple as number": b"ctorch._utils\n_rebuild_tensor_v2\n(I1\nI1\nI1\ntR.",
    "an unknown opcode": b"\xff.",
    "huge text": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x00.",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_whole_pickle_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(
        InputError, match=r"a\.pt: (not a whole torch checkpoint|cut short, its end is missing)"
    ) as caught:
        read_pickled(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


def test_what_is_no_network_gives_no_tensors(tmp_path: Path) -> None:
    torch.save({"settings": Settings(), "loss": nn.CrossEntropyLoss}, tmp_path / "a.pt")
    found = read_pickled(tmp_path / "a.pt")
    assert isinstance(found["loss"], Thing)
    assert [module_tensors(value) for value in (found, *found.values())] == [None] * 3
