"""Images/s of training, loading included: `python bench/training_step.py [cifar|photos] [--source S] [--output F]`.

cifar: ResNet-20, batch 128, 32 px, images in memory; pad-and-crop and flip. photos: ResNet-50, batch 16, 224 px, JPEG
files; random resized crop and flip. Without `--source` the images are noise, drawn into a temporary folder.

Contenders: the field's default loop (torchvision's transforms on PIL images, float32, torch's SGD) with 0, 1 and 2
workers; timm's settings (channels last, bfloat16 autocast, its loader, collate and SGD, inductor); and `deepres train`
itself, with the loop's own defaults: `execute.start` runs, and between its steps, outside the clock, the others have
their turn. All train the same network from the same images with the same batch. Steady state: every contender's first
steps (compiling, workers starting) are told apart as `ready_seconds`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import protocol
import torch
import torch.nn.functional as F
from PIL import Image
from plain_networks import network, plain_resnet
from protocol import Contender
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from deepres.base.records import edit
from deepres.data.facts import facts_of
from deepres.data.images import ArrayImages
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.recipes import by_name
from deepres.recipes.run import Run
from deepres.runs import train
from deepres.runs.session import Session
from deepres.train.loop import Step

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CASES = {"cifar": ("resnet20_cifar", "cifar_2015", 128, 32), "photos": ("resnet50", "imagenet_modern", 16, 224)}


class Pictures(Dataset[Any]):
    """Arrays as PIL images, as torchvision's and timm's CIFAR have them."""

    def __init__(self, images: ArrayImages, transform: Callable[[Any], Any] | None = None) -> None:
        self.pixels = images.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = images.labels.tolist()
        self.transform = transform

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = Image.fromarray(self.pixels[index])
        return (image if self.transform is None else self.transform(image)), self.labels[index]

    def __len__(self) -> int:
        return len(self.labels)


def default_steps(case: str, images: Any, batch_size: int, workers: int, classes: int) -> Iterator[None]:
    """The loop of a tutorial: one training step each time it is asked."""
    crop = [T.RandomCrop(32, padding=4)] if case == "cifar" else [T.RandomResizedCrop(224)]
    images.transform = T.Compose([*crop, T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(MEAN, STD)])
    loader = DataLoader(
        images, batch_size, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    net = network(CASES[case][0], classes)
    optimiser = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    while True:
        for pixels, labels in loader:
            loss = F.cross_entropy(net(pixels), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()
            yield


def timm_steps(case: str, images: Any, batch_size: int, workers: int, classes: int, compiled: bool) -> Iterator[None]:
    """timm's training script at its fastest: --channels-last --amp --amp-dtype bfloat16 --torchcompile inductor."""
    from timm import create_model
    from timm.data import create_loader
    from timm.optim import create_optimizer_v2

    side = CASES[case][3]
    loader = create_loader(
        images,
        (3, side, side),
        batch_size,
        is_training=True,
        color_jitter=0.0,
        scale=(0.64, 1.0) if case == "cifar" else None,
        num_workers=workers,
        persistent_workers=workers > 0,
        device=CPU,
    )
    net = plain_resnet(classes=classes) if case == "cifar" else create_model("resnet50", num_classes=classes)
    net = net.to(memory_format=torch.channels_last).train()
    optimiser = create_optimizer_v2(net, opt="sgd", lr=0.1, weight_decay=1e-4, momentum=0.9)
    forward = torch.compile(net, backend="inductor") if compiled else net
    while True:
        for pixels, labels in loader:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(forward(pixels), labels)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            loss.item()
            yield


class _Enough(Exception):  # noqa: N818  # no error: the way out of a run that has been measured
    pass


class Watch:
    """Told of all that a run does; after every `per_round` steps the others have their turn, outside the clock."""

    def __init__(self, per_round: int, warm_up: int, rounds: int, others: Callable[[], None]) -> None:
        self.per_round, self.warm_up, self.left, self.others = per_round, warm_up, rounds, others
        self.steps, self.spent, self.ready_seconds = 0, 0.0, 0.0
        self.seconds: list[float] = []
        self.lines: list[str] = []
        self.resumed = perf_counter()

    def __call__(self, event: train.Event) -> None:
        self.spent += perf_counter() - self.resumed
        if isinstance(event, str):
            self.lines.append(event)
        if isinstance(event, Step):
            self.steps += 1
            if self.steps == self.warm_up:
                self.ready_seconds, self.spent = self.spent, 0.0
            elif self.steps > self.warm_up and (self.steps - self.warm_up) % self.per_round == 0:
                self.seconds.append(self.spent)
                self.others()
                self.left, self.spent = self.left - 1, 0.0
                if not self.left:
                    raise _Enough
        self.resumed = perf_counter()


def plan(case: str, source: str, edits: list[str]) -> Run:
    """A run of 64,000 steps as `deepres train SOURCE --recipe … --model …` makes it, without held-out images.

    It is broken off; its length is what the loop goes by when it decides whether compiling pays.
    """
    model, recipe, batch_size, _ = CASES[case]
    opened = open_source(DataConfig(source=source, val_fraction=0, test_fraction=0))
    run = by_name.recipe(recipe, facts_of(opened), model)
    own = [f"train.batch_size={batch_size}", "train.accumulate=1", "train.epochs=none", "train.iterations=64000"]
    own += ["train.ema_decay=none", "data.test_fraction=0", "data.val_fraction=0"]
    own += [
        "augmentation.auto=none",
        "augmentation.erase=0",
    ]
    return edit(run.replace(data=run.data.replace(source=source)), [*own, *edits])


