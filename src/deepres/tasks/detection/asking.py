"""A detector asked about a batch: its loss, its boxes in px of the upright pictures, as columns of a file and back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepres.arch.detector import Detector
from deepres.base.errors import InputError
from deepres.data.boxes import Boxes, BoxTargets, Placed
from deepres.data.images import Batch
from deepres.data.run_lengths import RunLengths
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.geometry import evaluated
from deepres.data.transforms.per_batch import normalise
from deepres.data.transforms.per_image import fit
from deepres.data.transforms.sides import on_canvas, only_inside
from deepres.data.transforms.statistics import Statistics
from deepres.nn.model import told_by
from deepres.nn.weights.hub import find_weights
from deepres.tasks.detection.detections import Detections, Truth, checked
from deepres.tasks.detection.detector import DetectorNetwork, create
from deepres.tasks.detection.figures import Figures, figures
from deepres.tasks.detection.looking import Jointly
from deepres.tasks.detection.losses import loss as terms
from deepres.tasks.detection.mask_column import MaskColumn, written
from deepres.tasks.detection.masks import runs_of
from deepres.tasks.detection.measure import Measure
from deepres.tasks.detection.metrics import BoxAnswers
from deepres.tasks.detection.regions import Found
from deepres.tasks.detection.weights import load_weights, recognised
from deepres.tasks.losses import Counts, Forward, Loss

PREFIX = "box_"
BOX_MASKS, TRUTH_MASKS = "mask_", "truth_mask_"


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
    corners, classes, scores = (
        torch.cat(parts).cpu() for parts in zip(*((one.corners, one.classes, one.scores) for one in found), strict=True)
    )
    whole = upright(corners, image, targets.where)
    masks = _masks(network, found, torch.split(whole, number.tolist()), targets.where)
    return Detections.of({"image": image, "corners": whole, "classes": classes, "scores": scores, "masks": masks})


def _masks(network: nn.Module, found: Sequence[Found], corners: Sequence[Tensor], where: Placed) -> MaskColumn | None:
    """Of all boxes, in the pictures as they are upright; None of a network that draws none."""
    if any(one.masks is None for one in found):
        return None
    config = getattr(told_by(network).description, "masks", None)
    aligned = config is None or config.aligned
    scales = torch.stack([where.matrices[:, 1, 1], where.matrices[:, 0, 0]], 1).abs()
    sizes = (where.sizes / scales).round().long().tolist()
    runs: list[RunLengths] = []
    for one, own, (height, width) in zip(found, corners, sizes, strict=True):
        assert one.masks is not None
        runs += runs_of(one.masks.cpu().float(), own.float(), (height, width), aligned=aligned)
    return MaskColumn(tuple(runs))


def upright(corners: Tensor, image: Tensor, where: Placed) -> Tensor:
    """Corners (M, 4) in px of the prepared pictures -> of the upright ones, float64: x = A^-1 (x' - b)."""
    maps = where.matrices[image]
    moved = corners.double().reshape(-1, 2, 2) - maps[:, None, :, 2]
    points = torch.einsum("mij,mpj->mpi", torch.linalg.inv(maps[:, :, :2]), moved)
    return torch.cat([points.amin(1), points.amax(1)], 1)


def columns_of(answers: BoxAnswers) -> dict[str, Any]:
    """Pictures, boxes and truth as columns; of truth one: image, corners, class, ignored, area; masks apart."""
    found, truth = answers.detections.columns(), answers.truth.columns()
    masks: dict[str, Any] = {}
    for prefix, column in ((BOX_MASKS, answers.detections.masks), (TRUTH_MASKS, answers.truth.masks)):
        masks |= {} if column is None else column.arrays(prefix)
    rows = [column.double().reshape(len(answers.truth), -1) for column in truth.values()]
    return {
        "indices": answers.indices,
        **{f"{PREFIX}{name}": column for name, column in found.items()},
        "truth": torch.cat(rows, 1),
        **masks,
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
    masks = written(columns, BOX_MASKS, len(counted))
    truth = replace(truth, masks=written(columns, TRUTH_MASKS, len(truth)))
    boxes = {name: column[counted] for name, column in known.items()}
    boxes |= {"classes": np.searchsorted(present, boxes["classes"])}
    found = Detections.of(boxes | {"masks": None if masks is None else masks[torch.from_numpy(counted)]})
    places = torch.as_tensor(indices)
    return figures(found.placed(places), truth.placed(places), len(indices), len(present), measure)


_COLUMNS = 8
