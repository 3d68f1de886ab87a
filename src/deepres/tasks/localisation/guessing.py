"""A picture's guesses: its likeliest classes, and for each the box that it is likeliest in."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from deepres.data.boxes import BoxTargets
from deepres.data.images import Batch
from deepres.data.transforms.config import Preparation
from deepres.nn.model import told_by
from deepres.tasks.detection.asking import upright
from deepres.tasks.detection.coding import clip, decode
from deepres.tasks.localisation.measure import GUESSES, first_classes
from deepres.tasks.localisation.network import anchors_at, chances, inside, said
from deepres.tasks.localisation.regions import looked_at, proposer
from deepres.tasks.together import SizedBatch

if TYPE_CHECKING:
    from deepres.tasks.localisation.task import Localising


@dataclass(frozen=True, eq=False)
class Guessed:
    """Of N pictures K guesses, the likeliest class first; boxes in px of the upright pictures.

    `classes` int64 (N, K), `chances` (N, K), `boxes` float64 (N, K, 4); `labels` int64 (N,) is the class that a picture
    is of, -1 where nobody says it, `given` float64 (N, 4) the box of that class.
    """

    classes: Tensor
    chances: Tensor
    boxes: Tensor
    labels: Tensor
    given: Tensor

    def at(self, rows: Tensor | slice) -> "Guessed":
        """Those of these pictures."""
        return Guessed(**{name: column[rows] for name, column in self.columns().items()})

    def columns(self) -> dict[str, Tensor]:
        """The columns by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, eq=False)
class Guesser:
    """A localiser, its task, in which of the pictures of a batch it looks, and which of its classes is class c."""

    task: "Localising"
    network: nn.Module
    pictures: tuple[int, ...] = (0,)
    order: tuple[int, ...] = ()


class GuessingTogether(nn.Module):
    """Localisers asked about batches (`SizedBatch`), each in some of the pictures: they answer as one."""

    def __init__(self, members: Sequence[Guesser]) -> None:
        super().__init__()
        self.members = tuple(members)
        self.networks = nn.ModuleList(member.network for member in members)
        first = told_by(members[0].network)
        self.description, self.num_classes, self.head_names = first.description, first.num_classes, first.head_names


@torch.inference_mode()
def guessed(task: "Localising", network: nn.Module, batch: Batch) -> Guessed:
    """What a network says of a batch, or several as one: a class has the box of the highest score anywhere.

    How likely classes are is the mean over sizes and networks: of each its classifier's probabilities, without one its
    own highest scores (of regions, its proposer's).
    """
    batches = (batch, *(batch.others if isinstance(batch, SizedBatch) else ()))
    members = network.members if isinstance(network, GuessingTogether) else (Guesser(task, network),)
    looks = [_Look(member, batches) for member in members]
    likely = torch.stack([look.likely() for look in looks]).mean(0)
    top = likely.topk(min(GUESSES, likely.shape[1]), 1)
    assert isinstance(batch.targets, BoxTargets)
    labels = first_classes(batch.targets)
    asked = torch.cat([top.indices.cpu(), labels.clamp(min=0)[:, None]], 1)
    boxes = _highest([look.boxes(asked) for look in looks])[0].cpu()
    given = boxes[:, -1].clone()
    given[labels < 0] = torch.nan
    return Guessed(top.indices.cpu(), top.values.cpu().double(), boxes[:, :-1], labels, given)


class _Look:
    """One member looking at its pictures of a batch."""

    def __init__(self, member: Guesser, batches: Sequence[Batch]) -> None:
        self._member, self._batches = member, [batches[place] for place in member.pictures]
        task, network = member.task, member.network
        self._best: tuple[Tensor, Tensor] | None = None
        if task.proposer is None:
            self._best = _highest([_best(task, network, one) for one in self._batches])
        elif task.classifier is None:
            proposing = proposer(task.proposer).to(batches[0].images.device)
            self._best = _highest([_best(task, proposing, one) for one in self._batches])

    def likely(self) -> Tensor:
        """How likely each class is on each picture, (N, C)."""
        task, order = self._member.task, self._member.order
        if task.classifier is None:
            assert self._best is not None
            found = self._best[1].sigmoid()
        else:
            each = [chances(task.classifier, task.order, one.images) for one in self._batches]
            found = torch.stack(each).mean(0)
        return found[:, list(order)] if order else found

    def boxes(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """The boxes of these classes (N, K): (N, K, 4), px of the upright pictures, and their scores (N, K)."""
        task, order = self._member.task, self._member.order
        own = torch.tensor(order)[classes] if order else classes
        if task.proposer is not None:
            return _highest([looked_at(task, self._member.network, one, own) for one in self._batches])
        assert self._best is not None
        boxes, scores = self._best
        own = own.to(scores.device)
        return boxes.gather(1, own[:, :, None].expand(-1, -1, 4)), scores.gather(1, own)


def _highest(said_by: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Of several boxes (N, K, 4) with their scores (N, K) those of the highest."""
    scores = torch.stack([scores for _, scores in said_by])
    best = scores.max(0)
    boxes = torch.stack([boxes for boxes, _ in said_by])
    return boxes.gather(0, best.indices[None, :, :, None].expand(1, -1, -1, 4))[0], best.values


def _best(task: "Localising", network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Of each class the likeliest box on each picture (N, C, 4), px of the upright one, and its score (N, C)."""
    targets = batch.targets
    assert isinstance(targets, BoxTargets)
    assert targets.where is not None
    height, width = batch.images.shape[-2:]
    scores, offsets = said(network(batch.images), task.anchors.number)
    every = anchors_at(task.anchors, (height, width), scores).to(scores.dtype)
    there = inside(targets.where.sizes.to(scores.device), scores, (height, width))
    scores = scores.masked_fill(~there, -torch.inf)
    flat = scores.transpose(1, 2).flatten(2)  # (N, C, A h w)
    best = flat.max(2)
    moves = offsets.permute(0, 3, 2, 1, 4, 5).flatten(3)  # (N, C, 4, A h w)
    moves = moves.gather(3, best.indices[:, :, None, None].expand(-1, -1, 4, 1))[..., 0]
    from_boxes = every.reshape(-1, 4)[best.indices]
    corners = decode(moves.reshape(-1, 4), from_boxes.reshape(-1, 4)).view(*best.indices.shape, 4)
    sizes = targets.where.sizes.tolist()
    corners = torch.stack([clip(own, (high, wide)) for own, (high, wide) in zip(corners, sizes, strict=True)])
    picture = torch.arange(len(corners)).repeat_interleave(corners.shape[1])
    whole = upright(corners.cpu().reshape(-1, 4), picture, targets.where).view(corners.shape)
    return whole.to(scores.device), best.values


def sides(preparation: Preparation, scale: int) -> Preparation:
    """The preparation of a whole picture of that short side, for a network that is asked fully convolutionally."""
    return preparation.replace(fit="sides", resize=scale, longest=min(4096, 4 * scale), multiple=32)
