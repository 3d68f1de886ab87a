"""Training steps of several small networks at once on one GPU: `python bench/gpu_together.py [--output FILE]`.

A step of ResNet-20 at 32 px, two pieces of 64 as the papers took it, leaves most of a large GPU idle. Told are the
steps a second of all networks together, and how many times those of one network as it trains here (compiled, its
passes one CUDA graph):

- plain: the passes as they are, launched kernel by kernel; captured: the same as one graph.
- in streams: N networks in one process, a graph each, each on a stream of its own.
- vmapped: N networks as one (torch.func), a convolution in N groups, captured.
- processes: N processes with a network each, which take turns on the GPU; with --mps NVIDIA's multi-process service,
  which is started for it and ended after it, lets them compute side by side.

`--device cpu --tiny` runs every line but captures and the service.
"""

import argparse
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import protocol
import torch
import torch.nn.functional as F
from gpu import captured
from torch import Tensor

from deepres.nn.create import create_model
from deepres.train.config import SgdConfig
from deepres.train.optim import Sgd
from deepres.train.precision import choose

PIECE, PIECES, RATE = 64, 2, 1e-4
FEW = 2  # images of a piece, where only the program is tried
Step = Callable[[], object]


def piece_of(device: torch.device) -> int:
    """Images of a piece there."""
    return PIECE if device.type == "cuda" else FEW


