"""How fast a network answers here: one image and sixteen, in turn with the intact one."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from deepres.base.records import Record
from deepres.nn.build import ResidualNetwork
from deepres.nn.hardware import wait_for
from deepres.nn.inference import for_inference

ROUNDS = {1: 30, 16: 7}
"""Batch -> rounds that are timed, after two that are not."""

Answering = Callable[[Tensor], object]
"""Prepared images (N, C, H, W), float32 -> outputs."""


class Speed(Record):
    """Medians of the calls: milliseconds for one image, images/s one by one and by sixteen, and how many times as fast
    as the intact network, whose calls were timed in turn."""

    milliseconds: float
    images_per_second: float
    images_per_second_16: float
    times: float
    times_16: float


def speed_of(
    answer: Answering,
    intact: Answering,
    size: tuple[int, int, int],
    device: torch.device,
    on_progress: Callable[[int, int], None],
) -> Speed:
    """Time `answer` and `intact` on noise of that (C, H, W), in turn, so that what else goes on here meets both."""
    seconds: dict[int, tuple[list[float], list[float]]] = {}
    done, total = 0, sum(ROUNDS.values())
    for batch, rounds in ROUNDS.items():
        images = torch.rand(batch, *size, generator=torch.Generator().manual_seed(0)).to(device)
        taken: tuple[list[float], list[float]] = ([], [])
        for number in range(-2, rounds):
            for one, into in zip((answer, intact), taken, strict=True):
                began = perf_counter()
                with torch.inference_mode():
                    one(images)
                wait_for(device)
                if number >= 0:
                    into.append(perf_counter() - began)
            done += number >= 0
            on_progress(done, total)
        seconds[batch] = taken
    own, whole = ({batch: median(taken[place]) for batch, taken in seconds.items()} for place in (0, 1))
    return Speed(
        milliseconds=1000 * own[1],
        images_per_second=1 / own[1],
        images_per_second_16=16 / own[16],
        times=whole[1] / own[1],
        times_16=whole[16] / own[16],
    )


def ready(network: ResidualNetwork, device: torch.device) -> Answering:
    """The network as `Speed` means it: float32, norms folded, not compiled."""
    return for_inference(network, device, precision="float32", compiled="no", close_calls=False)