def synthetic(case: str, folder: Path, count: int) -> str:
    """Noise with the sizes of CIFAR-10, or smooth noise as JPEG files of 500 x 375 in four class folders."""
    draw = np.random.default_rng(0)
    if case == "cifar":
        pixels = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        np.savez(folder / "noise.npz", x=pixels, y=np.arange(count) % 10)
        return str(folder / "noise.npz")
    for number in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (47, 63, 3), dtype=np.uint8))
        (folder / f"class{number % 4}").mkdir(exist_ok=True)
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"class{number % 4}" / f"{number}.jpg")
    return str(folder)


def main() -> None:
    """Measure one case, print the table, write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=list(CASES), default="cifar", nargs="?")
    parser.add_argument("--source", help="a CIFAR-10 .npz, or a folder of class folders")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, help="of a round (20 for cifar, 2 for photos)")
    parser.add_argument("--warm-up", type=int, default=3, help="steps")
    parser.add_argument("--images", type=int, help="how many, where they are noise (10000, 96)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2], help="of the default loop and timm's")
    parser.add_argument("--set", dest="edits", action="append", default=[], metavar="A.B=C", help="of our run")
    parser.add_argument("--tiny", action="store_true", help="compile nothing")
    parser.add_argument("--apart", action="store_true", help="peers and ours in processes of their own, in pairs")
    parser.add_argument("--only", choices=["peers", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.apart:
        facts = in_pairs(given)
        print(protocol.table(f"{given.case}, times as fast as {facts['base']}", facts["rows"]), flush=True)
        protocol.write(facts, given.output)
        return
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        count = given.images or {"cifar": 10_000, "photos": 96}[given.case]
        source = given.source or synthetic(given.case, images, count)
        facts = measure(given, source, Path(folder) / "run")
    print(protocol.table(f"{given.case}, times as fast as {facts['base']}", facts["rows"]), flush=True)
    protocol.write(facts, given.output)


def in_pairs(given: argparse.Namespace) -> dict[str, Any]:
    """A process for the peers and one for ours in each round: what `deepres train` tells the heap is its own."""
    seconds: dict[str, list[float]] = {}
    ready: dict[str, float] = {}
    own = [word for word in sys.argv[1:] if word != "--apart"]
    for flag in ("--rounds", "--output"):
        if flag in own:
            del own[own.index(flag) : own.index(flag) + 2]
    images = CASES[given.case][2] * (given.steps or {"cifar": 20, "photos": 2}[given.case])
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "one.json"
        for _ in range(given.rounds):
            for only in ("peers", "ours"):
                command = [sys.executable, __file__, *own, "--rounds", "1", "--only", only, "--output", str(file)]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                found = json.loads(file.read_text())
                lines = found["ours"] or lines
                for row in found["rows"]:
                    seconds.setdefault(row["contender"], []).append(images / row["images_per_second"]["median"])
                    ready.setdefault(row["contender"], row.get("ready_seconds", 0.0))
    contenders = [Contender(name, lambda: None, images, ready[name]) for name in seconds]
    base = next(iter(seconds))
    what = f"{CASES[given.case][0]}: images/s of training at batch {CASES[given.case][2]}, data loading included"
    facts = protocol.claim(what, CPU, given.rounds, base=base, how="each round a process for the peers, one for ours")
    return {**facts, "ours": lines, "rows": protocol.rows(contenders, seconds, base)}


def measure(given: argparse.Namespace, source: str, folder: Path) -> dict[str, Any]:
    """All contenders in turn; ours is the run in `folder`."""
    case, batch_size = given.case, CASES[given.case][2]
    per_round = given.steps or {"cifar": 20, "photos": 2}[case]
    opened = open_source(DataConfig(source=source, val_fraction=0, test_fraction=0))
    classes = len(opened.classes)

    def images() -> Any:
        return Pictures(opened.train) if isinstance(opened.train, ArrayImages) else ImageFolder(source)

    loops = {}
    for workers in given.workers if given.only != "ours" else ():
        loops[f"default loop, {workers} workers"] = default_steps(case, images(), batch_size, workers, classes)
        timms = timm_steps(case, images(), batch_size, workers, classes, compiled=not given.tiny)
        loops[f"timm's, {workers} workers"] = timms
    others = []
    for name, loop in loops.items():
        _, seconds = protocol.timed(lambda loop=loop: [next(loop) for _ in range(given.warm_up)])
        call = lambda loop=loop: [next(loop) for _ in range(per_round)]  # noqa: E731
        others.append(Contender(name, call, per_round * batch_size, seconds))
    seconds: dict[str, list[float]] = {other.name: [] for other in others}

    def turn() -> None:
        for name, values in protocol.measure(others, 1, warm_up=0).items():
            seconds[name] += values

    watch = Watch(per_round, given.warm_up, given.rounds, turn)
    if given.only == "peers":
        for _ in range(given.rounds):
            turn()
    else:
        with suppress(_Enough):
            train.start(plan(case, source, given.edits), Session(folder, CPU, watch))
    ours = Contender("deepres train", lambda: None, per_round * batch_size, watch.ready_seconds)
    seconds[ours.name] = watch.seconds
    present = [other for other in [*others, ours] if seconds[other.name]]
    base = present[0].name
    rows = protocol.rows(present, seconds, base)
    what = f"{CASES[case][0]}: images/s of training at batch {batch_size}, data loading included"
    facts = protocol.claim(what, CPU, given.rounds, steps_of_a_round=per_round, base=base)
    return {**facts, "images": "given" if given.source else "noise", "ours": watch.lines, "rows": rows}


if __name__ == "__main__":
    main()
