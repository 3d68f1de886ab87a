"""What bounds a training step on a CPU: `python bench/roofline.py [NET] [--batch-size B] [--output F]`.

The step's time by kind of operation (torch's profiler, one step after five), the rate of its convolutions, and
the rate of a large bfloat16 matrix product on the same threads: the convolutions cannot be faster than that, and the
step not faster than its convolutions.
"""

import argparse
from pathlib import Path
from time import perf_counter

import protocol
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from deepres.arch.readings.cost import cost
from deepres.base.heap import keep_freed_memory
from deepres.nn.create import create_model
from deepres.train.config import SgdConfig
from deepres.train.optim import Sgd
from deepres.train.precision import choose

CPU = torch.device("cpu")


def matrix_rate(size: int = 2048, rounds: int = 8) -> float:
    """Multiply-adds a second of the fastest of some bfloat16 products of size x size."""
    a, b = torch.randn(2, size, size).bfloat16()
    fastest = float("inf")
    for _ in range(rounds):
        began = perf_counter()
        torch.mm(a, b)
        fastest = min(fastest, perf_counter() - began)
    return size**3 / fastest


def main() -> None:
    """Profile, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    precision = choose("auto", CPU)
    net = precision.place(create_model(given.network)).train()
    optimiser = Sgd(net.named_parameters(), SgdConfig())
    images = precision.images(torch.randn(given.batch_size, *net.description.input))  # type: ignore[attr-defined]
    labels = torch.arange(given.batch_size)

    def step() -> None:
        with precision.autocast():
            loss = F.cross_entropy(net(images).float(), labels % 10)
        loss.backward()
        optimiser.step(0.01)
        optimiser.zero_grad()

    for _ in range(5):
        step()
    began = perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        step()
    whole = perf_counter() - began
    times = {row.key: row.self_cpu_time_total / 1e6 for row in seen.key_averages()}
    convolutions = sum(seconds for name, seconds in times.items() if "convolution" in name)
    macs = 3 * cost(net.description).macs * given.batch_size  # type: ignore[attr-defined]
    rate = matrix_rate()
    rows = dict(sorted(times.items(), key=lambda item: -item[1])[:10])
    facts = protocol.claim(
        f"{given.network}: what a training step of {given.batch_size} images is bound by",
        CPU,
        1,
        precision=str(precision),
        step_seconds=round(whole, 4),
        convolution_seconds=round(convolutions, 4),
        convolution_share=round(convolutions / whole, 3),
        convolution_macs_per_second=round(macs / convolutions),
        matrix_macs_per_second=round(rate),
        of_matrix_rate=round(macs / convolutions / rate, 3),
        bound_images_per_second=round(given.batch_size * rate / macs, 2),
        seconds_by_operation={name: round(seconds, 4) for name, seconds in rows.items()},
    )
    protocol.write(facts, given.output)


if __name__ == "__main__":
    main()
