import pytest
import torch
from torch import nn

from deepres.base.errors import InputError
from deepres.nn.hardware import find_device
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
        ("gpu", "--device gpu: no such kind of device; wanted cpu, cuda or cuda:N"),
        ("meta", "--device meta: wanted cpu, cuda"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_device(name)
