"""What a file that is written says of its predictor."""

from pathlib import Path

from deepres.base.files import digest, resolved
from deepres.base.manifest import holds_run
from deepres.base.reading import json_object
from deepres.nn.weights.folds import holds_folds
from deepres.nn.weights.formats import CONFIG
from deepres.nn.weights.hub import weights_file
from deepres.predict.exported.bundle import NOT_STATED, Bundle, FilePrecision, Input
from deepres.predict.predictor import Predictor


def bundle_of(
    predictor: Predictor, weights: str, *, input: Input = "fitted", precision: FilePrecision = "float32"
) -> Bundle:
    """What a file of this predictor says; `weights` is the path or name that it was loaded from."""
    file = weights_file(weights)
    channels, height, width = predictor.network.description.input
    side = predictor.preparation.size
    return Bundle(
        input=input,
        precision=precision,
        names=predictor.classes,
        unnamed=predictor.unnamed,
        task=predictor.task.model_dump(mode="json"),
        preparation=predictor.preparation.model_dump(mode="json"),
        network=predictor.network.description.name,
        shape=(channels, height, width) if side is None else (channels, side, side),
        weights_sha256=None if file is None else digest(file),
        run=None if file is None else _run_of(file),
        license=_license(file),
    )


def _run_of(file: Path) -> str | None:
    """What the folder that weights lie in is called, if it is a run's; of a fold with that of all folds before it."""
    folder = resolved(file if file.is_dir() else file.parent)
    if not holds_run(folder):
        return None
    return f"{folder.parent.name}/{folder.name}" if holds_folds(folder.parent) else folder.name


def _license(file: Path | None) -> str:
    """What stands beside the weights, in the words of timm's and transformers' files."""
    folder = None if file is None else file if file.is_dir() else file.parent
    if folder is None or not (folder / CONFIG).is_file():
        return NOT_STATED
    config = json_object(folder / CONFIG, "description of weights")
    inner = config.get("pretrained_cfg")
    said = config.get("license") or (inner.get("license") if isinstance(inner, dict) else None)
    return said if isinstance(said, str) and said.strip() else NOT_STATED
