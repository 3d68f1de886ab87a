"""What else one would do with a folder of photos, as each library's documentation has it; a whole run is one process.

    python bench/photos_peers.py plain|timm|fastai FACTS.json --seed 0 --threads 2 --output DIR

FACTS.json says what all contenders have in common: the list of photos with their splits, the network and its
converted weights, size, mean and std, epochs, batch size (`photos_cases.py` writes it). No import of ours.

plain    torchvision's transforms, one rate, a cosine; float32. "Transfer Learning for Computer Vision" of PyTorch's
         tutorials (RandomResizedCrop, flip, a new `fc`, SGD with momentum 0.9 for all layers), with batches of 32, a
         rate of 0.01 and a cosine where it has batches of 4 and 0.001, dropped every 7 epochs. From scratch:
         torchvision's reference for ResNets (references/classification: rate 0.1 for a batch of 256, weight decay
         1e-4, a tenth of the rate after each third of the run).
timm     what its train script does by default (timm 1.0.31): create_loader with area 0.08 to 1, colour jitter 0.4 and
         random interpolation; SGD with Nesterov's momentum, a rate of 0.1 for a batch of 256, weight decay 2e-5;
         label smoothing 0.1; a cosine stepped on updates, as in its fine-tunings, after a warm-up of a fifth of the
         run (whole epochs, at most its 5); --channels-last --amp --amp-dtype bfloat16.
fastai   `vision_learner(...).fine_tune(epochs - 1)`: its head (two pools, two layers, batch norm, dropout) alone for
         an epoch, then one cycle with discriminative rates in three groups; RandomResizedCrop(min_scale=0.5) and
         aug_transforms(). From scratch: `fit_one_cycle(epochs, 3e-3)`, as its book has it. Float32.
"""

import argparse
import json
import random
from collections.abc import Callable, Sequence
from csv import DictReader
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from plain_networks import network, with_new_head
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

Sample = tuple[str, int]
SHOWN = 32
"""Images of a batch when a network is measured."""


class Photos(Dataset[Any]):
    """Files as PIL images or what the transform makes of them, with the numbers of their classes."""

    def __init__(self, samples: Sequence[Sample], transform: Callable[[Any], Any] | None = None) -> None:
        self.samples, self.transform = samples, transform

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        with Image.open(path) as file:
            image = file.convert("RGB")
        return (image if self.transform is None else self.transform(image)), label

    def __len__(self) -> int:
        return len(self.samples)


