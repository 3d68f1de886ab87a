import shutil
from pathlib import Path

import pytest
import torch

from deepres.base.errors import InputError
from deepres.nn.create import create_model
from deepres.nn.hardware import cannot_compile, multiplies_int8, saturates_int8
from deepres.nn.inference import for_inference
from deepres.train.precision import choose

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)


@pytest.mark.usefixtures("no_compiler")
def test_a_machine_without_a_compiler_says_which_one_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert cannot_compile(CPU) == "no C++ compiler on this machine"
    assert cannot_compile(GPU) == "no C compiler on this machine"  # Triton's launchers are written in C
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "clang" else None)
    assert cannot_compile(GPU) is None
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    assert cannot_compile(GPU) == "a GPU that torch.compile has no code for"
    monkeypatch.setenv("CXX", "mine")
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "mine" else None)
    assert cannot_compile(CPU) is None


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.medium
def test_inference_compiles_only_where_the_machine_can() -> None:
    network = create_model("resnet20_cifar")
    assert not for_inference(network, CPU, images=10**9, seconds_per_image=1.0).compiled
    with pytest.raises(InputError, match=r"compiling asked for: no C\+\+ compiler on this machine; leave it out"):
        for_inference(network, CPU, compiled="yes")


def test_float32_on_a_gpu_is_not_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True
        assert choose("bfloat16", GPU).dtype is torch.bfloat16
        assert choose("float32", CPU).dtype is torch.float32
        assert torch.backends.cudnn.allow_tf32
        assert choose("float32", GPU).dtype is torch.float32
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


def test_doctor_tells_what_can_be_used_and_what_would_help(tmp_path: Path) -> None:
    from deepres.nn.environment import advice, resources

    told = resources(tmp_path)
    assert list(told) == ["memory", "disk", "workers", "driver", "extras"]
    assert told["disk"].endswith(f"free in {tmp_path}")
    assert all(isinstance(line, str) for line in advice(torch.device("cpu")))


@pytest.mark.parametrize(
    ("machine", "has", "multiplies", "saturates"),
    [
        ("x86_64", {"avx2"}, False, True),
        ("AMD64", {"avx2", "avx512_f"}, False, True),
        ("x86_64", {"avx2", "avx_vnni"}, True, False),
        ("x86_64", {"avx2", "amx_int8"}, True, False),
        ("aarch64", {"neon"}, False, False),
        ("arm64", {"neon", "dot"}, True, False),
    ],
)
def test_sums_are_cut_on_x86_alone_and_where_nothing_multiplies_8_bits(
    machine: str, has: set[str], multiplies: bool, saturates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(has, True), raising=False)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert (multiplies_int8(), saturates_int8()) == (multiplies, saturates)
