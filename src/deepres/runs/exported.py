"""Exported files where runs are measured and compared: on the images of the run behind them, or on others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import torch

from deepres.base.errors import InputError
from deepres.base.events import UNSAID, OnProgress
from deepres.base.files import digest, resolved
from deepres.base.manifest import holds_run
from deepres.data.images import Images
from deepres.data.sources.config import DataConfig
from deepres.nn.weights.hub import weights_file
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.exported.bundle import Bundle
from deepres.predict.exported.names import is_exported
from deepres.predict.predictor import Predictor
from deepres.runs.evaluate import USUAL, EvaluationConfig, evaluate_weights
from deepres.runs.places import RUNS
from deepres.runs.seen import run_of
from deepres.tasks.protocols import CENTER
from deepres.tasks.result import Evaluation
from deepres.tasks.saved import save_predictions
from deepres.train.distributed import SINGLE_PROCESS, Distributed

_ABOVE = 4
"""So many folders above a file are looked into for its run."""


def run_behind(file: Path, bundle: Bundle) -> Path | None:
    """The run that the file was made of: the folder that it lies in, else the one of that name and these weights.

    It is looked for here, beside the file and above it, also in `runs/`.
    """
    own = run_of(file)
    if own is not None or bundle.run is None or bundle.weights_sha256 is None:
        return own
    name = PurePosixPath(bundle.run)
    if name.is_absolute() or ".." in name.parts:
        return None
    for place in (Path(), *resolved(file).parents[:_ABOVE]):
        for folder in (place / name, place / RUNS / name):
            weights = weights_file(folder) if holds_run(folder) else None
            if weights is not None and digest(weights) == bundle.weights_sha256:
                return folder
    return None


def evaluate_exported(
    weights: WeightsSpec | str,
    data: DataConfig | None = None,
    config: EvaluationConfig = USUAL,
    *,
    run: Path | None = None,
    command: str = UNSAID,
    on_progress: OnProgress | None = None,
    processes: Distributed = SINGLE_PROCESS,
) -> tuple[Evaluation, Images]:
    """`evaluate_weights` of a file, on the images of `data`, else the test images of `run` (the run behind it).

    Raises:
        InputError: another view of images than the file sees, another precision than its own; no images; as there.
    """
    spec = WeightsSpec.of(weights)
    file = spec.name
    if config.protocol != str(CENTER):
        raise InputError(
            f"--protocol {config.protocol} with {file}: an exported file sees one view of an image; name its run"
        )
    if config.precision != "float32":
        raise InputError(f"--precision {config.precision} with {file}: an exported file has its own; name its run")
    predictor = Predictor.load(spec)
    bundle: Bundle = predictor.network.bundle
    run = run or run_behind(Path(file), bundle)
    if run is None and data is None:
        told = "of no run" if bundle.run is None else f"its run, {bundle.run}, is not found here or beside it"
        raise InputError(f"{file}: {told}, so without images of its own; name a SOURCE to measure it on")
    evaluation, images = evaluate_weights(
        WeightsSpec(file if run is None else str(run)),
        data,
        config,
        device=torch.device("cpu"),
        command=command,
        on_progress=on_progress,
        processes=processes,
        load=lambda *_: predictor,
    )
    facts: dict[str, Any] = {**evaluation.result.provenance, "run": file, "weights_sha256": digest(Path(file))}
    facts |= {"precision": str(predictor.ready)}
    notes = (*evaluation.result.notes, *([predictor.network.note] if predictor.network.note else []))
    result = evaluation.result.replace(provenance=facts, precision=bundle.precision, notes=notes)
    return type(evaluation)(result, evaluation.predictions, evaluation.task), images


@contextmanager
def as_answers(
    places: Sequence[Path], command: str, on_progress: OnProgress | None = None
) -> Iterator[tuple[Path, ...]]:
    """The same, each file's answers to the test images of the first run among them in place of it.

    Raises:
        InputError: as `evaluate_exported`.
    """
    run = next((run_of(place) for place in places if not is_exported(place) and place.is_dir()), None)
    with TemporaryDirectory(prefix="deepres-compare-") as folder:
        answered = list(places)
        for number, place in enumerate(places):
            if is_exported(place):
                found = evaluate_exported(str(place), None, run=run, command=command, on_progress=on_progress)
                answered[number] = Path(folder) / str(number) / f"{place.name}.npz"
                answered[number].parent.mkdir()
                save_predictions(answered[number], *found)
        yield tuple(answered)
