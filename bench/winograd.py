"""A training step by our kernels beside torch's: `python bench/winograd.py [--output F]`, in float32 on a CPU.

Layers: forward pass and both gradients of 3x3 convolutions, all channels last. Steps: forward and backward pass of a
whole network, of torch as a plain loop has it (channels first), of the same in channels last, of the same compiled;
each of the last two also with the kernels, compiled ones with those of batch norm too.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import protocol
import torch
from plain_networks import network
from protocol import Contender
from torch import Tensor, nn

from deepres.base.heap import keep_freed_memory, preloaded_allocator
from deepres.nn.kernels.step import by_kernels, lacks

CPU = torch.device("cpu")
LAYERS = ((128, 16, 32), (128, 32, 16), (128, 64, 8), (16, 64, 56), (16, 128, 28), (16, 256, 14), (16, 512, 7))
"""Images, channels, side: of ResNets on CIFAR, and of ResNet-18 on ImageNet."""

STEPS = (("resnet20_cifar", 128, 32), ("resnet18", 16, 224), ("resnet50", 8, 224))


def passes(name: str, layer: nn.Module, images: Tensor, forward: Callable[[Tensor], Tensor]) -> Contender:
    """A forward and backward pass whose loss is the mean of what comes out."""

    def call() -> None:
        forward(images).mean().backward()  # type: ignore[no-untyped-call]
        layer.zero_grad()

    return Contender(name, call, len(images))


def last(tensor: Any) -> Any:
    """In channels last."""
    return tensor.to(memory_format=torch.channels_last)


def layer_rows(images: int, channels: int, side: int, rounds: int) -> list[dict[str, Any]]:
    """One layer, torch's and the kernels."""
    layer = last(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
    maps = last(torch.randn(images, channels, side, side)).requires_grad_()
    ways = [passes("torch", layer, maps, layer), passes("Winograd's kernels", layer, maps, by_kernels(layer))]
    return protocol.rows(ways, protocol.measure(ways, rounds, calls=4), "torch")


def step_rows(name: str, images: int, side: int, rounds: int, compiled: bool) -> list[dict[str, Any]]:
    """A network's passes, plain, in channels last and compiled, without and with the kernels."""
    plain, net = network(name, 10).train(), last(network(name, 10)).train()
    pixels = torch.randn(images, 3, side, side)
    ways = [
        passes("torch, plain", plain, pixels, plain),
        passes("torch, channels last", net, last(pixels), net),
        passes("Winograd's kernels", net, last(pixels), by_kernels(net)),
    ]
    if compiled:
        ways += [
            passes("torch, compiled", net, last(pixels), torch.compile(net)),
            passes("all kernels, compiled", net, last(pixels), torch.compile(by_kernels(net, norms=True))),
        ]
    return protocol.rows(ways, protocol.measure(ways, rounds), "torch, plain")


def main() -> None:
    """Measure, print the tables, write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="one layer of each kind, few images, nothing compiled")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    lacking = lacks(nn.Conv2d(16, 16, 3), CPU, torch.float32)
    if lacking is not None:
        parser.error(lacking)
    layers = ((2, 16, 8),) if given.tiny else LAYERS
    steps = (("resnet20_cifar", 2, 32),) if given.tiny else STEPS
    found = {}
    for images, channels, side in layers:
        title = f"{channels} channels, {side} px, {images} images"
        found[title] = layer_rows(images, channels, side, given.rounds)
        print(protocol.table(title, found[title]), flush=True)
    for name, images, side in steps:
        title = f"{name}, {side} px, {images} images"
        found[title] = step_rows(name, images, side, given.rounds, compiled=not given.tiny)
        print(protocol.table(title, found[title]), flush=True)
    claim = "float32 on a CPU: passes of training, 3x3 convolutions by Winograd's F(4x4, 3x3), norms' sums by kernels"
    allocator = preloaded_allocator() or "that of the C library, freed memory kept"
    protocol.write(
        protocol.claim(claim, CPU, given.rounds, seed="none: times alone", allocator=allocator, rows=found),
        given.output,
    )


if __name__ == "__main__":
    main()
