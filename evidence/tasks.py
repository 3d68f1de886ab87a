"""Both tasks that are not one class an image, on real digits, three seeds each, beside the plain way in the same run.

    python evidence/tasks.py OUTPUT            writes evidence/tasks.json

`several`: 1 to 4 handwritten digits in one picture of 16 x 16 px, the classes on it. `angle`: a digit of 24 px,
turned by -60 to 60 degrees, and the angle. No digit's image is in two splits. Plain: the same network, AdamW with a
cosine, 15 epochs, the last one, thresholds of 1/2; what `deepres train` adds is the recipe, the choice of the epoch and
of thresholds on held-out images.
"""

import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from PIL import Image
from sklearn import metrics
from sklearn.datasets import load_digits
from torch.nn import functional as F

from deepres.arch.catalogue.lookup import entry
from deepres.nn.create import create_model
from deepres.nn.environment import hardware, versions

CLAIM = (
    "several classes and numbers of an image are learnt as well as by thirty lines of torch (one setting of AdamW, "
    "not tuned), or better"
)
SEEDS, EPOCHS = (0, 1, 2), 15
SIZES = {"train": 1200, "val": 300, "test": 500}
SHARES = {"train": (0.0, 0.6), "val": (0.6, 0.75), "test": (0.75, 1.0)}  # of the digits' images


def drawn(home: Path) -> None:
    """The pictures and a table for each task."""
    pixels, labels = load_digits(return_X_y=True)
    pixels = np.rint(pixels * 255 / 16).astype(np.uint8).reshape(-1, 8, 8)
    draw = np.random.default_rng(0)
    order = draw.permutation(len(labels))
    tables: dict[str, list[tuple[str, ...]]] = {
        "several": [("path", "label", "split")],
        "angle": [("path", "angle", "split")],
    }
    for part, size in SIZES.items():
        begin, end = (round(share * len(order)) for share in SHARES[part])
        own = order[begin:end]
        for number in range(size):
            canvas, on = np.zeros((16, 16), np.uint8), set()
            for place in draw.permutation(4)[: draw.integers(1, 5)]:
                one = draw.choice(own)
                row, column = 8 * (place // 2), 8 * (place % 2)
                canvas[row : row + 8, column : column + 8] = pixels[one]
                on.add(str(labels[one]))
            angle = float(draw.uniform(-60, 60))
            turned = Image.fromarray(pixels[draw.choice(own)]).resize((24, 24), Image.Resampling.BICUBIC)
            for task, picture, target in (
                ("several", Image.fromarray(canvas), ";".join(sorted(on))),
                ("angle", turned.rotate(angle, Image.Resampling.BILINEAR), f"{angle:.4f}"),
            ):
                name = f"{task}-{part}-{number}.png"
                picture.save(home / name)
                tables[task].append((name, target, part))
    for task, rows in tables.items():
        with (home / f"{task}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)


def ours(home: Path, task: str, seed: int) -> dict[str, float]:
    """`deepres train` as it is, and what it measured."""
    folder = home / f"run-{task}-{seed}"
    kind = ["--task", "regression"] if task == "angle" else []
    asked = ["train", str(home / f"{task}.csv"), *kind, "--recipe", "small", "--set", "data.channels=1"]
    asked += ["--epochs", str(EPOCHS), "--seed", str(seed), "--device", "cpu", "--output", str(folder)]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "deepres", *asked], check=True, capture_output=True)
    seconds = time.perf_counter() - began
    result = json.loads((folder / "test.json").read_text())
    if task == "several":
        return {
            "mean_average_precision": result["mean_average_precision"],
            "macro_f1": result["macro_f1"],
            "seconds": seconds,
        }
    one = result["per_column"][0]
    return {
        "mean_absolute_error": result["error"],
        "r2": one["r2"],
        "covered_of_90": one["covered"],
        "seconds": seconds,
    }


def plain(home: Path, task: str, seed: int) -> dict[str, float]:
    """Thirty lines of torch."""
    began = time.perf_counter()
    rows = list(csv.DictReader((home / f"{task}.csv").read_text().splitlines()))

    def part(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        own = [row for row in rows if row["split"] == name]
        x = (
            torch.stack([torch.from_numpy(np.array(Image.open(home / row["path"]))) for row in own])[:, None].float()
            / 255
        )
        if task == "angle":
            return x, torch.tensor([[float(row["angle"])] for row in own])
        return x, torch.tensor([[float(str(d) in row["label"].split(";")) for d in range(10)] for row in own])

    (x, y), (test_x, test_y) = part("train"), part("test")
    mean_y, std_y = (y.mean(0), y.std(0)) if task == "angle" else (0.0, 1.0)
    torch.manual_seed(seed)
    config = entry("resnet20_cifar").config.replace(num_classes=y.shape[1], input=(1, *x.shape[2:]))
    network = create_model(config.architecture(), seed=seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    steps = EPOCHS * -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    network.train()
    for _ in range(EPOCHS):
        for places in torch.randperm(len(x)).split(64):
            z, wanted = network(x[places]), (y[places] - mean_y) / std_y
            loss = F.huber_loss(z, wanted) if task == "angle" else F.binary_cross_entropy_with_logits(z, wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    with torch.inference_mode():
        z = network(test_x)
    seconds = time.perf_counter() - began
    if task == "several":
        said = z.sigmoid() >= 0.5
        precision = metrics.average_precision_score(test_y, z)
        return {
            "mean_average_precision": precision,
            "macro_f1": metrics.f1_score(test_y, said, average="macro"),
            "seconds": seconds,
        }
    answers = z * std_y + mean_y
    error = metrics.mean_absolute_error(test_y, answers)
    return {"mean_absolute_error": error, "r2": metrics.r2_score(test_y, answers), "seconds": seconds}


def main(home: Path) -> None:
    """Both contenders in turn, seed by seed."""
    home.mkdir(parents=True, exist_ok=True)
    drawn(home)
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for task in ("several", "angle"):
        for seed in SEEDS:
            for name, contender in (("deepres", ours), ("plain", plain)):
                row = contender(home, task, seed)
                found.setdefault(task, {}).setdefault(name, []).append(row)
                print(task, seed, name, {key: round(value, 4) for key, value in row.items()}, flush=True)
    facts = {
        "claim": CLAIM,
        "command": "python evidence/tasks.py OUTPUT",
        "hardware": hardware(torch.device("cpu")),
        "versions": dict(versions()),
        "n": SIZES["test"],
        "seeds": list(SEEDS),
        "images": SIZES,
        "epochs": EPOCHS,
        "results": found,
        "mean_and_deviation": {
            task: {
                name: {key: [mean(row[key] for row in rows), stdev(row[key] for row in rows)] for key in rows[0]}
                for name, rows in contenders.items()
            }
            for task, contenders in found.items()
        },
    }
    (Path(__file__).parent / "tasks.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
