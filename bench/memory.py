"""Peak memory and time of training steps, plain against recomputed: `python bench/memory.py [--steps 3] [CASE…]`.

Protocol. Each measurement is a fresh process of one thread: it builds the network (float32, channels last), draws one
batch of noise and runs `steps` steps (forward, cross-entropy, backward, SGD with momentum); the first is a warm-up.
Memory is the process's largest resident size less its size before the network was built; nothing is sampled. Time is
processor seconds (not the clock's: other work on the machine disturbs those), the median of the steps after the first.
Where the predicted step exceeds what the machine has free, the process is not started and the prediction stands alone.

`plain` recomputes nothing, `save` is `--memory save`; `save mapped` is the same with MAPPED in the environment: tensors
of a megabyte and more then go back to the system at once, where glibc's heap would keep the holes between them, and
pages are fetched anew each time; `save tcmalloc` and `plain tcmalloc` are the same with that allocator preloaded, where
it is installed; `torchvision` is the same dense network in torchvision's code, without and with its own
`memory_efficient` checkpointing. Every row is compared with `plain`, of the C library's heap.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.checkpointing import make_plan
from deepres.arch.readings.segments import CheckpointPlan
from deepres.nn.create import create_model
from deepres.nn.environment import hardware, versions
from deepres.nn.memory import MARGIN, apply, available_bytes
from deepres.train.config import SgdConfig
from deepres.train.optim import Sgd

CPU = torch.device("cpu")
MAPPED = {"MALLOC_MMAP_THRESHOLD_": "1048576", "THP_MEM_ALLOC_ENABLE": "1"}
SAVED = (("save", 64), ("save mapped", 64), ("plain tcmalloc", 64), ("save tcmalloc", 64))
CASES: dict[str, tuple[tuple[str, int], ...]] = {
    "preresnet1001_cifar": (("plain", 64), *SAVED),
    "resnet1202_cifar": (("plain", 64), *SAVED),
    "densenet_bc100_k12_cifar": (
        ("plain", 64),
        ("save", 64),
        ("torchvision plain", 64),
        ("torchvision memory_efficient", 64),
    ),
    "densenet_bc190_k40_cifar": (
        ("plain", 16),
        ("save", 16),
        ("plain tcmalloc", 16),
        ("save tcmalloc", 16),
    ),
}
"""What is measured: network -> how, at which batch."""


def torchvision_twin(memory_efficient: bool) -> nn.Module:
    """DenseNet-BC-100-12 for CIFAR in torchvision's code: its stem replaced by the paper's 3x3."""
    from torchvision.models.densenet import DenseNet

    twin: nn.Module = DenseNet(12, (16, 16, 16), 24, num_classes=10, memory_efficient=memory_efficient)
    features = twin.features
    assert isinstance(features, nn.Sequential)
    features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    for name in ("norm0", "relu0", "pool0"):
        delattr(features, name)
    return twin


def measure(name: str, how: str, batch_size: int, steps: int) -> dict[str, Any]:
    """One case in this process: bytes, and seconds of each step after the first."""
    torch.set_num_threads(1)
    description = architecture(name)
    plan = make_plan(description, batch_size) if how.startswith("save") else CheckpointPlan()
    before = _resident()
    if how.startswith("torchvision"):
        net = torchvision_twin(how.endswith("memory_efficient"))
    else:
        net = create_model(description)
    counted = sum(parameter.numel() for parameter in net.parameters())
    net = net.to(memory_format=torch.channels_last).train()
    images = torch.randn(batch_size, *description.input).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch_size) % 10
    optimiser = Sgd(net.named_parameters(), SgdConfig())
    seconds = []
    with apply(net, plan):  # type: ignore[arg-type]
        for _ in range(steps):
            began = process_time()
            F.cross_entropy(net(images), labels).backward()
            optimiser.step(0.01)
            optimiser.zero_grad()
            seconds.append(process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"parameters": counted, "peak_bytes": peak - before, "seconds": [round(s, 3) for s in seconds[1:]]}


def main() -> None:
    """Measure the named cases (all by default), print the table, write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch-size", type=int, help="instead of the protocol's")
    parser.add_argument("--one", metavar="HOW", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.cases[0], given.one, given.batch_size, given.steps)))
        return
    torch.set_num_threads(1)  # as the processes of the rows, for what is said of the hardware
    for name in given.cases or CASES:
        rows = [_row(name, how, given.batch_size or batch, given.steps) for how, batch in CASES[name]]
        _compare(rows)
        facts = {
            "claim": f"{name}: peak memory and time of a training step, plain and recomputed",
            "command": f"python bench/memory.py --steps {given.steps} {name}",
            "hardware": f"{hardware(CPU)}; a machine shared with other work",
            "versions": versions(),
            "n": given.steps - 1,
            "precision": "float32, channels last",
            "seconds": "processor seconds of one thread, each step after the first",
            "rows": rows,
        }
        path = Path(__file__).parents[1] / "evidence" / f"memory_{name}.json"
        path.write_text(json.dumps(facts, indent=1) + "\n")
        print(table(name, rows), flush=True)


def table(name: str, rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown; `of plain` compares with the plain row of the same batch."""
    lines = [f"{name}", "| how | batch | predicted | measured | of plain | s/step | of plain |", "|" + " --- |" * 7]
    for row in rows:
        cells = [row["how"], str(row["batch_size"]), _gib(row.get("predicted_bytes")), _gib(row.get("peak_bytes"))]
        cells.append("" if "of_plain_peak" not in row else f"{100 * row['of_plain_peak']:.0f} %")
        cells.append("not run" if "seconds" not in row else f"{median(row['seconds']):.2f}")
        cells.append("" if "of_plain_time" not in row else f"{row['of_plain_time']:.2f}x")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _row(name: str, how: str, batch_size: int, steps: int) -> dict[str, Any]:
    row: dict[str, Any] = {"how": how, "batch_size": batch_size}
    plan = make_plan(architecture(name), batch_size)
    predicted = plan.plain_bytes if "plain" in how else plan.peak_bytes
    if not how.startswith("torchvision"):
        row |= {"predicted_bytes": predicted}
        row |= {"recomputed": plan.recomputed, "segments": len(plan.segments)} if how.startswith("save") else {}
    free = available_bytes(CPU)
    if predicted * MARGIN > free:
        return row | {"not_run": f"{_gib(int(predicted * MARGIN))} with its margin, {_gib(free)} free"}
    command = [sys.executable, __file__, name, "--one", how, "--batch-size", str(batch_size), "--steps", str(steps)]
    environment = os.environ | (MAPPED if how == "save mapped" else {})
    if how.endswith("tcmalloc"):
        library = find_library("tcmalloc_minimal")
        if library is None:
            return row | {"not_run": "tcmalloc is not installed"}
        environment |= {"LD_PRELOAD": library}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return row | json.loads(done.stdout)


def _compare(rows: list[dict[str, Any]]) -> None:
    plain = {row["batch_size"]: row for row in rows if row["how"] == "plain"}
    for row in rows:
        base = plain[row["batch_size"]]
        if row is base or "seconds" not in row:
            continue
        if "seconds" in base:
            row["of_plain_time"] = round(median(row["seconds"]) / median(base["seconds"]), 3)
        row["of_plain_peak"] = round(row["peak_bytes"] / base.get("peak_bytes", base["predicted_bytes"]), 3)


def _gib(count: int | None) -> str:
    return "" if count is None else f"{count / 2**30:.2f} GiB"


def _resident() -> int:
    """This process's resident bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
