"""The commands whose numbers a change of the house must leave alone, and what each leaves behind."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

HERE = Path(__file__).parent
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
AUTHORS = "eval resnet20 as its authors trained it"
SPELLINGS = {"--compile": "--fast", "--no-scale-lr": ""}
"""A flag of today -> what it was called when the record was made; nothing where the rate never went with the batch."""

Documents = dict[str, Any]
Gather = Callable[[Path, str], Documents]


@dataclass(frozen=True)
class Case:
    """One command, run in the scratch folder, where the cases before it left their outputs.

    `gather` is given that folder and what the command printed.
    `trained`: its numbers hang on weights that were trained here, so that another machine's are others.
    """

    name: str
    words: str
    gather: Gather
    processes: int = 1
    trained: bool = True


def tensors(values: Mapping[str, Tensor | np.ndarray[Any, Any]]) -> Documents:
    """What tensors hold, by name: the digest of all bytes, and the length of each as a vector."""
    digest, norms = sha256(), {}
    for name in sorted(values):
        array = np.ascontiguousarray(values[name])
        digest.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
        if array.dtype.kind == "f":
            norms[name] = float(f"{np.linalg.norm(array.astype(np.float64)):.10g}")  # its last bits hang on alignment
    return {"sha256": digest.hexdigest(), "norms": norms}


def arrays(path: Path) -> Documents:
    """The arrays of a .npz but for words."""
    with np.load(path, allow_pickle=False) as found:
        return tensors({name: found[name] for name in found.files if found[name].dtype.kind in "biuf"})


def run_folder(name: str, losses: int = 20) -> Gather:
    """What a run leaves: the last `losses` losses of its parts of steps, weights, statistics, history, result, answers.

    Before them a run may differentiate others, to measure how long that takes.
    """

    def gather(scratch: Path, _: str) -> Documents:
        run = scratch / name
        documents: Documents = {}
        for path in sorted((scratch / "trace").glob("losses-*.txt")):
            documents[f"losses of rank {path.stem[-1]}"] = [float(line) for line in path.read_text().split()[-losses:]]
        documents["weights"] = tensors(load_file(run / "model.safetensors"))
        documents["statistics"] = tensors(load_file(run / "statistics.safetensors"))
        documents["history"] = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        documents["test.json"] = json.loads((run / "test.json").read_text())
        documents["predictions"] = arrays(run / "predictions.npz")
        return documents

    return gather


def printed(scratch: Path, out: str) -> Documents:
    """JSON on stdout: one value, or one a line."""
    try:
        return {"printed": json.loads(out)}
    except json.JSONDecodeError:
        return {"printed": [json.loads(line) for line in out.splitlines()]}


def with_arrays(name: str) -> Gather:
    return lambda scratch, out: {**printed(scratch, out), "predictions": arrays(scratch / name)}


def folder_of_json(name: str) -> Gather:
    def gather(scratch: Path, _: str) -> Documents:
        return {path.name: json.loads(path.read_text()) for path in sorted((scratch / name).glob("*.json"))}

    return gather


DIGITS = "train digits --seed 0 --epochs 1 --compile off --device cpu"
STEPS = "--compile off --workers 0 --device cpu --set train.iterations=20 --set train.epochs=none"
FOREIGN = "eval {} digits --device cpu --json --model resnet20_cifar --preprocessing cifar10"

CASES = (
    Case("train digits", f"{DIGITS} --output one", run_folder("one", losses=22)),
    Case("train digits, two processes", f"{DIGITS} --output two", run_folder("two", losses=22), processes=2),
    Case(
        "train digits, every option",
        f"train digits --seed 3 --balance sampler --batch-size 32 --no-scale-lr {STEPS} --set train.precision=float32 "
        "--set train.accumulate=2 --set train.ema_decay=0.9 --set train.clip_norm=1 --set augmentation.mixup=0.2 "
        "--set augmentation.cutmix=1 --set augmentation.erase=0.2 --output options",
        run_folder("options", losses=40),
    ),
    Case(
        "train photos",
        f"train photos --recipe photos --balance loss --batch-size 16 --no-scale-lr {STEPS} --set preparation.crop=32 "
        "--set augmentation.auto=trivial --output run-photos",
        run_folder("run-photos"),
    ),
    Case(
        "finetune photos with a teacher",
        f"train photos --weights run-photos --teacher run-photos --batch-size 16 --no-scale-lr {STEPS} --output tuned",
        run_folder("tuned"),
    ),
    Case(
        "eval resnet18, names of torchvision",
        "eval torchvision.pth digits --variant resnet18 --preprocessing imagenet --protocol center:32 --device cpu "
        "--json --predictions torchvision.npz",
        with_arrays("torchvision.npz"),
        trained=False,
    ),
    Case(
        "eval resnet20, names of pytorch_resnet_cifar10",
        f"{FOREIGN.format('cifar.th')} --predictions cifar.npz",
        with_arrays("cifar.npz"),
        trained=False,
    ),
    Case(
        AUTHORS,
        f"{FOREIGN.format('authors.th')} --predictions authors.npz",
        with_arrays("authors.npz"),
        trained=False,
    ),
    Case(
        "eval digits, ten crops",
        "eval one --protocol ten-crop:16/18 --device cpu --json --predictions ten.npz",
        with_arrays("ten.npz"),
    ),
    Case("compare", "compare one two options --vote --json", printed),
    Case("predict", "predict run-photos photos/round --device cpu --json", printed),
    Case(
        "analyze resnet20",
        "analyze one --images 12 --draws 1 --device cpu --output analysis",
        folder_of_json("analysis"),
    ),
    Case("reproduce resnet/table1", "reproduce resnet/table1 --json --output tables", printed, trained=False),
    Case("reproduce, all descriptions", "reproduce --descriptions --json", printed, trained=False),
)


def seeded(shapes: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Weights of these names and shapes as training might leave them, every one drawn."""
    draw = np.random.default_rng(seed)
    drawn: dict[str, Tensor] = {}
    for name, tensor in shapes.items():
        shape = tuple(tensor.shape)
        if not tensor.is_floating_point():
            drawn[name] = torch.full(shape, 7)
        elif name.endswith("running_var"):
            drawn[name] = torch.from_numpy(draw.uniform(0.5, 1.5, shape).astype(np.float32))
        elif len(shape) > 1:
            deviation = (2 / (tensor.numel() / shape[0])) ** 0.5
            drawn[name] = torch.from_numpy(draw.normal(0, deviation, shape).astype(np.float32))
        elif name.endswith("weight"):
            drawn[name] = torch.from_numpy(draw.uniform(0.25, 0.75, shape).astype(np.float32))
        else:
            drawn[name] = torch.from_numpy(draw.normal(0, 0.1, shape).astype(np.float32))
    return drawn