def batch(device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    """Images and labels of the pieces."""
    size = piece_of(device)
    images = [torch.randn(size, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)] * PIECES
    return images, [torch.arange(size, device=device) % 10] * PIECES


def step_of(device: torch.device, *, compiled: bool, graph: bool) -> Step:
    """A whole step of one network: both pieces' passes, and SGD."""
    precision = choose("auto", device)
    net = precision.place(create_model("resnet20_cifar")).train()
    optimiser = Sgd(net.named_parameters(), SgdConfig(weight_decay=1e-4))
    forward = torch.compile(net) if compiled else net
    images, labels = batch(device)

    def step() -> None:
        for piece, label in zip(images, labels, strict=True):
            with precision.autocast():
                loss = F.cross_entropy(forward(piece), label) / PIECES
            loss.backward()
        optimiser.step(RATE)
        optimiser.zero_grad()

    return captured(step, device) if graph else step


def vmapped(device: torch.device, count: int) -> Step:
    """A step of `count` networks as one, norms by the statistics of their batch."""
    precision = choose("auto", device)
    nets = [create_model("resnet20_cifar", seed=seed).to(device).train() for seed in range(count)]
    for net in nets:
        torch.func.replace_all_batch_norm_modules_(net)
    weights, buffers = torch.func.stack_module_state(nets)
    base = copy.deepcopy(nets[0])
    images, labels = batch(device)
    images = [piece.contiguous() for piece in images]  # channels last, torch.func goes network by network
    velocities = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    def loss(own: dict[str, Tensor], kept: dict[str, Tensor], piece: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(base, (own, kept), (piece,)), label) / PIECES

    gradient = torch.func.vmap(torch.func.grad(loss), in_dims=(0, 0, None, None))

    def step() -> None:
        total: dict[str, Tensor] | None = None
        for piece, label in zip(images, labels, strict=True):
            with precision.autocast():
                found = gradient(weights, buffers, piece, label)
            total = found if total is None else {name: total[name] + found[name] for name in found}
        assert total is not None
        with torch.no_grad():
            for name, weight in weights.items():
                velocities[name].mul_(0.9).add_(total[name] + 1e-4 * weight.detach(), alpha=RATE)
                weight.sub_(velocities[name])

    return captured(step, device)


def in_streams(steps: list[Step], device: torch.device) -> Step:
    """All of the steps side by side: each on a stream of its own."""
    if device.type != "cuda":
        return lambda: [step() for step in steps]
    streams = [torch.cuda.Stream(device) for _ in steps]

    def together() -> None:
        for step, stream in zip(steps, streams, strict=True):
            with torch.cuda.stream(stream):
                step()

    return together


def rate(step: Step, steps: int, device: torch.device, seconds: float) -> float:
    """Steps a second of all networks: the median of seven parts of the time."""
    parts, row = (7, 10) if device.type == "cuda" else (1, 1)
    for _ in range(3 * row // 10):
        step()
    protocol.synchronise(device)
    found = []
    for _ in range(parts):
        began, done = perf_counter(), 0
        while perf_counter() - began < seconds / parts:
            for _ in range(row):
                step()
            done += row
            protocol.synchronise(device)
        found.append(done * steps / (perf_counter() - began))
    return median(found)


def worker(device: torch.device, seconds: float, folder: Path, tiny: bool) -> None:
    """One process of several: ready, go when all are, then the rate into a file."""
    step = step_of(device, compiled=not tiny, graph=True)
    for _ in range(5):
        step()
    protocol.synchronise(device)
    (folder / f"ready-{os.getpid()}").touch()
    while not (folder / "go").exists():
        sleep(0.01)
    (folder / f"rate-{os.getpid()}").write_text(str(rate(step, 1, device, seconds)))


def processes(count: int, device: torch.device, seconds: float, tiny: bool) -> float:
    """Steps a second of `count` processes that work at the same time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [sys.executable, __file__, "--device", str(device), "--seconds", str(seconds), "--worker", name]
        begun = [subprocess.Popen([*words, *(["--tiny"] if tiny else [])]) for _ in range(count)]
        while len(list(folder.glob("ready-*"))) < count:
            if any(process.poll() for process in begun):
                for process in begun:
                    process.kill()
                raise RuntimeError("a process died")
            sleep(0.05)
        (folder / "go").touch()
        for process in begun:
            process.wait()
        return sum(float(path.read_text()) for path in folder.glob("rate-*"))


@contextmanager
def service() -> Iterator[None]:
    """NVIDIA's multi-process service, for the processes that are begun meanwhile."""
    program = shutil.which("nvidia-cuda-mps-control") or "/usr/local/nvidia/bin/nvidia-cuda-mps-control"
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"CUDA_MPS_PIPE_DIRECTORY": name, "CUDA_MPS_LOG_DIRECTORY": name}
        subprocess.run([program, "-d"], check=True, timeout=20)
        try:
            yield
        finally:
            subprocess.run([program], input="quit\n", text=True, timeout=30, check=False)
            del os.environ["CUDA_MPS_PIPE_DIRECTORY"], os.environ["CUDA_MPS_LOG_DIRECTORY"]


def main() -> None:
    """Measure, print, write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--tiny", action="store_true", help="nothing compiled, few networks: does the program work?")
    parser.add_argument("--mps", action="store_true")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    device, tiny, seconds = torch.device(given.device), given.tiny, given.seconds
    if given.worker is not None:
        worker(device, seconds, given.worker, tiny)
        return
    many, vmaps = ((2, 2), (2,)) if tiny else ((4, 8), (4,))
    facts = protocol.claim("steps a second of ResNet-20 at 32 px, 2 x 64 images, several networks at once", device, 7)
    rows = []

    def told(name: str, networks: int, make: Callable[[], float]) -> None:
        try:
            found = make()
        except Exception as cause:
            print(f"{name}: left out, {type(cause).__name__}: {str(cause).splitlines()[0][:200]}", flush=True)
            return
        base = next((row["steps_per_second"] for row in rows if row["contender"].startswith("captured, comp")), found)
        times = float(f"{found / base:.3g}")
        rows.append({"contender": name, "networks": networks, "steps_per_second": round(found), "times": times})
        print(f"{name:44}{networks:3} networks {found:8,.0f} steps/s  x {times}", flush=True)

    whole = {"compiled": not tiny, "graph": True}
    told("captured, compiled", 1, lambda: rate(step_of(device, **whole), 1, device, seconds))
    told("captured", 1, lambda: rate(step_of(device, compiled=False, graph=True), 1, device, seconds))
    told("plain", 1, lambda: rate(step_of(device, compiled=False, graph=False), 1, device, seconds))
    for count in many:
        steps = [step_of(device, **whole) for _ in range(count)]
        told("in streams", count, lambda: rate(in_streams(steps, device), len(steps), device, seconds))  # noqa: B023
    for count in vmaps:
        told("vmapped, captured", count, lambda: rate(vmapped(device, count), count, device, seconds))  # noqa: B023
    for count in many[1:]:
        told("processes", count, lambda: processes(count, device, seconds, tiny))  # noqa: B023
    if given.mps:
        try:
            with service():
                for count in many[1:]:
                    name = "processes, multi-process service"
                    told(name, count, lambda: processes(count, device, seconds, tiny))  # noqa: B023
        except (OSError, subprocess.SubprocessError) as cause:
            print(f"multi-process service: {type(cause).__name__}: {cause}", flush=True)
    protocol.write({**facts, "rows": rows}, given.output)


if __name__ == "__main__":
    main()
