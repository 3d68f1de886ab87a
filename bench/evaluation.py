"""Seconds and memory of answering without gradients on a CPU: `python bench/evaluation.py [CASE…] [--output FILE]`.

How many images at once, and what the heap does with what is freed. Each measurement is a fresh process of one thread
in the run's own precision (bfloat16 where the processor has it), norms not folded, as `deepres eval` answers; `default`
is glibc's heap as it is, `kept` is ours while training (32 MiB and more go back all the same), `kept, of any size` ours
while evaluating. Processor seconds, the median of `rounds` passes after one; memory is the largest resident size.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import protocol
import torch

from deepres.base.heap import keep_freed_memory
from deepres.nn.create import create_model
from deepres.runs.together import BATCH, batch_size
from deepres.train.precision import choose

CPU = torch.device("cpu")
CASES = {"resnet50": (224, (8, batch_size(224, CPU), 64, BATCH)), "resnet56_cifar": (32, (32, 128, BATCH))}
HEAPS = ("default", "kept", "kept, of any size")


def one(model: str, size: int, heap: str, rounds: int) -> dict[str, object]:
    """A row, measured in this process."""
    torch.set_num_threads(1)
    if heap != "default":
        keep_freed_memory(of_any_size=heap == HEAPS[2])
    precision = choose("auto", CPU)
    network = precision.place(create_model(model)).eval()
    images = torch.randn(size, 3, CASES[model][0], CASES[model][0])

    def answer() -> None:
        with torch.inference_mode(), precision.autocast():
            network(images)

    contender = protocol.Contender(heap, answer, size)
    seconds = protocol.measure([contender], rounds, clock="processor")[heap]
    return {
        "batch_size": size,
        "heap": heap,
        "milliseconds_per_image": protocol.spread([1000 * second / size for second in seconds]),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure each case, print a table, write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", help="how many images at once, in place of each case's own")
    parser.add_argument("--only", metavar="MODEL,SIZE,HEAP", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    if given.only:
        model, size, heap = given.only.split(",", 2)
        print(json.dumps(one(model, int(size), heap, given.rounds)))
        return
    torch.set_num_threads(1)
    what = "answering without gradients: milliseconds an image and memory, by batch and heap"
    facts = protocol.claim(what, CPU, given.rounds, clock="processor", rows={})
    for model in given.cases:
        rows = []
        for size in given.sizes or CASES[model][1]:
            for heap in HEAPS:
                command = [sys.executable, __file__, "--only", f"{model},{size},{heap}", "--rounds", str(given.rounds)]
                rows.append(json.loads(subprocess.check_output(command, text=True)))
                print(model, rows[-1], flush=True)
        facts["rows"][model] = rows
    protocol.write(facts, given.output)


if __name__ == "__main__":
    main()
