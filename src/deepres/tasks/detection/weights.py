"""Weights into a detector: a detector's own, ours or torchvision's; or a classification network's, into the body."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from deepres.arch.catalogue.lookup import eps_of, with_eps
from deepres.arch.detector import Detector
from deepres.arch.readings.diff import difference
from deepres.base.errors import InputError
from deepres.base.files import digest
from deepres.base.normalisation import NAMED
from deepres.base.wording import counted, some
from deepres.nn import create as classification
from deepres.nn.weights.files import load_state
from deepres.nn.weights.formats import Checkpoint, Preprocessing
from deepres.tasks.detection import names_torchvision
from deepres.tasks.detection.detector import DetectorNetwork, as_backbone

OF_CLASSES = ("regions.classes.", "regions.boxes.", "masks.classes.")
"""The layers that have a column, or four, for each class."""


_PUBLISHED = Preprocessing(crop=800, resize=800, mean=NAMED["imagenet"][0], std=NAMED["imagenet"][1], fit=None)
"""What torchvision's published detector was trained on; its pictures keep their shape."""


def recognised(stored: Checkpoint) -> Checkpoint:
    """The same; a detector of torchvision's under our names, with the description and the classes that its file shows.

    The classes of COCO's 91 columns have names only where the file is the one that torchvision publishes.
    """
    if stored.description is not None or not names_torchvision.is_torchvisions(stored.tensors):
        return stored
    path = Path(stored.where)
    of_file = digest(path) if path.is_file() else ""
    detector = names_torchvision.config_of(stored.tensors, stored.where, of_file).architecture()
    published = of_file.startswith(names_torchvision.COCO_V1)
    return replace(
        stored,
        tensors=names_torchvision.to_ours(stored.tensors, detector),
        description=detector,
        classes=names_torchvision.coco_classes() if published else (),
        preprocessing=_PUBLISHED if published else None,
    )


def load_weights(
    network: DetectorNetwork,
    stored: Checkpoint,
    classes: tuple[str, ...] = (),
    *,
    variant: str | None = None,
    new_head: bool = False,
) -> str:
    """Put weights into the detector, all or none; what of it is new or was put in another order, for a person to read.

    A detector's weights fill it, all but a head of masks where one of the two has none; its layers of classes are
    matched by name, and stay new where the `classes` are others or `new_head` is said; without `classes`, or of weights
    that do not name theirs, they are taken as they lie. A classification network's fill the body, after the same guard
    as everywhere (`variant` as in `create_model`; of a detector's weights it says what bare ones do not, the eps of
    their norms).

    Raises:
        InputError: another variant's weights, or such that do not fit.
    """
    stored = recognised(stored)
    if not isinstance(stored.description, Detector):
        _fill_body(network, stored, variant)
        return f"{', '.join(network.head_names)} are new; {stored.where} fills the body"
    there, here = stored.description, network.description
    if variant is not None:
        there = with_eps(there, eps_of(variant, stored.where))
    alike = None not in (there.masks, here.masks)
    found = difference(there, here) if alike else difference(*(one.replace(masks=None) for one in (there, here)))
    if found is not None:
        raise InputError(
            f"{stored.where}: weights of {there.name}, not of this {here.name}: {found.name} is {found.first} there, "
            f"{found.second} here; build the one that the weights are of"
        )
    own = network.state_dict()
    left_out = [name for name in stored.tensors if name.startswith("masks.") and here.masks is None]
    tensors = {name: tensor for name, tensor in stored.tensors.items() if name not in left_out}
    order, told = _order(stored, there, here, classes, new_head)
    if order is None:
        tensors |= {name: tensor for name, tensor in own.items() if name.startswith(OF_CLASSES)}
    else:
        tensors = {name: _turned(name, tensor, order) for name, tensor in tensors.items()}
    if left_out:
        told = "; ".join(filter(None, [told, f"what draws masks in {stored.where} is left out"]))
    if here.masks is not None and not alike:
        tensors |= {name: tensor for name, tensor in own.items() if name.startswith("masks.")}
        told = "; ".join(filter(None, [told, f"what draws masks is new: {stored.where} has none"]))
    load_state(network, tensors, stored.where)
    return told


def _order(
    stored: Checkpoint, there: Detector, here: Detector, classes: tuple[str, ...], new_head: bool
) -> tuple[list[int] | None, str]:
    """The weights' class for each of ours, None where those layers are new; and what is said of it."""
    as_they_lie = list(range(there.num_classes))
    if new_head:
        return None, "the layers of classes are new, as asked"
    if not classes or classes == stored.classes:
        if there.num_classes != here.num_classes:
            raise InputError(
                f"{stored.where}: these weights know {counted(there.num_classes, 'class', 'classes')}, the detector "
                f"has {here.num_classes}; build it with as many, or say new_head for classes of your own"
            )
        return as_they_lie, ""
    if not stored.classes:
        return None, f"the layers of classes are new: {stored.where} does not name its {there.num_classes} classes"
    if set(classes) == set(stored.classes):
        order = [stored.classes.index(name) for name in classes]
        return order, "the classes of the weights are put in the order of the images', by name"
    return None, f"the layers of classes are new: the weights know {some(stored.classes, 3)}, wanted {some(classes, 3)}"


def _turned(name: str, tensor: Tensor, order: list[int]) -> Tensor:
    """Columns of classes in another order, background's first as ever."""
    if not name.startswith(OF_CLASSES):
        return tensor
    each = 4 if name.startswith(OF_CLASSES[1]) else 1
    columns = torch.tensor([0, *(place + 1 for place in order)])
    found: Tensor = tensor.reshape(-1, each, *tensor.shape[1:])[columns].flatten(0, 1)
    return found


def _fill_body(network: DetectorNetwork, stored: Checkpoint, variant: str | None) -> None:
    """A classification network's weights into the body, which shares its modules with one for as long."""
    shared = as_backbone(network)
    classification.load_weights(
        shared, stored, variant=variant, new_head=True, called=network.description.backbone_name
    )