def plain(facts: dict[str, Any], train: list[Sample], held_out: list[Sample]) -> nn.Module:  # noqa: ARG001
    """The loop of a tutorial."""
    net, epochs = begun(facts), facts["epochs"]
    crop = [T.RandomResizedCrop(facts["size"]), T.RandomHorizontalFlip()]
    transform = T.Compose([*crop, T.ToTensor(), T.Normalize(facts["mean"], facts["std"])])
    loader = DataLoader(Photos(train, transform), facts["batch_size"], shuffle=True, num_workers=facts["workers"])
    if facts["weights"]:
        optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        schedule: Any = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * len(loader))
    else:
        lr = 0.1 * facts["batch_size"] / 256
        optimiser = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, max(1, epochs * len(loader) // 3))
    net.train()
    for epoch in range(epochs):
        for pixels, labels in loader:
            loss = F.cross_entropy(net(pixels), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss of its last batch {loss.item():.3f}", flush=True)
    return net


def timm(facts: dict[str, Any], train: list[Sample], held_out: list[Sample]) -> nn.Module:  # noqa: ARG001
    """timm's training script, of its own parts."""
    from timm.data import create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2

    net, epochs = begun(facts).to(memory_format=torch.channels_last), facts["epochs"]
    loader = create_loader(
        Photos(train),
        (3, facts["size"], facts["size"]),
        facts["batch_size"],
        is_training=True,
        scale=(0.08, 1.0),
        color_jitter=0.4,
        interpolation="random",
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        num_workers=facts["workers"],
        persistent_workers=facts["workers"] > 0,
        device=torch.device("cpu"),
    )
    optimiser = create_optimizer_v2(net, opt="sgd", lr=0.1 * facts["batch_size"] / 256, momentum=0.9, weight_decay=2e-5)
    schedule, _ = create_scheduler_v2(
        optimiser,
        "cosine",
        num_epochs=epochs,
        warmup_epochs=min(5, epochs // 5),
        step_on_epochs=False,
        updates_per_epoch=len(loader),
    )
    smoothed, step = LabelSmoothingCrossEntropy(0.1), 0
    net.train()
    for epoch in range(epochs):
        for pixels, labels in loader:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = smoothed(net(pixels.contiguous(memory_format=torch.channels_last)), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
            schedule.step_update(num_updates=step)
        print(f"epoch {epoch + 1}: loss of its last batch {loss.item():.3f}", flush=True)
    return net


def fastai(facts: dict[str, Any], train: list[Sample], held_out: list[Sample]) -> nn.Module:
    """fastai's high-level interface, the network being given."""
    from fastai.vision import all as fast

    names = {path: facts["classes"][label] for path, label in [*train, *held_out]}
    block = fast.DataBlock(
        blocks=(fast.ImageBlock, fast.CategoryBlock(vocab=facts["classes"], sort=False)),
        get_y=lambda path: names[path],
        splitter=fast.IndexSplitter(range(len(train), len(names))),
        item_tfms=fast.RandomResizedCrop(facts["size"], min_scale=0.5),
        batch_tfms=[*fast.aug_transforms(), fast.Normalize.from_stats(facts["mean"], facts["std"])],
    )
    loaders = block.dataloaders(list(names), bs=facts["batch_size"], num_workers=facts["workers"])
    groups = lambda net: fast.L(*_halves(net[0]), net[1:]).map(fast.params)  # noqa: E731
    learner = fast.vision_learner(
        loaders,
        lambda pretrained: begun(facts),  # noqa: ARG005
        normalize=False,
        pretrained=bool(facts["weights"]),
        splitter=groups,
        metrics=fast.error_rate,
    )
    with learner.no_bar():
        if facts["weights"]:
            learner.fine_tune(facts["epochs"] - 1)
        else:
            learner.fit_one_cycle(facts["epochs"], 3e-3)
    return learner.model


PRECISION = {"plain": "float32", "timm": "bfloat16, channels last", "fastai": "float32"}
PEERS = {"plain": plain, "timm": timm, "fastai": fastai}


def begun(facts: dict[str, Any]) -> nn.Module:
    """The network with the given weights and a new last layer; without weights as its library begins it."""
    if not facts["weights"]:
        return network(facts["network"], len(facts["classes"]))
    tensors = torch.load(facts["weights"], weights_only=True)
    net = network(facts["network"], facts["weights_classes"])
    net.load_state_dict(tensors)
    return with_new_head(net, len(facts["classes"]))


def listed(facts: dict[str, Any]) -> dict[str, list[Sample]]:
    """Path and number of the class, by part of the list."""
    parts: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    with Path(facts["list"]).open(newline="", encoding="utf-8") as file:
        for row in DictReader(file):
            parts[row["split"]].append((row["path"], facts["classes"].index(row["label"])))
    return parts


def shown(facts: dict[str, Any]) -> T.Compose:
    """What a network is shown of a photo when it is measured: short side to `resize`, the centre of it."""
    centre = [T.Resize(facts["resize"]), T.CenterCrop(facts["size"])]
    return T.Compose([*centre, T.ToTensor(), T.Normalize(facts["mean"], facts["std"])])


def measure(net: nn.Module, facts: dict[str, Any], samples: list[Sample]) -> np.ndarray:
    """Logits of all samples in float32, (N, classes)."""
    loader = DataLoader(Photos(samples, shown(facts)), SHOWN, num_workers=facts["workers"])
    net.eval()
    with torch.inference_mode():
        return torch.cat([net(pixels).float() for pixels, _ in loader]).numpy()


def _halves(body: nn.Sequential) -> tuple[nn.Module, nn.Module]:
    """A body in two, before its third stage as fastai cuts torchvision's ResNets (their first six children)."""
    cut = 6 if len(body) == 8 else len(body) // 2
    return body[:cut], body[cut:]


def main() -> None:
    """One peer, one seed: train, measure the test images once, print the error, write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=list(PEERS))
    parser.add_argument("facts", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    facts = json.loads(given.facts.read_text())
    torch.set_num_threads(given.threads)
    random.seed(given.seed)
    np.random.seed(given.seed)
    torch.manual_seed(given.seed)
    parts = listed(facts)
    began = perf_counter()
    net = PEERS[given.peer](facts, parts["train"], parts["val"])
    seconds = perf_counter() - began
    given.output.mkdir(parents=True, exist_ok=True)
    found = {}
    for part in ("val", "test"):
        labels = np.array([label for _, label in parts[part]])
        logits = measure(net, facts, parts[part])
        np.savez(given.output / f"{part}.npz", logits=logits, labels=labels)
        found[part] = float((logits.argmax(1) != labels).mean())
    (given.output / "peer.json").write_text(
        json.dumps({"training_seconds": seconds, "precision": PRECISION[given.peer]})
    )
    print(f"test error {100 * found['test']:.2f} %, held-out {100 * found['val']:.2f} %, {seconds:.0f} s of training")


if __name__ == "__main__":
    main()
