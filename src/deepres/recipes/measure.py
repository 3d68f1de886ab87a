"""Measuring weights on images: those of a run as it goes, or a run's folder later, on its own images or on others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import nn

from deepres.base import records
from deepres.base.errors import InputError, unknown
from deepres.base.files import digest
from deepres.base.heap import keep_freed_memory
from deepres.data.loader import evaluation_batches
from deepres.data.sample import ArrayImages, FileImages, Images, StoredImages
from deepres.data.showing import Showing
from deepres.data.sources import DataConfig, open_source
from deepres.data.statistics import Statistics
from deepres.data.transforms import Preparation
from deepres.data.workers import resolved
from deepres.evaluate.protocols import protocol_named, require_fitting
from deepres.evaluate.provenance import hardware, versions
from deepres.evaluate.run import Evaluation, evaluate
from deepres.nn.build import ResidualNetwork
from deepres.nn.keras import TOPOLOGY
from deepres.nn.weights import WEIGHTS
from deepres.recipes.run import RUN, Run
from deepres.serve.predictor import Predictor
from deepres.train.parallel import ALONE, World
from deepres.train.precision import Precision, choose

BATCH = 250
"""Images answered together, at most."""

PIXELS = 2**20
"""Pixels of one batch on a CPU, at most; ours: larger batches take more memory and no less time, see
`evidence/evaluation_batches.json`."""


def judge(
    network: nn.Module,
    images: Images,
    preparation: Preparation,
    statistics: Statistics,
    *,
    data: DataConfig,
    precision: Precision,
    split: str,
    protocol: str = "center",
    keep_scores: bool = False,
    skipped: dict[str, str] | None = None,
    provenance: Mapping[str, JsonValue] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    world: World = ALONE,
) -> Evaluation:
    """`network`, which lies on the precision's device, on every one of `images`, read as `data` says.

    `protocol` is a spelling of `evaluate/protocols.py`; `keep_scores` keeps the log-probabilities of all classes.
    Each process of `world` takes some of the batches; all get the result, bitwise that of one process.

    Raises:
        InputError: an unknown protocol, one that the network's head cannot follow, one larger than the images.
    """
    skipped = {} if skipped is None else skipped
    shown = protocol_named(protocol, preparation)
    if isinstance(network, ResidualNetwork):
        require_fitting(shown, network.description)
    batches = evaluation_batches(
        images,
        preparation,
        statistics,
        batch_size=batch_size(_side(images, preparation, shown.showing), precision.device),
        workers=resolved(data.workers),
        device=precision.device,
        on_bad_image=data.on_bad_image,
        skipped=skipped,
        rank=world.rank,
        world=world.size,
        showing=shown.showing,
    )
    count = None if on_progress is None else lambda done, total: on_progress(min(done * world.size, total), total)
    return world.agreed(
        lambda: evaluate(
            network,
            batches,
            images,
            split=split,
            protocol=shown,
            shown=shown.sentence(preparation),
            keep_scores=keep_scores,
            precision=precision.autocast,
            skipped=skipped,
            provenance=provenance,
            on_progress=count,
            gathered=world.gathered,
        )
    )


def measure(
    weights: Path | str,
    data: DataConfig | None = None,
    *,
    model: str | None = None,
    variant: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    split: str | None = None,
    protocol: str = "center",
    keep_scores: bool = False,
    device: torch.device,
    command: str,
    on_progress: Callable[[int, int], None] | None = None,
    world: World = ALONE,
) -> tuple[Evaluation, Images]:
    """The evaluation of a run's weights, or of others (`Predictor.load`), and the images that it was made on.

    Without `data` these are the run's own; of another source that has no split all images are taken. Labels are
    matched by the *name* of the class: the order of classes may differ. Weights without names of classes are taken to
    have those of the source, in its order.

    Raises:
        InputError: no images to measure on, no such split, class names that the network does not know, anything that
            weights or images refuse.
    """
    keep_freed_memory(of_any_size=True)
    asked = world.agreed(lambda: asked_for(weights, data, model, variant, mean, std, split, device, command))
    evaluation = judge(
        asked.precision.place(asked.predictor.network),
        asked.images,
        asked.predictor.preparation,
        asked.predictor.statistics,
        data=asked.data,
        precision=asked.precision,
        split=asked.split,
        protocol=protocol,
        keep_scores=keep_scores,
        provenance=asked.provenance,
        on_progress=on_progress,
        world=world,
    )
    return evaluation, asked.images


def batch_size(side: int, device: torch.device) -> int:
    """How many images of side x side pixels are answered together: `BATCH`, on a CPU at most `PIXELS` pixels."""
    return max(1, min(BATCH, PIXELS // side**2)) if device.type == "cpu" else BATCH


def _side(images: Images, preparation: Preparation, showing: Showing | None) -> int:
    """The largest side that the network gets to see, in pixels; of files that are kept as they are 32 is assumed."""
    if showing is not None:
        return showing.crop or max(showing.sides)
    own = max(images.pixels.shape[-2:]) if isinstance(images, ArrayImages) else 32
    return preparation.size or own


@dataclass(frozen=True)
class Asked:
    """Which weights are measured, on which images."""

    predictor: Predictor
    images: Images
    data: DataConfig
    split: str
    precision: Precision
    provenance: dict[str, JsonValue]


def asked_for(
    weights: Path | str,
    data: DataConfig | None,
    model: str | None,
    variant: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    split: str | None,
    device: torch.device,
    command: str,
) -> Asked:
    """The weights and the images that a call of `measure` speaks of; errors as there."""
    path = Path(weights)
    run = records.load(Run, path / RUN, "run description") if (path / RUN).is_file() else None
    predictor = Predictor.load(weights, device, model=model, variant=variant, mean=mean, std=std)
    if run is not None and (data is None or data.source == run.data.source):
        own, config = True, run.data
    elif data is not None:
        own, config = False, data.replace(val_fraction=0, test_fraction=0)
    else:
        raise InputError(f"{weights}: weights without images of their own; name a SOURCE to measure them on")
    parts = {str(part): images for part, images in open_source(config).parts().items()}
    chosen = split or next(part for part in ("test", "val", "train") if part in parts)
    if chosen not in parts:
        raise unknown("split", chosen, parts)
    unnamed = predictor.unnamed and len(predictor.classes) == len(parts[chosen].classes)
    images = parts[chosen] if unnamed else _relabelled(parts[chosen], predictor.classes, config.source)
    precision = choose("auto" if run is None else run.train.precision, device)
    lying = path.parent if path.name == TOPOLOGY else path  # of a TensorFlow.js model the weights lie beside it
    file = path / WEIGHTS if (path / WEIGHTS).is_file() else lying
    provenance: dict[str, JsonValue] = {
        "command": command,
        "run": str(weights),
        "model": predictor.network.description.name,
        "source": config.source,
        "weights_sha256": digest(file) if file.exists() else None,
        "precision": str(precision),
        **({"preprocessing": predictor.said} if predictor.said else {}),
        "versions": dict(versions()),
        "hardware": hardware(device),
    }
    shown = chosen if own or len(parts) > 1 else "all images"
    return Asked(predictor, images, config, shown, precision, provenance)


def _relabelled(images: Images, classes: tuple[str, ...], source: str) -> Images:
    if images.classes == classes:
        return images
    strangers = [name for name in images.classes if name not in classes]
    if strangers:
        known = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
        raise InputError(
            f"{source}: the network does not know the classes {', '.join(strangers[:5])} (it knows {known}); "
            "rename the folders, or train on these images"
        )
    places = torch.tensor([classes.index(name) for name in images.classes])
    assert isinstance(images, ArrayImages | FileImages | StoredImages)
    return replace(images, labels=places[images.labels], classes=classes)
