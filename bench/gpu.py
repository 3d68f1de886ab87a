"""Images/s of training steps on a GPU, data on the device: `python bench/gpu.py [cifar|imagenet] [--output FILE]`.

cifar: ResNet-110, batch 128, 32 px, where a step is many small kernels. imagenet: ResNet-50, batch 256, 224 px. A step
is forward, cross-entropy, backward, SGD with momentum; its loss is never read, so nothing waits for the host.

Contenders: torchvision's way (float32, channels first, torch's SGD), timm's (bfloat16 autocast, channels last, its
optimiser; eager, and compiled with inductor), and ours: eager, torch.compile in its modes, and the whole step (also
the compiled one) captured as one CUDA graph that is replayed from static buffers.

Told with each: the share of the rate that a large bfloat16 product of matrices reaches here, and of the bandwidth that
a large copy reaches. Operations are 3 forward passes of multiply-adds; bytes are those that a step moves whose every
operation reads its maps and writes one (`spec.tape`), twice more in the backward pass: fused kernels move fewer, so
that share may exceed what the memory really did. `--device cpu --tiny` runs every line but the capture itself.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import protocol
import torch
import torch.nn.functional as F
from protocol import Contender
from torch import Tensor
from training_step import plain_resnet

from deepres.arch.architecture import Architecture, with_input
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.cost import cost
from deepres.arch.readings.segments import CheckpointPlan, segments
from deepres.arch.readings.tape import record
from deepres.nn.create import create_model
from deepres.train.config import SgdConfig
from deepres.train.optim import Sgd

CASES = {"cifar": ("resnet110_cifar", 128, 32), "imagenet": ("resnet50", 256, 224)}
MODES = ("default", "reduce-overhead", "max-autotune")
RATE, MOMENTUM, DECAY = 1e-4, 0.9, 1e-4

Step = Callable[[], object]


def step_of(
    forward: Callable[[Tensor], Tensor],
    update: Callable[[], object],
    forget: Callable[[], object],
    images: Tensor,
    labels: Tensor,
    dtype: torch.dtype,
) -> Step:
    """One training step on a batch that lies on the device."""

    def step() -> None:
        with torch.autocast(images.device.type, dtype, enabled=dtype is not torch.float32, cache_enabled=False):
            loss = F.cross_entropy(forward(images), labels)
        loss.backward()
        update()
        forget()

    return step


def captured(step: Step, device: torch.device, warm_up: int = 3) -> Step:
    """The whole step as one CUDA graph; on the CPU the step itself, so that the rest of this program can be tried.

    The warm-up runs on a stream of its own, as capture demands; gradients are absent when it begins, so that each
    replay writes them anew.
    """
    if device.type != "cuda":
        return step
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(warm_up):
            step()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def ours(description: Architecture, images: Tensor, labels: Tensor, mode: str | None, graph: bool) -> Step:
    """Our network and optimiser, bfloat16 and channels last."""
    net = create_model(description).to(images.device).to(memory_format=torch.channels_last).train()
    optimiser = Sgd(net.named_parameters(), SgdConfig(momentum=MOMENTUM, weight_decay=DECAY))
    forward = net if mode is None else torch.compile(net, mode=None if mode == "default" else mode)
    marked = forward

    def replayed(batch: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        result: Tensor = marked(batch)
        return result

    if mode in ("reduce-overhead", "max-autotune"):
        forward = replayed
    last = images.contiguous(memory_format=torch.channels_last)
    step = step_of(forward, lambda: optimiser.step(RATE), optimiser.zero_grad, last, labels, torch.bfloat16)
    return captured(step, images.device) if graph else step


def theirs(case: str, library: str, images: Tensor, labels: Tensor, mode: str | None) -> Step:
    """timm's settings, or torchvision's; neither has ResNet-110 for CIFAR, which is plain torch then."""
    if case == "cifar":
        net = plain_resnet(110)
    elif library == "timm":
        from timm import create_model as timm_model

        net = timm_model("resnet50")
    else:
        from torchvision.models import resnet50

        net = resnet50()
    net = net.to(images.device).train()
    if library == "torchvision":
        optimiser = torch.optim.SGD(net.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
        return step_of(net, optimiser.step, optimiser.zero_grad, images, labels, torch.float32)
    from timm.optim import create_optimizer_v2

    net = net.to(memory_format=torch.channels_last)
    optimiser = create_optimizer_v2(net, opt="sgd", lr=RATE, weight_decay=DECAY, momentum=MOMENTUM)
    forward = net if mode is None else torch.compile(net, backend="inductor")
    last = images.contiguous(memory_format=torch.channels_last)
    return step_of(forward, optimiser.step, optimiser.zero_grad, last, labels, torch.bfloat16)


def ways(
    case: str, description: Architecture, images: Tensor, labels: Tensor, tiny: bool
) -> dict[str, Callable[[], Step]]:
    """Name -> what makes the step; the first is what the others are compared with."""
    found: dict[str, Callable[[], Step]] = {
        "timm's way, eager bfloat16": lambda: theirs(case, "timm", images, labels, None),
        "torchvision's way, eager float32": lambda: theirs(case, "torchvision", images, labels, None),
        "ours, eager": lambda: ours(description, images, labels, None, graph=False),
        "ours, eager, one graph": lambda: ours(description, images, labels, None, graph=True),
    }
    if not tiny:
        found["timm's way, compiled bfloat16"] = lambda: theirs(case, "timm", images, labels, "default")
        for mode in MODES:
            found[f"ours, compiled ({mode})"] = lambda mode=mode: ours(description, images, labels, mode, graph=False)
        found["ours, compiled, one graph"] = lambda: ours(description, images, labels, "default", graph=True)
    return found


def matrix_rate(device: torch.device, side: int) -> float:
    """Multiply-adds a second of a bfloat16 product of two matrices of that side: the median of ten."""
    one, other = torch.randn(2, side, side, device=device, dtype=torch.bfloat16)
    taken = protocol.measure([Contender("matrix", lambda: one @ other, 1)], 10, warm_up=3, device=device)
    return side**3 / protocol.spread(taken["matrix"])["median"]


def copy_rate(device: torch.device, size: int) -> float:
    """Bytes a second, read and written, of a copy of `size` bytes: the median of ten."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    goal = torch.empty_like(source)
    taken = protocol.measure([Contender("copy", lambda: goal.copy_(source), 1)], 10, warm_up=3, device=device)
    return 2 * size / protocol.spread(taken["copy"])["median"]


