"""A folder that timm reads: `timm.create_model("local-dir:FOLDER", pretrained=True)` is the network, its logits."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from deepres.arch.architecture import Architecture
from deepres.base.errors import InputError, unknown
from deepres.base.extras import need
from deepres.base.files import write_atomic
from deepres.base.reading import json_object
from deepres.data.transforms.per_batch import normalise
from deepres.nn.weights.convert import TIMM, known_as
from deepres.nn.weights.files import WEIGHTS, save_network
from deepres.nn.weights.formats import CONFIG
from deepres.predict.exported.bundle import Bundle
from deepres.predict.predictor import Predictor
from deepres.predict.preprocessing import preprocessing_of


def require_known(predictor: Predictor) -> str:
    """timm's name of the network.

    Raises:
        InputError: timm has no such network, or no way to say what its images or its outputs are.
    """
    description, preparation = predictor.network.description, predictor.preparation
    theirs = known_as(description) if isinstance(description, Architecture) else None
    if theirs is None and description.name in TIMM:
        raise InputError(f"{description.name}: edited, and timm has it as it is published alone; wanted --format onnx")
    if theirs is None:
        raise unknown("network of timm", description.name, set(TIMM.values()))
    if predictor.task.form not in ("class", "classes"):
        raise InputError(f"task {predictor.task.kind}: timm's networks give one logit a class; wanted --format onnx")
    if preparation.normalise == "per_pixel" or preparation.fit is None or preparation.margins == "floored":
        what = "no mean image" if preparation.normalise == "per_pixel" else "no such way to cut an image"
        raise InputError(
            f"{description.name}: timm has {what}, so that its answers would be others; wanted --format onnx"
        )
    return theirs


def write(folder: Path, predictor: Predictor, bundle: Bundle) -> Path:
    """Write `model.safetensors` and `config.json`, and give the former."""
    require_known(predictor)
    told = preprocessing_of(predictor.preparation, predictor.statistics, predictor.network.description)
    facts = predictor.preparation.model_dump(mode="json")
    save_network(folder, predictor.network, predictor.classes, facts, told, dict(bundle.task))
    config = json_object(folder / CONFIG, "description of weights")
    config["license"] = bundle.license
    config["deepres"]["export"] = bundle.to_texts()
    write_atomic(folder / CONFIG, json.dumps(config, indent=1) + "\n")
    return folder / WEIGHTS


@dataclass(frozen=True)
class Loaded:
    """Fitted pictures uint8 (N, C, H, W) -> answers (N, K), by the network that timm makes of the folder."""

    network: nn.Module
    predictor: Predictor

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        x = normalise(images, self.predictor.preparation, self.predictor.statistics)
        answers: Tensor = self.predictor.task.activated(self.network(x))
        return answers

    def __str__(self) -> str:
        return f"timm {need('timm', 'comparing').__version__}, float32"


def read(file: Path, predictor: Predictor) -> Loaded:
    """The folder as timm reads it; what the logits mean is asked of `predictor`.

    Raises:
        InputError: timm is not installed.
    """
    timm = need("timm", "comparing the folder with its network")
    return Loaded(timm.create_model(f"local-dir:{file.parent}", pretrained=True).eval(), predictor)
