"""The pretended device, small images and small networks; what is done on it has to give what the CPU gives."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deepres.data.images import ArrayImages
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics, measure_statistics

sys.path.insert(0, str(Path(__file__).parent))
CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["as CUDA", "as Apple"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Strict about places; the second is without float64 too, where sums in it are taken on the CPU."""
    from pretended import NAME, pretending

    if not request.param:
        monkeypatch.setattr("deepres.data.on_device.NO_FLOAT64", {NAME})
    with pretending(float64=request.param) as pretended:
        yield pretended


@pytest.fixture
def same(device: torch.device) -> Callable[..., Any]:
    """`same(work)` does `work(device)` on the CPU and on the pretended device and wants the same bits of both."""

    def compared(work: Callable[[torch.device], Any]) -> Any:
        from pretended import Pretended

        there, here = work(device), work(CPU)
        if isinstance(there, Tensor):
            there, here = {"": there}, {"": here}
        if isinstance(there, dict) and isinstance(next(iter(there.values())), Tensor):
            assert there.keys() == here.keys()
            for name, tensor in there.items():
                assert isinstance(tensor, Pretended), f"{name} is not on the device"
                assert torch.equal(tensor.cpu(), here[name]), name
        else:
            assert there == here
        return there

    return compared


@pytest.fixture(scope="session")
def images() -> ArrayImages:
    """Eight of 16 x 16 px, in four classes, each with a colour of its own."""
    pixels = torch.randint(0, 128, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % 4
    pixels += (30 * labels).to(torch.uint8)[:, None, None, None]
    return ArrayImages(pixels, labels, ("a", "b", "c", "d"), "noise/test")


@pytest.fixture(scope="session")
def statistics(images: ArrayImages) -> Statistics:
    return measure_statistics(images, Preparation(normalise="per_pixel"))
