"""A day on a machine with a GPU: `python bench/gpu_day.py --data cifar10=PATH [--dry-run] [--hours H]`.

First what training takes here, each into a file of its own below --output: ResNet-110 at 32 px and ResNet-50 at 224 px
beside timm (`gpu.py`), several small networks at once (`gpu_together.py`). Then the papers' runs that the queue names,
the cheapest first, as many at once as were fastest together, with NVIDIA's multi-process service where it helped.

What is there already is not measured again, and runs go on where they were cut: the same command goes on. --dry-run
says how many hours each study would take here, by a step that is measured for a moment, and begins nothing.
`--device cpu --tiny` tries every line on small work; the queue then ends after a moment.
"""

import argparse
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from gpu_together import PIECES, piece_of, rate, service, step_of

from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.cost import cost
from deepres.base.wording import columns, duration
from deepres.studies.overview import overview

HERE = Path(__file__).parent
ALONE = "captured, compiled"
SIDE_BY_SIDE = "processes, multi-process service"


def measured(output: Path, device: str, tiny: bool) -> None:
    """The benchmarks whose files are not there yet."""
    words = ["--device", device, *(["--tiny"] if tiny else [])]
    few = ["--rounds", "1", "--steps", "1"] if tiny else []
    for name, more in (
        ("gpu_cifar.json", ["gpu.py", "cifar", *few]),
        ("gpu_imagenet.json", ["gpu.py", "imagenet", *few]),
        ("gpu_together.json", ["gpu_together.py", *(["--seconds", "1"] if tiny else ["--mps"])]),
    ):
        if not (output / name).is_file():
            print(f"{name}: {' '.join(more)}", flush=True)
            program, *rest = more
            command = [sys.executable, str(HERE / program), *rest, *words, "--output", str(output / name)]
            subprocess.run(command, check=True)


def fastest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the ways that a queue can go the one of the most steps a second: one run, or processes side by side."""
    ways = [row for row in rows if row["contender"].startswith("processes") or row["contender"] == ALONE]
    return max(ways, key=lambda row: row["steps_per_second"])


def hours(steps_per_second: float, images: int) -> str:
    """A line a study: its runs and the time of all of them, at that many steps of ResNet-20 a second."""
    macs = 3 * cost(architecture("resnet20_cifar")).macs * images * steps_per_second
    lines = [("study", "runs", "steps", "time")]
    for row in overview(Path("runs/full")):
        if row.runs_full:
            lines.append((row.study, str(row.runs_full), f"{row.steps_full:,}", duration(row.macs_full / macs)))
    return (
        f"{columns(lines, '<>>>')}\n\nat {steps_per_second:,.0f} steps of ResNet-20 a second, {images} images each; "
        "wide networks, which fill the GPU better, take less. Runs that studies share are counted in each."
    )


def main() -> None:
    """Measure, then work through the queue; or say what that would take."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", default=[], metavar="SET=PATH")
    parser.add_argument("--queue", type=Path, default=HERE.parent / "evidence" / "queue.json")
    parser.add_argument("--output", type=Path, default=Path("runs/gpu"), help="for what is measured")
    parser.add_argument("--runs", type=Path, help="for the runs; by default the folder that the queue names")
    parser.add_argument("--hours", type=float, help="for the queue")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args()
    together = given.output / "gpu_together.json"
    if given.dry_run:
        device = torch.device(given.device)
        if together.is_file():
            speed = fastest(json.loads(together.read_text())["rows"])["steps_per_second"]
        else:
            speed = rate(step_of(device, compiled=not given.tiny, graph=True), 1, device, 2.0)
        print(hours(speed, PIECES * piece_of(device)))
        return
    given.output.mkdir(parents=True, exist_ok=True)
    measured(given.output, given.device, given.tiny)
    way = fastest(json.loads(together.read_text())["rows"])
    print(f"the queue: {way['contender']}, {way['networks']} at once", flush=True)
    command = [sys.executable, "-m", "deepres", "reproduce", "--queue", str(given.queue), "--device", given.device]
    command += ["--at-once", str(way["networks"]), *(word for one in given.data for word in ("--data", one))]
    command += [] if given.runs is None else ["--output", str(given.runs)]
    limit = 0.01 if given.tiny else given.hours
    command += [] if limit is None else ["--hours", str(limit)]
    with service() if way["contender"] == SIDE_BY_SIDE else nullcontext():
        sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
