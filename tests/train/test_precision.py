import pytest
import torch
from torch import nn

from deepres.base.errors import InputError
from deepres.data.on_device import held_by
from deepres.nn.hardware import cannot_compile, find_device
from deepres.train.compile import LONG_ENOUGH
from deepres.train.precision import choose

CPU = torch.device("cpu")


@pytest.mark.parametrize(("choice", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_chosen_precision_is_that_of_the_products(choice: str, dtype: torch.dtype) -> None:
    precision = choose(choice, CPU)  # type: ignore[arg-type]
    network = precision.place(nn.Conv2d(3, 4, 3))
    with precision.autocast():
        assert network(precision.images(torch.randn(2, 3, 8, 8))).dtype == dtype
    assert network.weight.dtype == torch.float32
    assert network.weight.is_contiguous(memory_format=torch.channels_last)


def test_auto_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert choose("auto", CPU).dtype == torch.float32
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert str(choose("auto", CPU)) == "bfloat16, channels last, on cpu"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda:99", r"--device cuda:99: this machine has \d+ GPUs that torch can use"),
        ("gpu", "--device gpu: no such kind of device; wanted cpu, cuda, cuda:N or mps"),
        ("meta", "--device meta: wanted cpu, cuda"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_device(name)


def test_apples_gpu_computes_in_float32_channels_first_and_is_asked_for_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        InputError, match="--device mps: torch finds no GPU of Apple's here; leave --device out, or say cpu"
    ):
        find_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    found = find_device("mps")
    assert str(choose("auto", found)) == "float32, channels first, on mps"
    assert find_device(None).type != "mps"
    assert cannot_compile(found) == "torch.compile is not tried on Apple's GPUs"
    assert held_by(found, torch.zeros(1, dtype=torch.float64)) == CPU
    assert held_by(found, torch.zeros(1, dtype=torch.int64)) == found


def test_each_kind_of_device_has_a_time_that_is_long_enough_to_compile() -> None:
    assert {"cpu", "cuda", "mps"} == LONG_ENOUGH.keys()
