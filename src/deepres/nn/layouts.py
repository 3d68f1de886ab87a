"""What a folder or a file of weights says about itself: as deepres, timm's hub and transformers write it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.files import read_text
from deepres.base.normalisation import Values, require_possible
from deepres.base.records import Record
from deepres.base.records import build as build_record
from deepres.nn.foreign import TIMM
from deepres.spec import catalogue
from deepres.spec.network import Network, with_classes, with_input

CONFIG = "config.json"


class Preprocessing(Record):
    """Short side to `resize`, the central square of `crop` px, then (x / 255 - mean) / std: the field's way.

    With `fit` "squash" the image is resized to the square as it is; with "pad" it stands in it between bars; with None
    it stays as it is. `note` is what else the weights say that a reader of numbers must know.
    """

    crop: int
    resize: int
    mean: Values
    std: Values
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    fit: Literal["crop", "squash", "pad"] | None = "crop"
    note: str = ""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        require_possible(self.mean, self.std, "mean and std")
        return self


@dataclass(frozen=True)
class Stored:
    """Weights with what is known of them; None and () where they do not say.

    `description` is the network that they were trained as, `preparation` what deepres wrote about images,
    `preprocessing` the same in the field's words.
    """

    where: str
    tensors: Mapping[str, Tensor]
    description: Network | None = None
    classes: tuple[str, ...] = ()
    preparation: Mapping[str, Any] | None = None
    preprocessing: Preprocessing | None = None


def said_by(folder: Path) -> Stored:
    """What the `config.json` of a folder says of the weights beside it, which are not read yet.

    Raises:
        InputError: no such file, or it describes no network that is known here.
    """
    path, where = folder / CONFIG, str(folder)
    try:
        config = json.loads(read_text(path, "model description; is this a run folder?"))
        if "deepres" in config:
            return _ours(config, path, where)
        if "architecture" in config:
            return _timms(config, where)
        if "ResNetForImageClassification" in config["architectures"]:
            return _transformers(config, folder, where)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as cause:
        raise InputError(
            f"{path}: not a description that deepres, timm or transformers wrote ({cause!r}); give a run folder, "
            "or the weights alone with the network's name"
        ) from cause
    raise InputError(f"{path}: {config['architectures']} is no network of this family; wanted a ResNet")


def preprocessing_config(prepared: Preprocessing, description: Network, classes: tuple[str, ...]) -> dict[str, Any]:
    """timm's `pretrained_cfg`: its resize of floor(crop / crop_pct) comes out as `prepared.resize`."""
    share = prepared.crop / prepared.resize
    if floor(prepared.crop / share) != prepared.resize:
        share = prepared.crop / (prepared.resize + 0.5)
    return {
        "num_classes": description.num_classes,
        "input_size": [description.input[0], prepared.crop, prepared.crop],
        "fixed_input_size": False,
        "crop_pct": share,
        "crop_mode": {"squash": "squash", "pad": "border"}.get(prepared.fit or "", "center"),
        "interpolation": prepared.interpolation,
        "mean": list(prepared.mean),
        "std": list(prepared.std),
        "label_names": list(classes),
    }


def _ours(config: Mapping[str, Any], path: Path, where: str) -> Stored:
    facts = config["deepres"]
    cfg = config.get("pretrained_cfg")
    return Stored(
        where,
        {},
        build_record(Network, facts["network"], str(path)),
        tuple(config["label_names"]),
        dict(facts["preparation"]),
        None if cfg is None else _of_timm(cfg),
    )


def _timms(config: Mapping[str, Any], where: str) -> Stored:
    cfg = config.get("pretrained_cfg", config)
    name = next((ours for ours, theirs in TIMM.items() if theirs == config["architecture"]), None)
    if name is None:
        raise InputError(f"{where}: timm's {config['architecture']} is no network of this family; choose another")
    arguments = set(config.get("model_args", {})) - {"in_chans", "num_classes"}
    if arguments:
        raise InputError(
            f"{where}: timm's {name} with {', '.join(sorted(arguments))}, which is not described here; "
            "build that network with --set model.…, and give the weights alone with its name"
        )
    size = tuple(cfg.get("input_size", (3, 224, 224)))
    classes = tuple(config.get("label_names") or cfg.get("label_names") or cfg.get("labels") or ())
    return Stored(
        where,
        {},
        _network(name, int(config.get("num_classes", cfg.get("num_classes", 1000))), size),
        classes,
        preprocessing=_of_timm(cfg),
    )


def _of_timm(cfg: Mapping[str, Any]) -> Preprocessing:
    crop = int(cfg["input_size"][-1])
    return Preprocessing(
        crop=crop,
        resize=floor(crop / float(cfg.get("crop_pct", 0.875))),
        mean=tuple(cfg["mean"]),
        std=tuple(cfg["std"]),
        interpolation=cfg.get("interpolation", "bilinear"),
        fit={"center": "crop", "squash": "squash", "border": "pad"}[cfg.get("crop_mode") or "center"],
    )


def _transformers(config: Mapping[str, Any], folder: Path, where: str) -> Stored:
    depths = {
        name: catalogue.entry(name).config for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    }
    wanted = (tuple(config["depths"]), config["layer_type"])
    name = next(
        (n for n, c in depths.items() if (getattr(c, "depths", None), getattr(c, "unit", None)) == wanted), None
    )
    if name is None:
        raise InputError(f"{where}: a transformers ResNet of depths {wanted[0]}, which the catalogue does not have")
    if config.get("downsample_in_bottleneck"):
        name += "_v1"
    labels = {int(number): label for number, label in config["id2label"].items()}
    classes = tuple(labels[number] for number in range(len(labels)))
    path = folder / "preprocessor_config.json"
    prepared = json.loads(path.read_text()) if path.is_file() else {}
    size = prepared.get("size", 224)
    side = int(size["shortest_edge"] if isinstance(size, dict) else size)
    return Stored(
        where,
        {},
        _network(name, len(classes), (int(config.get("num_channels", 3)), side, side)),
        classes,
        preprocessing=Preprocessing(
            crop=side,
            resize=floor(side / float(prepared.get("crop_pct") or 0.875)),
            mean=tuple(prepared.get("image_mean", (0.485, 0.456, 0.406))),
            std=tuple(prepared.get("image_std", (0.229, 0.224, 0.225))),
            interpolation={2: "bilinear", 3: "bicubic"}[prepared.get("resample", 3)],  # Pillow's numbers
        ),
    )


def _network(name: str, num_classes: int, size: tuple[int, ...]) -> Network:
    channels, height, width = size
    return with_input(with_classes(catalogue.network(name), num_classes), (channels, height, width))
