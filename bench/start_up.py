"""Seconds until a command answers: `python bench/start_up.py [--rounds 11] [--output FILE]`.

Whole processes, in turn, wall seconds. "Warm" means that the files lie in the system's cache and byte code is written;
"cold" that there is no byte code (an empty folder is its cache), files still being in the system's cache, which a
program without special rights cannot empty. The bar is 0.4 s for what needs no torch.

`--predict RUN PICTURE` tells the processor seconds of a first answer instead, by part: torch, deepres, the weights, the
answer; and beside them what importing torchvision takes, which an answer does without. `--train SRC` tells those of a
whole training of 16 pictures of 12 px, by this code and by that in the folder SRC (another checkout's src), in turn.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

import protocol
import torch
from PIL import Image

OURS = {
    "deepres --help": ["-m", "deepres", "--help"],
    "deepres models": ["-m", "deepres", "models"],
    "deepres describe resnet50": ["-m", "deepres", "describe", "resnet50"],
    "import deepres": ["-c", "import deepres"],
}
PEERS = {
    "python alone": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import torchvision": ["-c", "import torchvision"],
    "import timm": ["-c", "import timm"],
}
BAR_SECONDS = 0.4
PARTS = """
import sys
from time import process_time
times = [process_time()]
import torch
times.append(process_time())
import deepres.cli.predict
from deepres.predict.predictor import Predictor
times.append(process_time())
predictor = Predictor.load(sys.argv[1], "cpu")
times.append(process_time())
predictor(sys.argv[2])
times.append(process_time())
assert "torchvision" not in sys.modules
import torchvision
times.append(process_time())
print(*[after - before for before, after in zip([0, *times], times)])
"""
NAMES = ("python", "torch", "deepres", "weights", "first answer", "torchvision, which is not needed")


def contenders(peers: bool) -> dict[str, list[str]]:
    """Name -> command; a peer that is not installed is left out, aloud."""
    found = {name: [sys.executable, *arguments] for name, arguments in OURS.items()}
    for name, arguments in (PEERS if peers else {}).items():
        if subprocess.run([sys.executable, *arguments], capture_output=True, check=False).returncode:
            print(f"{name}: not installed, left out")
        else:
            found[name] = [sys.executable, *arguments]
    return found


def by_part(run: str, picture: str, rounds: int) -> list[dict[str, object]]:
    """Processor seconds of each part of a first answer, in processes of their own, after one that warms caches."""
    found = []
    for _ in range(rounds + 1):
        words = [sys.executable, "-c", PARTS, run, picture]
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        found.append([float(seconds) for seconds in told.split()])
    columns = list(zip(*found[1:], strict=True))
    answered = ("all but torchvision", [sum(row[:-1]) for row in found[1:]])
    named = [*zip(NAMES, columns, strict=True), answered]
    return [{"part": name, "processor_seconds": protocol.spread(list(values))} for name, values in named]


def tiny_trainings(before: Path, rounds: int) -> list[dict[str, object]]:
    """Processor seconds of `deepres train` of pictures that take no time, by both codes, after one of each."""
    found: dict[str, list[float]] = {"before": [], "now": []}
    with tempfile.TemporaryDirectory() as place:
        for number in range(16):
            path = Path(place) / "pictures" / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((12, 12), 40 + 8 * number).convert("RGB").save(path)
        words = "-m deepres train pictures --device cpu --compile off --model resnet20_cifar -b 8 --epochs 1"
        command = [sys.executable, *words.split(), "--set", "preparation.crop=8", "--output"]
        sources = {"before": before.resolve(), "now": Path(__file__).resolve().parents[1] / "src"}
        for turn in range(rounds + 1):
            for name, source in sources.items():
                used = getrusage(RUSAGE_CHILDREN)
                environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
                run = [*command, f"{name}-{turn}"]
                subprocess.run(run, cwd=place, env=environment, check=True, capture_output=True)
                now = getrusage(RUSAGE_CHILDREN)
                found[name].append(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)
    return [{"code": name, "processor_seconds": protocol.spread(seconds[1:])} for name, seconds in found.items()]


def main() -> None:
    """Measure warm and cold, print, write; the exit code is 1 where one of ours is above the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--ours", action="store_true", help="without the peers")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--predict", nargs=2, metavar=("RUN", "PICTURE"))
    parser.add_argument("--train", metavar="SRC", type=Path)
    given = parser.parse_args()
    if given.train:
        what = "processor seconds of a tiny training, beside those of the code before"
        facts = protocol.claim(what, torch.device("cpu"), given.rounds, rows=tiny_trainings(given.train, given.rounds))
        for row in facts["rows"]:
            print("{:10}{median:.2f} ({min:.2f}-{max:.2f}) s".format(row["code"], **row["processor_seconds"]))
        protocol.write(facts, given.output)
        return
    if given.predict:
        what = "processor seconds until the first answer of deepres predict, by part"
        facts = protocol.claim(what, torch.device("cpu"), given.rounds, parts=by_part(*given.predict, given.rounds))
        for part in facts["parts"]:
            print("{:36}{median:.2f} ({min:.2f}-{max:.2f}) s".format(part["part"], **part["processor_seconds"]))
        protocol.write(facts, given.output)
        return
    commands = contenders(not given.ours)
    facts = protocol.claim("seconds until a command answers", torch.device("cpu"), given.rounds, bar=BAR_SECONDS)
    warm = protocol.commands(commands, given.rounds)
    cold: dict[str, list[float]] = {name: [] for name in OURS}
    for _ in range(given.rounds):
        for name in OURS:
            with tempfile.TemporaryDirectory() as empty:
                fresh = [commands[name][0], "-X", f"pycache_prefix={empty}", *commands[name][1:]]
                cold[name] += protocol.commands({name: fresh}, 1, warm_up=0)[name]
    facts["rows"] = [{"command": name, "warm_seconds": protocol.spread(warm[name])} for name in commands]
    for row in facts["rows"]:
        if row["command"] in cold:
            row["cold_seconds"] = protocol.spread(cold[row["command"]])
        told = "  cold {median:.2f}".format(**row["cold_seconds"]) if "cold_seconds" in row else ""
        print("{:28}warm {median:.2f} ({min:.2f}-{max:.2f}) s".format(row["command"], **row["warm_seconds"]) + told)
    protocol.write(facts, given.output)
    slow = [name for name in OURS if median(warm[name]) > BAR_SECONDS]
    if slow:
        sys.exit(f"above {BAR_SECONDS} s: {', '.join(slow)}")


if __name__ == "__main__":
    main()
