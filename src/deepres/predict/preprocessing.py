"""What weights want done to an image: from what they say of it, in deepres' words or the field's, and back."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from deepres.arch.detector import Description, Detector
from deepres.base.errors import InputError
from deepres.base.manifest import require_own
from deepres.base.normalisation import CHOICES, Values, as_values, mean_std_text, per_channel, require_possible
from deepres.base.records import build
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.create import adaptation
from deepres.nn.weights.channels import RGB, adapted_values
from deepres.nn.weights.formats import CONFIG, Checkpoint, Preprocessing

STATISTICS = "statistics.safetensors"
SMALL = 96
"""Up to this size in pixels the whole short side is shown to bare weights, beyond it 224 / 256 of it."""
SHORT, LONG = 800, 1333
"""Sides in px to which torchvision's detectors bring a picture."""


class Prepared(NamedTuple):
    """Preparation and statistics, and in `said` what of them decides the answers; empty for a run's own."""

    preparation: Preparation
    statistics: Statistics
    said: str = ""


def prepared_for(
    stored: Checkpoint,
    description: Description,
    mean: Values | None = None,
    std: Values | None = None,
) -> Prepared:
    """What these weights want of an image: as the run that made them did it, or as they say, or as the user says.

    `mean` and `std`, of pixels in [0, 1], are what the user says; weights that say nothing are not used without. Their
    images are then assumed to be RGB of the network's own input size, cut from a short side of 256 / 224 of it (small
    inputs, up to `SMALL` px, from the whole short side) and resized bilinearly, which `said` says.

    Raises:
        InputError: nothing known and nothing said; a mean for a run, which has its own; values that no images have;
            statistics that do not go with the run's preparation.
    """
    mean, std = as_values(mean, "mean"), as_values(std, "std")
    require_possible(mean, std, "--mean, --std")
    folder, channels = Path(stored.where), description.input[0]
    note = "" if channels == RGB or isinstance(description, Detector) else adaptation(stored, description)
    if stored.preparation:
        require_own(folder, STATISTICS)  # also that it is there
    if stored.preparation and (folder / STATISTICS).is_file():
        if mean is not None:
            raise InputError(f"{folder}: a run has its own mean and std; leave --preprocessing, --mean and --std out")
        preparation = build(Preparation, dict(stored.preparation), str(folder))
        statistics = run_statistics(folder)
        _require_together(preparation, statistics, folder / STATISTICS)
        if note:
            return Prepared(preparation.replace(channels=channels), _adapted(statistics, channels), note)
        return Prepared(preparation, statistics)
    side, wanted = description.input[1], stored.preprocessing
    if note:
        mean, std = (values and adapted_values(values, channels) for values in (mean, std))
        own = {} if wanted is None else {"mean": wanted.mean, "std": wanted.std}
        wanted = wanted and wanted.replace(**{name: adapted_values(values, channels) for name, values in own.items()})
    if mean is not None and std is not None:
        mean, std = per_channel(mean, std, channels, stored.where)
        said = f"{mean_std_text(mean, std)}, as asked for"
        if wanted is not None and (wanted.mean, wanted.std) != (mean, std):
            said += f" in place of the weights' own {mean_std_text(wanted.mean, wanted.std)}"
    elif wanted is not None:
        mean, std = per_channel(wanted.mean, wanted.std, channels, stored.where)
        said = f"{mean_std_text(mean, std)}, as the weights say"
    else:
        beside = f", or give the folder {folder.parent}, which says it" if (folder.parent / CONFIG).is_file() else ""
        raise InputError(
            f"{stored.where}: does not say how its images were normalised, which decides every answer; say it with "
            f"{CHOICES}{beside}"
        )
    if isinstance(description, Detector):
        return _of_detector(stored, description, Preprocessing(crop=1, resize=1, mean=mean, std=std), said)
    if wanted is None:
        wanted = Preprocessing(crop=side, resize=side if side <= SMALL else side * 256 // 224, mean=mean, std=std)
        colours = "RGB" if channels == 3 else "grey"
        said += f"; assumed, as the weights do not say: {colours}, {side} px of short side {wanted.resize}, bilinear"
    wanted = wanted.replace(mean=mean, std=std)
    facts: dict[str, Any] = {"channels": channels, **wanted.model_dump(include={"fit", "interpolation", "margins"})}
    if wanted.fit is not None:
        facts |= {"resize": wanted.resize, "crop": wanted.crop}
    said += "".join(f"; {each}" for each in (wanted.note, note) if each)
    return Prepared(build(Preparation, facts, stored.where), statistics_of(wanted), said)


def _of_detector(stored: Checkpoint, description: Detector, scaled: Preprocessing, said: str) -> Prepared:
    """Pictures keep their shape; sides as torchvision's detectors have them, which do not say so either."""
    facts = {
        "channels": description.input[0],
        "fit": "sides",
        "resize": SHORT,
        "longest": LONG,
        "multiple": description.strides[-1],
        "interpolation": "bilinear",
        "normalise": "per_channel",
    }
    said += f"; assumed, as the weights do not say: RGB, short side {SHORT} px, long side {LONG} px at most, bilinear"
    if stored.preprocessing is None:
        said += (
            ", eps of norms as --variant has it, else 1e-05 (0 where training began with torchvision's COCO weights)"
        )
    return Prepared(build(Preparation, facts, stored.where), statistics_of(scaled), said)


def run_statistics(folder: Path) -> Statistics:
    """Those that the run in the folder normalises by.

    Raises:
        InputError: they are missing, damaged, or another run's.
    """
    require_own(folder, STATISTICS)
    return Statistics.load(folder / STATISTICS)


def statistics_of(preprocessing: Preprocessing) -> Statistics:
    """Mean and std alone; colour axes and mean image are not known of weights made elsewhere."""
    channels = len(preprocessing.mean)
    return Statistics(
        mean=torch.tensor(preprocessing.mean),
        std=torch.tensor(preprocessing.std),
        eigenvalues=torch.zeros(channels),
        eigenvectors=torch.eye(channels),
        mean_image=None,
        count=0,
    )


def preprocessing_of(
    preparation: Preparation, statistics: Statistics, description: Description
) -> Preprocessing | None:
    """The field's words for it. A mean image becomes its mean per channel, which is nearly the same.

    None where the field has none: of pictures that keep their shape.
    """
    if preparation.fit == "sides":
        return None
    side = preparation.size or description.input[1]
    ones, zeros = (1.0,) * preparation.channels, (0.0,) * preparation.channels
    mean = zeros if preparation.normalise == "none" else tuple(statistics.mean.tolist())
    return Preprocessing(
        crop=side,
        resize=preparation.resize if preparation.fit == "crop" and preparation.resize else side,
        mean=mean,
        std=tuple(statistics.std.tolist()) if preparation.normalise == "per_channel" else ones,
        interpolation=preparation.interpolation,
        fit=preparation.fit or "crop",
    )


def _adapted(statistics: Statistics, channels: int) -> Statistics:
    """Those of RGB images for other channels; colours have no axes then."""
    mean, std = (adapted_values(tuple(values.tolist()), channels) for values in (statistics.mean, statistics.std))
    image = statistics.mean_image
    if image is not None:
        image = image.mean(0, keepdim=True) if channels == 1 else image[torch.arange(channels) % RGB]
    return replace(
        statistics,
        mean=torch.tensor(mean),
        std=torch.tensor(std),
        eigenvalues=torch.zeros(channels),
        eigenvectors=torch.eye(channels),
        mean_image=image,
    )


def _require_together(preparation: Preparation, statistics: Statistics, path: Path) -> None:
    """A run's statistics have its channels, and a std to divide by where it divides."""
    if len(statistics.mean) != preparation.channels:
        raise InputError(
            f"{path}: of {len(statistics.mean)} channels, the run prepares {preparation.channels}; "
            "bring the file that was written with the run"
        )
    if preparation.normalise == "per_channel":
        require_possible(statistics.mean.tolist(), statistics.std.tolist(), str(path))
    if preparation.normalise == "per_pixel" and statistics.mean_image is None:
        raise InputError(f"{path}: no mean image, which the run subtracts; bring the file that was written with it")