def cifar_shapes() -> dict[str, Tensor]:
    """ResNet-20 with option A under the names of pytorch_resnet_cifar10."""
    shapes: dict[str, Tensor] = {}

    def norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = torch.empty(width)

    shapes["conv1.weight"] = torch.empty(16, 3, 3, 3)
    norm("bn1", 16)
    before = 16
    for stage, width in enumerate((16, 32, 64), 1):
        for unit in range(3):
            for number in (1, 2):
                shapes[f"layer{stage}.{unit}.conv{number}.weight"] = torch.empty(width, before, 3, 3)
                norm(f"layer{stage}.{unit}.bn{number}", width)
                before = width
    shapes["linear.weight"], shapes["linear.bias"] = torch.empty(10, 64), torch.empty(10)
    return shapes


def lay_out(scratch: Path, shared: Path) -> list[str]:
    """What the commands read: weights of others, pictures. Returns the names of cases that have to be left out here."""
    torch.save(seeded(torchvision.models.resnet18(num_classes=10).state_dict(), 1), scratch / "torchvision.pth")
    torch.save(seeded(cifar_shapes(), 2), scratch / "cifar.th")
    draw = np.random.default_rng(0)
    y, x = np.mgrid[0:40, 0:52]
    for number in range(90):
        label = ("round", "striped", "plain")[number % 3]
        pixels = draw.integers(0, 90, (40, 52, 3))
        cx, cy, period = draw.integers(15, 36), draw.integers(12, 28), draw.integers(4, 9)
        lit = {"round": (x - cx) ** 2 + (y - cy) ** 2 < 90, "striped": x // period % 2 == 0, "plain": x < 0}[label]
        pixels[lit] += draw.integers(60, 165, 3)
        path = scratch / "photos" / label / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    authors = shared / "data" / "weights" / "pytorch_resnet_cifar10" / "resnet20-12fca82f.th"
    if authors.is_file():
        (scratch / "authors.th").write_bytes(authors.read_bytes())
        return []
    return [AUTHORS]


def carry_out(case: Case, scratch: Path, source: Path) -> Documents:
    """Run the case by the package in `source` (a folder `src`), on one thread a process; what it left.

    Raises:
        RuntimeError: the command failed; what it said.
    """
    trace = scratch / "trace"
    trace.mkdir(exist_ok=True)
    for path in trace.iterdir():
        path.unlink()
    known = (source / "deepres" / "cli" / "train.py").read_text()  # the one verb that has such flags
    words = [SPELLINGS[word] if word in SPELLINGS and f'"{word}"' not in known else word for word in case.words.split()]
    words = [word for word in words if word]
    launcher = [sys.executable, *(TORCHRUN if case.processes > 1 else []), str(HERE / "traced.py"), *words]
    settled = {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TRACE": str(trace)}
    environment = {**os.environ, **settled, "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(launcher, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{case.name}: exit {ended.returncode}\n{' '.join(words)}\n{ended.stderr[-3000:]}")
    return case.gather(scratch, ended.stdout)
