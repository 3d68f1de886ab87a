"""Exported files where eval, predict and compare take runs: asked, measured on the images of the run behind them."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepres.base.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deepres.data.images import Images
    from deepres.data.sources.config import DataConfig
    from deepres.predict.predictor import Predictor
    from deepres.runs.evaluate import EvaluationConfig
    from deepres.tasks.result import Evaluation

ENDINGS = (".onnx", ".pt2", ".xml")


def is_exported(word: str | Path) -> bool:
    """Whether an argument is called as what `deepres export` writes; nothing is loaded for it."""
    return str(word).endswith(ENDINGS) or (Path(word) / "model.xml").is_file()


def require_alone(file: str, given: "Mapping[str, object]") -> None:
    """Refuse flags that say of a network what a file has settled; `given` are their values, None or False: not given.

    Raises:
        InputError: one is given.
    """
    for flag, value in given.items():
        if value is not None and value is not False:
            raise InputError(
                f"{flag} with {file}: an exported file answers as it was written; leave it out, or name its run"
            )


def load(file: str, *, settled: bool = True) -> "Predictor":
    """The file as a predictor."""
    from deepres.export.answerer import load_exported

    return load_exported(file, settled=settled)


def run_behind(file: Path) -> Path | None:
    """The run that the file was made of: the folder that it lies in, else the one that its parity.json names."""
    from deepres.export.export import origin_of
    from deepres.runs.seen import run_of

    own = run_of(file)
    named = origin_of(file) if own is None else None
    return own if named is None else run_of(named)


def measured(
    file: str,
    data: "DataConfig | None",
    config: "EvaluationConfig",
    *,
    run: Path | None = None,
    command: str,
    on_progress: "Callable[[int, int], None] | None" = None,
) -> "tuple[Evaluation, Images]":
    """`evaluate_weights` of the file, on the images of `data`, else the test images of `run` (the run behind it)."""
    import torch

    from deepres.base.files import digest
    from deepres.nn.weights.spec import WeightsSpec
    from deepres.runs.evaluate import evaluate_weights

    if config.protocol != "center":
        raise InputError(
            f"--protocol {config.protocol} with {file}: an exported file sees one view of an image; name its run"
        )
    run = run or run_behind(Path(file))
    if run is None and data is None:
        raise InputError(
            f"{file}: of no run that is here, so without images of its own; name a SOURCE to measure it on"
        )
    predictor = load(file)
    evaluation, images = evaluate_weights(
        WeightsSpec(file if run is None else str(run)),
        data,
        config,
        device=torch.device("cpu"),
        command=command,
        on_progress=on_progress,
        load=lambda *_: predictor,
    )
    facts: dict[str, Any] = {**evaluation.result.provenance, "run": file, "weights_sha256": digest(Path(file))}
    facts |= {"precision": str(predictor.ready)}
    result = evaluation.result.replace(provenance=facts, precision=predictor.network.bundle.precision)
    return type(evaluation)(result, evaluation.predictions, evaluation.task), images


@contextmanager
def as_answers(
    words: "Sequence[Path]", command: str, on_progress: "Callable[[int, int], None] | None"
) -> "Iterator[tuple[Path, ...]]":
    """The same, each file's answers to the test images of the first run among them in place of it."""
    from tempfile import TemporaryDirectory

    from deepres.runs.ensemble import AS_ONE
    from deepres.runs.seen import run_of
    from deepres.tasks.saved import save_predictions

    run = next((run_of(word) for word in words if not is_exported(word) and word.is_dir()), None)
    with TemporaryDirectory(prefix="deepres-compare-") as folder:
        places = list(words)
        for number, word in enumerate(words):
            if is_exported(word):
                found = measured(str(word), None, AS_ONE, run=run, command=command, on_progress=on_progress)
                places[number] = Path(folder) / str(number) / f"{word.name}.npz"
                places[number].parent.mkdir()
                save_predictions(places[number], *found)
        yield tuple(places)
