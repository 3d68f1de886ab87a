"""Ten classes of drawn objects localised: by maps, as the whole picture, by both networks of He et al. 2015 (app. C).

    python evidence/localisation.py OUTPUT            writes evidence/localisation.json

Pictures of 64 px (`tests/drawn_objects.py`), an object each, a quarter to 19/20 of a side large; 40 pictures of a class
to learn from, 30 to measure. Guesses are of the classes that one classification network finds. Each step is a command
and a folder in OUTPUT; what lies there already is not done again, so that it may be stopped at any time.
"""

import contextlib
import io
import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from deepres.cli.main import run
from deepres.nn.environment import hardware, versions
from deepres.tasks.classification.metrics import interval

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from drawn_objects import BACKBONE, CROPS, NAMES, REGIONS, imagenet

CLAIM = (
    "boxes that are learnt are better than the whole picture and than class activation maps: ten classes of drawn "
    "objects, 64 px, the classes those of one network in all rows"
)
NOTE = (
    "The network has learnt on views of 56 px, whose last map has 4 x 4 places: each feels where the picture ends. "
    "Densely at 64 px the view is larger than those, at 56 px the whole picture is made smaller."
)
SEEDS = (0, 1)
EACH = {"train": 40, "val": 30}
LARGEST = 0.95
NAMED = {**CROPS, **{f"model.{name}": value for name, value in BACKBONE.items()}}
NAMED |= {"train.accumulate": 1, "train.precise_bn_batches": 0, "train.iterations": 150, "train.schedule.lr": 0.1}
RPN = {**CROPS, "task.anchors.sizes": "16,28,48", "train.iterations": 200, "train.schedule.lr": 0.02}
RCNN = {**REGIONS, "augmentation.scale": "60,68", "task.proposals": 20}
RCNN |= {"train.batch_size": 32, "train.iterations": 200, "train.schedule.lr": 0.02}
VIEWS = {"dense, 56 px": "dense:56", "dense, 64 px": "dense:64", "dense, 56 and 64 px": "dense:56,64"}
FIGURES = ("error", "given_error", "class_top5_error")


def said(*words: object) -> str:
    """What a command prints."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        code = run([str(word) for word in words])
    assert code == 0, words
    return told.getvalue()


def trained(home: Path, name: str, seed: int, settings: dict[str, Any], *words: object) -> Path:
    """A run below `home`, trained if it is not there; one that was cut goes on."""
    folder = home / f"{name}-{seed}"
    if not (folder / "test.json").is_file():
        edits = [word for field, value in settings.items() for word in ("--set", f"{field}={value}")]
        begun = ("--resume", folder) if (folder / "run.json").is_file() else None
        asked = begun or (home / "set", *words, "--seed", seed, "--output", folder, *edits)
        said("train", *asked, "--device", "cpu")
    return folder


def measured(home: Path, run_folder: Path, protocol: str) -> dict[str, Any]:
    """What a run comes to by a protocol."""
    file = home / f"{run_folder.name}-{protocol.replace(':', '-')}.json"
    if not file.is_file():
        file.write_text(said("eval", run_folder, "--protocol", protocol, "--device", "cpu", "--json"))
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def of_seed(home: Path, seed: int) -> dict[str, dict[str, float]]:
    """The figures of each way, by its name."""
    named = trained(home, "classes", seed, NAMED, "--recipe", "imagenet_2015", "--model", "resnet18")
    if not (home / f"maps-{seed}" / "localisation.json").is_file():
        said("analyze", "localisation", named, "--output", home / f"maps-{seed}", "--device", "cpu")
    maps = json.loads((home / f"maps-{seed}" / "localisation.json").read_text())["numbers"]["errors"]
    rpn = trained(home, "rpn", seed, RPN, "--recipe", "loc_2015", "--weights", named)
    rcnn = trained(home, "rcnn", seed, RCNN, "--recipe", "loc_2015", "--weights", rpn)
    plain = json.loads((rpn / "test.json").read_text())
    rows = {
        "whole picture": plain | {"error": plain["whole_error"], "given_error": plain["whole_given_error"]},
        "class activation maps": maps | {"error": maps["top5_error"]},
        "per-class RPN, central 56 px": plain,
    }
    rows |= {f"per-class RPN, {name}": measured(home, rpn, protocol) for name, protocol in VIEWS.items()}
    rows["per-class R-CNN"] = json.loads((rcnn / "test.json").read_text())
    return {name: {figure: row[figure] for figure in FIGURES} for name, row in rows.items()}


def main(home: Path) -> None:
    """Each seed in turn; then the file."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "set" / "LOC_synset_mapping.txt").is_file():
        imagenet(home / "set", **EACH, side=64, largest=LARGEST)
    found = [of_seed(home, seed) for seed in SEEDS]
    number = len(NAMES) * EACH["val"]
    rows = []
    for name in found[0]:
        each = {figure: [of[name][figure] for of in found] for figure in FIGURES}
        low, high = interval(round(each["given_error"][0] * number), number)
        row = {"what": name, **{figure: {"mean": mean(values), "each": values} for figure, values in each.items()}}
        rows.append({**row, "given_error_interval_95_of_first": [low, high]})
    facts = {
        "claim": CLAIM,
        "note": NOTE,
        "command": "python evidence/localisation.py OUTPUT",
        "hardware": hardware(torch.device("cpu")),
        "versions": dict(versions()),
        "n": number,
        "seeds": list(SEEDS),
        "images": {split: each * len(NAMES) for split, each in EACH.items()},
        "settings": {"classes": NAMED, "rpn": RPN, "rcnn": RCNN},
        "rows": rows,
    }
    (Path(__file__).parent / "localisation.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
