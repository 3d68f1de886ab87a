"""A detector asked about a batch: its loss, its boxes in px of the upright pictures, as columns of a file and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepres.arch.detector import Detector
from deepres.base.errors import InputError
from deepres.data.boxes import Boxes, BoxTargets, Placed
from deepres.data.images import Batch
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.geometry import evaluated
from deepres.data.transforms.per_batch import normalise
from deepres.data.transforms.per_image import fit
from deepres.data.transforms.sides import on_canvas, only_inside
from deepres.data.transforms.statistics import Statistics
from deepres.nn.weights.hub import find_weights
from deepres.tasks.detection.detections import Detections, Truth, checked
from deepres.tasks.detection.detector import DetectorNetwork, create
from deepres.tasks.detection.figures import Figures, figures
from deepres.tasks.detection.looking import Jointly
from deepres.tasks.detection.losses import loss as terms
from deepres.tasks.detection.measure import Measure
from deepres.tasks.detection.metrics import BoxAnswers
from deepres.tasks.detection.weights import load_weights, recognised
from deepres.tasks.losses import Counts, Forward, Loss

PREFIX = "box_"


def loss(network: Forward, batch: Batch) -> tuple[Tensor, Counts]:
    """losses.py, of a network that is a detector and nothing that stands in for it."""
    assert isinstance(network, DetectorNetwork)
    return terms(network, batch)


def loss_of(learns: str, proposals_of: str | None) -> Loss:
    """`loss`; or those of its terms that `learns` names, its regions among the proposals of another run's detector."""
    if learns == "all":
        return loss
    proposer = None if proposals_of is None else Proposer(proposals_of)

    def of_one_part(network: Forward, batch: Batch) -> tuple[Tensor, Counts]:
        assert isinstance(network, DetectorNetwork)
        return terms(network, batch, learns, network if proposer is None else proposer.on(batch.images))

    return of_one_part


class Proposer:
    """A trained detector whose proposals are looked at by another; it stays as it is, wherever pictures lie."""

    def __init__(self, weights: str) -> None:
        stored = recognised(find_weights(weights))
        if not isinstance(stored.description, Detector):
            raise InputError(f"train.proposals_of={weights}: proposes nothing; wanted the run of a detector")
        self._network = create(stored.description).requires_grad_(False).eval()
        load_weights(self._network, stored)

    def on(self, images: Tensor) -> DetectorNetwork:
        """The detector where the pictures are."""
        self._network.to(images.device)
        return self._network


def batch_of(pixels: Tensor, preparation: Preparation, statistics: Statistics) -> Batch:
    """A picture (C, H, W), uint8, as evaluation has it: resized, on its own canvas, on the statistics' device."""
    height, width = pixels.shape[-2:]
    geometry = evaluated(preparation, [(width, height)])
    image = fit(pixels.to(statistics.mean.device), preparation)
    x = normalise(on_canvas(image, geometry.size)[None], preparation, statistics)
    targets = BoxTargets.of([Boxes.of([], [])]).placed(geometry, torch.zeros(1, dtype=torch.int64))
    return Batch(only_inside(x, geometry.own_sizes), targets, torch.zeros(1, dtype=torch.int64))


def found_in(network: nn.Module, batch: Batch) -> Detections:
    """The network's boxes; `image` is the row of the batch, corners lie in the picture as it is upright."""
    targets = batch.targets
    assert isinstance(targets, BoxTargets)
    assert targets.where is not None
    found = network(batch) if isinstance(network, Jointly) else network(batch.images, targets.where.sizes)
    number = torch.tensor([len(one.scores) for one in found])
    image = torch.arange(len(found)).repeat_interleave(number)
    corners, classes, scores = (torch.cat([getattr(one, name) for one in found]).cpu() for name in found[0]._fields)
    told = {"image": image, "corners": upright(corners, image, targets.where), "classes": classes, "scores": scores}
    return Detections.of(told)


def upright(corners: Tensor, image: Tensor, where: Placed) -> Tensor:
    """Corners (M, 4) in px of the prepared pictures -> of the upright ones, float64: x = A^-1 (x' - b)."""
    maps = where.matrices[image]
    moved = corners.double().reshape(-1, 2, 2) - maps[:, None, :, 2]
    points = torch.einsum("mij,mpj->mpi", torch.linalg.inv(maps[:, :, :2]), moved)
    return torch.cat([points.amin(1), points.amax(1)], 1)


def columns_of(answers: BoxAnswers) -> dict[str, Any]:
    """Pictures, boxes and truth as columns; of truth one: image, corners, class, ignored, area."""
    found, truth = answers.detections.columns(), answers.truth.columns()
    rows = [column.double().reshape(len(answers.truth), -1) for column in truth.values()]
    return {
        "indices": answers.indices,
        **{f"{PREFIX}{name}": column for name, column in found.items()},
        "truth": torch.cat(rows, 1),
    }


def figures_in(columns: Mapping[str, Any], measure: Measure) -> Figures:
    """What `columns_of` wrote, measured; KeyError and ValueError where it is none of that.

    Classes without an object are in no mean, so that boxes of them need not be counted, whatever their number.
    """
    indices = np.asarray(columns["index"])
    rows = np.asarray(columns["truth"], dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != _COLUMNS:
        raise ValueError(f"truth is {rows.shape}, wanted (G, {_COLUMNS})")
    whole = rows[:, [0, 5, 6]]
    if not (np.isfinite(whole).all() and (whole == np.rint(whole)).all() and (abs(whole) < 2**31).all()):
        raise ValueError("truth has a picture, a class or a mark that is no whole number")
    names = ("image", "corners", "classes", "ignored", "areas")
    parts = dict(zip(names, np.split(rows, np.cumsum([1, 4, 1, 1]), axis=1), strict=True))
    told: dict[str, Any] = {name: part if name == "corners" else part[:, 0] for name, part in parts.items()}
    told |= {"image": told["image"].astype(np.int64), "ignored": told["ignored"] != 0}
    present, told["classes"] = np.unique(told["classes"].astype(np.int64), return_inverse=True)
    known = checked(
        Detections, {name: columns[f"{PREFIX}{name}"] for name in Detections.names()}, indices.tolist(), None
    )
    truth = Truth.of(checked(Truth, told, indices.tolist(), len(present)))
    if not (~truth.ignored).any():
        raise ValueError("no object in any picture: AP is not defined")
    counted = np.isin(known["classes"], present)
    boxes = {name: column[counted] for name, column in known.items()}
    found = Detections.of(boxes | {"classes": np.searchsorted(present, boxes["classes"])})
    places = torch.as_tensor(indices)
    return figures(found.placed(places), truth.placed(places), len(indices), len(present), measure)


_COLUMNS = 8