def bytes_of_step(description: Architecture, batch_size: int) -> int:
    """What a step of unfused operations moves: forward once, backward twice, weights and velocities of the update."""
    tape = record(description, segments(description, CheckpointPlan()), batch_size, 2)
    forward = sum(sum(tape.sizes[place] for place in op.given) + tape.sizes[op.gives] for op in tape.ops)
    return 3 * forward + 4 * 6 * cost(description).parameters


def main() -> None:
    """Measure one case, print the table, write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=list(CASES), default="cifar", nargs="?")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--tiny", action="store_true", help="a small image, nothing compiled: does the program work?")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    device = torch.device(given.device)
    model, batch_size, side = CASES[given.case]
    batch_size, side = given.batch_size or (2 if given.tiny else batch_size), 32 if given.tiny else side
    description = with_input(architecture(model), (3, side, side))
    images = torch.randn(batch_size, 3, side, side, device=device)
    labels = torch.arange(batch_size, device=device) % description.num_classes
    peak_macs, peak_bytes = (
        matrix_rate(device, 128 if given.tiny else 8192),
        copy_rate(device, 2**20 * (1024, 1)[given.tiny]),
    )
    facts = protocol.claim(f"{model}: images/s of training steps at batch {batch_size}", device, given.rounds)
    rows = []
    contenders, memory = prepare(ways(given.case, description, images, labels, given.tiny), batch_size, device)
    seconds = protocol.measure(contenders, given.rounds, calls=given.steps, device=device)
    for row in protocol.rows(contenders, seconds, contenders[0].name):
        second = batch_size / row["images_per_second"]["median"]
        row["share_of_matrix_rate"] = float(f"{3 * cost(description).macs * batch_size / second / peak_macs:.3g}")
        row["share_of_bandwidth"] = float(f"{bytes_of_step(description, batch_size) / second / peak_bytes:.3g}")
        rows.append({**row, "peak_bytes": memory[row["contender"]]})
    facts |= {"base": contenders[0].name, "matrix_macs_per_second": peak_macs, "copy_bytes_per_second": peak_bytes}
    print(protocol.table(f"{model}, times as fast as {contenders[0].name}", rows), flush=True)
    for row in rows:
        print(f"{row['contender']:36}{100 * row['share_of_matrix_rate']:5.1f} % of matrix rate", flush=True)
    protocol.write({**facts, "steps_of_a_round": given.steps, "rows": rows}, given.output)


def prepare(
    made: dict[str, Callable[[], Step]], images: int, device: torch.device
) -> tuple[list[Contender], dict[str, int | None]]:
    """The contenders after three steps (compiling and capture are in `ready_seconds`), and the peak bytes of each.

    A contender that fails is said aloud and left out: the others still count.
    """
    contenders, memory = [], {}
    for name, make in made.items():
        held = 0
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            held = torch.cuda.memory_allocated(device)

        def ready(make: Callable[[], Step] = make) -> Step:
            step = make()
            for _ in range(3):
                step()
            protocol.synchronise(device)
            return step

        try:
            step, seconds = protocol.timed(ready)
        except Exception as cause:
            print(f"{name}: left out, {type(cause).__name__}: {str(cause).splitlines()[0][:200]}", flush=True)
            continue
        contenders.append(Contender(name, step, images, seconds))
        memory[name] = torch.cuda.max_memory_allocated(device) - held if device.type == "cuda" else None
    return contenders, memory


if __name__ == "__main__":
    main()
