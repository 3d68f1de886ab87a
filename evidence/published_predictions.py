"""Published CIFAR-10 networks compared: `python evidence/published_predictions.py PREDICTIONS TEST [WEIGHTS]`.

PREDICTIONS is the .npz of CIFAR-10.1's authors (`original__NAME`: the predicted class of each test image), TEST the
.npz of the test images, WEIGHTS the folder that `foreign_weights.py` reads: those networks are measured here, under
center and under flip, and stand beside the others. Writes `published_predictions.json` and prints the table.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from foreign_weights import NETWORKS

from deepres.arch.catalogue.lookup import entry
from deepres.data.images import ArrayImages
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import imagenet_statistics
from deepres.nn.build import build
from deepres.nn.environment import hardware, versions
from deepres.nn.weights.convert import to_ours
from deepres.nn.weights.files import load_state, read_tensors
from deepres.tasks.classification.compare import against_best, all_pairs, paired, table, table_of_pairs
from deepres.tasks.classification.metrics import interval
from deepres.tasks.classification.predictions import SavedPredictions, voted
from deepres.tasks.evaluator import EvaluationMethod, evaluate
from deepres.tasks.protocols import PROTOCOLS

SOURCE = "CIFAR-10, test"
PUBLISHED = {
    "resnet_basic_32": 92.52,
    "resnet_basic_110": 93.46,
    "resnet_preact_bottleneck_164": 94.19,
    "densenet_BC_100_12": 95.54,
    "wrn_28_10": 95.93,
} | {name: accuracy for name, *_, accuracy in NETWORKS}


def published(path: Path, truth: "np.ndarray[Any, Any]") -> list[SavedPredictions]:
    """What each network of the file said of the test images."""
    names = tuple(map(str, range(len(truth))))
    found = []
    with np.load(path, allow_pickle=False) as stored:
        for column in stored.files:
            if column.startswith("original__"):
                name, said = column.removeprefix("original__"), stored[column].astype(np.int64)
                found.append(SavedPredictions(name, name, names, said == truth, "center", SOURCE, truth, said))
    return found


def measured(folder: Path, images: ArrayImages, protocol: str) -> list[SavedPredictions]:
    """The others' weights in our descriptions, in float32, under a protocol."""
    names, found = tuple(map(str, range(len(images)))), []
    for file, model, shortcut, (mean, std), _ in NETWORKS:
        description = entry(model).config.replace(shortcut=shortcut).architecture()
        network = build(description)
        load_state(network, to_ours(read_tensors(folder / file), description).tensors, file)
        statistics = imagenet_statistics().to_tensors() | {"mean": torch.tensor(mean), "std": torch.tensor(std)}
        batches = evaluation_batches(
            images, Preparation(), imagenet_statistics().from_tensors(statistics), LoaderConfig(batch_size=250)
        )
        said = evaluate(
            network, batches, images, split="test", method=EvaluationMethod(protocol=PROTOCOLS[protocol])
        ).predictions
        columns = (said.truth.numpy(), said.predicted.numpy())
        found.append(SavedPredictions(file, model, names, (said.rank == 0).numpy(), protocol, SOURCE, *columns))
    return found


def row(one: SavedPredictions) -> dict[str, Any]:
    """One line of the evidence's table."""
    low, high = interval(one.num_wrong, len(one.images))
    facts = {"name": one.name, "protocol": one.protocol, "num_wrong": one.num_wrong, "error": one.error}
    known = {"published_accuracy_percent": PUBLISHED[one.name]} if one.name in PUBLISHED else {}
    return {**facts, "interval_95": [low, high], "accuracy_percent": round(100 * (1 - one.error), 2), **known}


def main() -> None:
    """Compare all, print the tables, write the evidence."""
    predictions, test, *weights = map(Path, sys.argv[1:])
    with np.load(test, allow_pickle=False) as arrays:
        x, y, classes = arrays["x"], arrays["y"].astype(np.int64), tuple(arrays["classes"].tolist())
    others = published(predictions, y)
    images = ArrayImages(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(y), classes, "cifar10/test")
    ours = measured(weights[0], images, "center") if weights else []
    mirrored = measured(weights[0], images, "flip") if weights else []
    one_view = [*others, voted(others), *ours]
    pairs = all_pairs(one_view)
    best = against_best(one_view, pairs)
    flips = [
        paired(one, replace(two, name=f"{two.name}, flip"), force=True) for one, two in zip(ours, mirrored, strict=True)
    ]
    print(table([*one_view, *mirrored]), table_of_pairs(best), sep="\n\n")
    for pair in flips:
        print(pair.verdict())
    facts = {
        "claim": "30 published CIFAR-10 networks: accuracies to the last image, intervals, paired tests, a vote of all",
        "note": "23 of the 10,000 test images are JPEG stand-ins of a public copy of the set; the 30 were predicted by "
        "the authors of CIFAR-10.1 on the original. Of equal votes the better network's counts.",
        "command": "python evidence/published_predictions.py predictions.npz cifar10_test.npz WEIGHTS_FOLDER",
        "hardware": hardware(torch.device("cpu")),
        "versions": versions(),
        "n": len(y),
        "networks": [row(one) for one in sorted([*one_view, *mirrored], key=lambda one: (one.error, one.name))],
        "each_against_the_best": [pair.model_dump() for pair in best],
        "center_against_flip": [pair.model_dump() for pair in flips],
    }
    (Path(__file__).parent / "published_predictions.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
