"""A trained network taken apart, as evidence: `python evidence/taken_apart.py NAME WEIGHTS SOURCE --model NET …`.

Writes `taken_apart_NAME.json`; `taken_apart_page.py` makes the page of all of them. SOURCE has a test set, on which
lesions are measured, and a training set, from which the batches of gradients come, as in the paper.
"""

import argparse
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from deepres.analyze import lesion, paths, responses
from deepres.data.images import Images
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches
from deepres.data.rng import generator
from deepres.data.sources.config import DataConfig
from deepres.nn.environment import hardware
from deepres.nn.weights.spec import WeightsSpec
from deepres.runs.evaluate import EvaluationConfig, EvaluationTarget, resolve_target

HERE = Path(__file__).parent
BATCH = 250
SWAPS = (1, 2, 5, 10, 20)


class Batches:
    """Batches of some images, as the network wants them; they can be gone through more than once."""

    def __init__(self, asked: EvaluationTarget, images: Images, size: int = BATCH) -> None:
        self.asked, self.images, self.size = asked, images, size

    def __len__(self) -> int:
        return -(-len(self.images) // self.size)

    def __iter__(self) -> Any:
        predictor = self.asked.predictor
        return evaluation_batches(
            self.images, predictor.preparation, predictor.statistics, LoaderConfig(batch_size=self.size)
        )


def measured(asked: EvaluationTarget, train: Images, given: argparse.Namespace) -> dict[str, Any]:
    """What the lesions cost, and in a residual network what gradient comes by which way, how strongly it answers."""
    network = asked.predictor.network
    every = Batches(asked, _some(asked.images, given.images, given.seed))
    some = Batches(asked, _some(asked.images, given.random_images, given.seed))
    each = _timed("each unit", lambda: lesion.delete_each(network, every))
    found: dict[str, Any] = {"each": each, "ranking": lesion.ranking(each)}
    units = len(each.units)
    counts = sorted({count for count in (1, 2, 3, 5, 7, 10, 15, 20) if count <= units} | {min(units, 20)})
    found["random"] = _timed(
        "random units", lambda: lesion.delete_random(network, some, counts, draws=given.draws, seed=given.seed)
    )
    found["responses"] = _timed("responses", lambda: responses.responses(network, some))
    if not given.plain:
        found["permutations"] = _timed(
            "permutations", lambda: lesion.permute(network, some, SWAPS, draws=given.draws, seed=given.seed)
        )
        batches = Batches(asked, _some(train, 2 * 32, given.seed), 32)
        gradients = _timed(
            "gradients", lambda: paths.path_gradients(network, batches, draws=2 * given.draws, seed=given.seed)
        )
        found |= {"gradients": gradients, "effective": paths.effective_range(gradients)}
    numbers = {name: record.model_dump(mode="json") for name, record in found.items()}
    return numbers if given.plain else {**numbers, "decay": paths.decay(gradients)}


def main() -> None:
    """Read the command line, measure, write the file beside this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("weights", help="a run folder, or weights")
    parser.add_argument("source", help="images; those of their test set are answered")
    parser.add_argument("--model")
    parser.add_argument("--claim", required=True)
    parser.add_argument("--note", default="")
    parser.add_argument("--plain", action="store_true", help="no paths and no permutations: a network of one path")
    parser.add_argument("--images", type=int, default=10_000, help="test images for each unit")
    parser.add_argument("--random-images", type=int, default=2_000, help="for all else")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    device = torch.device("cpu")
    test, train = (
        resolve_target(
            WeightsSpec(given.weights, model=given.model),
            DataConfig(source=given.source),
            EvaluationConfig(split=split),
            device,
            "",
        )
        for split in ("test", "train")
    )
    network = test.predictor.network
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    facts = {
        "claim": given.claim,
        "note": given.note,
        "command": " ".join(["python evidence/taken_apart.py", *(f'"{w}"' if " " in w else w for w in words)]),
        "hardware": hardware(device),
        "versions": test.provenance["versions"],
        "seeds": [given.seed],
        "n": min(given.images, len(test.images)),
        "n_random": min(given.random_images, len(test.images)),
        "draws": given.draws,
        "weights_sha256": test.provenance["weights_sha256"],
        "network": network.description.name,
        "numbers": measured(test, train.images, given),
    }
    path = HERE / f"taken_apart_{given.name}.json"
    path.write_text(json.dumps(facts, indent=1) + "\n")
    print(path.name)


def _some(images: Images, count: int, seed: int) -> Images:
    order = torch.randperm(len(images), generator=generator(seed, "examined"))
    return images.select(order[:count].tolist())


def _timed(what: str, make: Any) -> Any:
    began = perf_counter()
    made = make()
    print(f"{what}: {perf_counter() - began:.0f} s", flush=True)
    return made


if __name__ == "__main__":
    main()
