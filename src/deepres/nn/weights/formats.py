"""What weights say about themselves, and how deepres writes it: preprocessing in the field's words, our config.json."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from deepres.arch.algebra import Node, children, dotted
from deepres.arch.architecture import Architecture, feature_shapes
from deepres.arch.atoms import Conv
from deepres.arch.detector import Description, Detector
from deepres.base.errors import InputError
from deepres.base.normalisation import Values, require_possible
from deepres.base.records import Record
from deepres.base.records import build as build_record

CONFIG = "config.json"


class Preprocessing(Record):
    """Short side to `resize`, the central square of `crop` px, then (x / 255 - mean) / std: the field's way.

    With `fit` "squash" the image is resized to the square as it is; with "pad" it stands in it between bars; with None
    it stays as it is. `margins`: what is left of the central square is half of what lies outside, rounded (torchvision,
    timm) or floored (transformers). `note` is what else the weights say that a reader of numbers must know.
    """

    crop: int = Field(ge=1, le=4096)
    resize: int = Field(ge=1, le=4096)
    mean: Values
    std: Values
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    fit: Literal["crop", "squash", "pad"] | None = "crop"
    margins: Literal["rounded", "floored"] = "rounded"
    note: str = ""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        require_possible(self.mean, self.std, "mean and std")
        if self.fit == "crop" and self.resize < self.crop:
            raise ValueError(f"cannot cut {self.crop} from a short side of {self.resize}; a crop's share is at most 1")
        return self


@dataclass(frozen=True)
class Checkpoint:
    """Weights with what is known of them; None and () where they do not say.

    `description` is the network that they were trained as, `preparation` what deepres wrote about images,
    `preprocessing` the same in the field's words, `task` what its outputs mean
    (`tasks/kinds.py`; None: one logit a class).
    """

    where: str
    tensors: Mapping[str, Tensor]
    description: Description | None = None
    classes: tuple[str, ...] = ()
    preparation: Mapping[str, Any] | None = None
    preprocessing: Preprocessing | None = None
    task: Mapping[str, Any] | None = None


def real_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The names; () where they are transformers' placeholders LABEL_0, LABEL_1, …."""
    return () if all(re.fullmatch(r"LABEL_\d+", name) for name in classes) else classes


def preprocessing_config(
    prepared: Preprocessing, description: Architecture, classes: tuple[str, ...]
) -> dict[str, Any]:
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


def network_cfg(description: Architecture, wanted: Preprocessing | None) -> dict[str, Any]:
    """timm's `pretrained_cfg` of a network whose weights want this of images; None: they do not say."""
    (*_, pool) = feature_shapes(description).values()
    first = next(name for name, node in _nodes(description.tree, "") if isinstance(node, Conv))
    facts = {} if wanted is None else preprocessing_config(wanted, description, ())
    facts.pop("label_names", None)
    return {
        "architecture": description.name,
        "input_size": list(description.input),
        "num_classes": description.num_classes,
        "pool_size": list(pool[1:]),
        "first_conv": first,
        "classifier": "head.fc" if description.num_classes else "",
        **facts,
    }


def _nodes(node: Node, name: str) -> Iterator[tuple[str, Node]]:
    yield name, node
    for part, child in children(node):
        yield from _nodes(child, dotted(name, part))


def our_folder(config: Mapping[str, Any], path: Path, where: str) -> Checkpoint:
    """What deepres wrote into a `config.json`: the run's preparation, and the same in timm's words."""
    facts = config["deepres"]
    cfg = config.get("pretrained_cfg")
    return Checkpoint(
        where,
        {},
        built(facts["network"], str(path)),
        _class_names(config["label_names"], str(path)),
        dict(facts["preparation"]),
        _preprocessing_in(cfg, f"{path} pretrained_cfg") if cfg and "mean" in cfg else None,
        facts.get("task", {"temperature": facts["calibration"]} if "calibration" in facts else None),
    )


def built(fields: dict[str, Any], where: str) -> Description:
    """The description that these fields are of: a detector's names its family."""
    if fields.get("family") == "detector":
        return build_record(Detector, fields, where)
    return build_record(Architecture, fields, where)


def _class_names(names: Any, where: str) -> tuple[str, ...]:
    """The names as they were written: all different texts."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise InputError(f"{where}: label_names wanted a list of different texts; bring the file as it was written")
    return tuple(names)


def _preprocessing_in(cfg: Mapping[str, Any], where: str) -> Preprocessing:
    """The inverse of `preprocessing_config`."""
    crop = int(cfg["input_size"][-1])
    facts = {
        "crop": crop,
        "resize": floor(crop / float(cfg["crop_pct"])),
        "mean": tuple(cfg["mean"]),
        "std": tuple(cfg["std"]),
        "interpolation": cfg["interpolation"],
        "fit": {"center": "crop", "squash": "squash", "border": "pad"}[cfg["crop_mode"]],
    }
    return build_record(Preprocessing, facts, where)
