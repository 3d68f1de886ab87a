"""What other tools' users type, row by row: understood, answered or not; and what an installation weighs.

`python evidence/peers.py` writes evidence/peers.json. It counts the rows of `recipes/spellings.py` (each is run by
tests/cli/test_spelled.py), timm's residual networks that are in the catalogue, and the packages that are extras now.
"""

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import timm

from deepres.arch.catalogue.tags import TAGS
from deepres.nn.environment import hardware, versions
from deepres.nn.hardware import find_device
from deepres.nn.weights.convert import TIMM
from deepres.recipes.spellings import SPELLINGS

EXTRAS_NOW = {
    "scikit-learn": ("scikit-learn", "joblib", "narwhals", "threadpoolctl"),
    "tensorboard": ("tensorboard", "grpcio", "protobuf", "werkzeug", "markdown", "absl-py", "tensorboard-data-server"),
    "huggingface_hub": ("huggingface_hub", "hf-xet"),
}
KINDS = (
    "resnet*",
    "resnext*",
    "seresn*",
    "ecaresn*",
    "res2ne*",
    "resnest*",
    "skresn*",
    "wide_resnet*",
    "resnetv2*",
    "resnetrs*",
    "densenet*",
)


def megabytes(name: str) -> float:
    """The files of an installed package, in MB."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return 0.0
    paths = [Path(str(found.locate_file(file))) for file in found.files or ()]
    return round(sum(path.stat().st_size for path in paths if path.is_file()) / 1e6, 1)


def rows() -> list[dict[str, str]]:
    """Each spelling of each verb, and what comes of it."""
    return [
        {"verb": verb, "theirs": name, "comes to": row.to or row.answer, "state": "answered" if row.answer else "works"}
        for verb, table in SPELLINGS.items()
        if verb != "data show"
        for row in table
        for name in row.names
    ]


def main() -> None:
    """Count, weigh, write."""
    spelled = rows()
    theirs = {name for kind in KINDS for name in timm.list_models(kind)}
    weights = {name: sum(map(megabytes, parts)) for name, parts in EXTRAS_NOW.items()}
    facts = {
        "claim": "flags of timm, torchvision, ultralytics, transformers and Lightning work or are answered, row by row",
        "command": "python evidence/peers.py",
        "hardware": hardware(find_device("cpu")),
        "versions": {**versions(), "timm": timm.__version__},
        "n": len(spelled),
        "counts": {state: sum(row["state"] == state for row in spelled) for state in ("works", "answered")},
        "networks": {
            "timm_has": len(theirs),
            "in_the_catalogue": len(theirs & set(TIMM.values())),
            "with_published_weights": len(TAGS),
        },
        "no_longer_installed_mb": {name: round(mb, 1) for name, mb in weights.items()},
        "seconds_of_installing_these": "5.7, once, beside other work (pip install --no-deps)",
        "rows": spelled,
    }
    (Path(__file__).parent / "peers.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
