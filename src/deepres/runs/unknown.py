"""How well a network's probabilities tell its own images from those of classes that it does not know."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.wording import counted
from deepres.data.images import Images
from deepres.data.loading.config import LoaderConfig, OnBadImage
from deepres.data.loading.loader import evaluation_batches
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_splits
from deepres.nn.weights.folds import holds_folds
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.pictures import ImageInputs
from deepres.predict.predictor import Predictor
from deepres.runs.ensemble import EnsembleEvaluation
from deepres.runs.measured_on import split_of
from deepres.runs.together import batch_size, largest_side
from deepres.tasks.task import require


def require_plain(weights: Sequence[str], others: Mapping[str, object]) -> None:
    """Refuse --unknown of several networks, and beside flags that change the probabilities.

    Raises:
        InputError: there are several, or one of `others` is given.
    """
    if len(weights) > 1 or holds_folds(weights[0]):
        raise InputError(f"--unknown with {' '.join(weights)}: it is of one network; name one run, or one fold")
    for flag, given in others.items():
        if given:
            raise InputError(f"--unknown with {flag}: it is of the answers that predict gives; leave {flag} out")


def beside_unknown(
    measured: EnsembleEvaluation,
    weights: WeightsSpec,
    source: str,
    *,
    device: torch.device,
    on_bad_image: OnBadImage | None = None,
    on_progress: OnProgress | None = None,
) -> EnsembleEvaluation:
    """The same, whose result also says how the highest probability tells its images from those of `source`.

    That is a source of images with labels, of which none may be a class of the network (of its splits test, else val,
    else train), or a folder of pictures without. The scores must have been kept.

    Raises:
        InputError: no source or folder there, a class that the network knows, images that cannot be read, an answer of
            another task.
    """
    predictor = Predictor.load(weights, device)
    require(predictor.task, "--unknown", weights.name)
    found = _labelled(source, predictor, on_bad_image)
    if found is None:
        answers = _of_pictures(source, predictor, on_progress)
    else:
        known = sorted(set(found.classes) & set(predictor.classes))
        if known and not predictor.unnamed:
            named = ", ".join(known[:4]) + (", …" if len(known) > 4 else "")
            raise InputError(
                f"--unknown {source}: the network knows {counted(len(known), 'of its classes', 'of its classes')} "
                f"({named}); wanted images of none that it knows"
            )
        answers = _of_images(found, predictor, on_bad_image, on_progress)
    return replace(measured, evaluation=predictor.task.beside_unknown(measured.evaluation, answers, source))


def _labelled(source: str, predictor: Predictor, on_bad_image: OnBadImage | None) -> Images | None:
    """The images of a source; None where it is a folder in which nothing is labelled."""
    read = DataConfig(source=source, on_bad_image=on_bad_image or "stop", channels=_channels(predictor))
    try:
        splits = open_splits(read).splits
    except InputError:
        if Path(source).is_dir():
            return None
        raise
    return splits[split_of(None, splits)]


def _channels(predictor: Predictor) -> int | None:
    return predictor.preparation.channels if predictor.preparation.channels in (1, 3) else None


def _of_images(
    images: Images, predictor: Predictor, on_bad_image: OnBadImage | None, on_progress: OnProgress | None
) -> Tensor:
    preparation = predictor.preparation
    loading = LoaderConfig(
        batch_size=batch_size(largest_side(images, preparation, None), predictor.device),
        device=predictor.device,
        on_bad_image=on_bad_image or "stop",
    )
    found, done = [], 0
    for batch in evaluation_batches(images, preparation, predictor.statistics, loading):
        found.append(predictor.probabilities(batch.images))
        done += len(batch)
        if on_progress is not None:
            on_progress(done, len(images))
    return torch.cat(found) if found else torch.zeros(0, len(predictor.classes))


def _of_pictures(source: str, predictor: Predictor, on_progress: OnProgress | None) -> Tensor:
    pictures = ImageInputs([source], 1.0, bytes)
    found: list[Tensor] = []
    for picture in pictures:
        read = predictor.read(picture)
        if isinstance(read, str):
            raise InputError(f"--unknown {read}")
        found.append(predictor.ask([read])[0])
        if on_progress is not None:
            on_progress(len(found), len(pictures))
    return torch.stack(found)
