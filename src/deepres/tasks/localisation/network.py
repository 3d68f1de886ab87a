"""A localiser made, with first values or weights; what it says of a batch, taken apart into scores and offsets."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from deepres.arch.algebra import Sequence as Parts
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import GlobalAveragePool
from deepres.arch.localiser import OFFSETS, anchors_of, backbone_of
from deepres.arch.readings.diff import difference
from deepres.arch.regions import Anchors
from deepres.base.errors import InputError
from deepres.nn import create as classification
from deepres.nn.build import ResidualNetwork, build, modules
from deepres.nn.init import RULES, initialise, normal
from deepres.nn.weights.files import load_state
from deepres.nn.weights.formats import Checkpoint
from deepres.nn.weights.hub import find_weights
from deepres.tasks.detection.anchors import anchors
from deepres.tasks.detection.proposals import exact

_HEAD = {"head": {key: normal(0.01) for key in RULES if key[1] == "weight" and "Norm" not in key[0].__name__}}
"""First values of the head, as of a region proposal network (Ren et al. 2015, section 3.3)."""


def create(description: Architecture, seed: int = 0) -> ResidualNetwork:
    """The network with first values: the body as He et al. 2015, the head N(0, .01²)."""
    network = build(description)
    initialise(network, seed, parts=_HEAD)
    return network


def load_weights(
    network: ResidualNetwork, stored: Checkpoint, *, variant: str | None = None, new_head: bool = False
) -> str:
    """Put weights in, all or none: a localiser's own, or a classification network's into the body; what is new is said.

    Raises:
        InputError: another network's weights, or such that do not fit.
    """
    here = network.description
    if anchors_of(stored.description) is None:
        shared = as_backbone(network)
        called = shared.description.name
        classification.load_weights(shared, stored, variant=variant, new_head=True, called=called)
        return f"what localises is new; {stored.where} fills the body"
    there = stored.description
    assert isinstance(there, Architecture)
    new_head = new_head or anchors_of(there) != anchors_of(here)
    found = difference(backbone_of(there), backbone_of(here))
    if found is not None:
        raise InputError(
            f"{stored.where}: weights of {there.name}, not of this {here.name}: {found.name} is {found.first} there, "
            f"{found.second} here; build the one that the weights are of"
        )
    own = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("head.")}
    kept = {name: tensor for name, tensor in stored.tensors.items() if not (new_head and name.startswith("head."))}
    load_state(network, {**own, **kept}, stored.where)
    return f"what localises is new; {stored.where} fills the body" if new_head else ""


def as_backbone(network: ResidualNetwork) -> ResidualNetwork:
    """The body as a network of its own that shares its modules: what is done to one is done to the other."""
    body = OrderedDict((name, network.get_submodule(name)) for name in network.body_names)
    pool = modules(Parts(parts={"pool": GlobalAveragePool()}), (1, 1, 1))
    return ResidualNetwork(backbone_of(network.description), body, pool)


def said(outputs: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """What a network with `number` anchors at a place says of C classes, in float32 at least.

    (N, 5 A C, h, w) -> scores before the sigmoid (N, A, C, h, w), offsets (N, A, 4, C, h, w)
    """
    batch, channels, height, width = outputs.shape
    places = exact(outputs).view(batch, number, 1 + OFFSETS, channels // (number * (1 + OFFSETS)), height, width)
    return places[:, :, 0], places[:, :, 1:]


def anchors_at(config: Anchors, padded: tuple[int, int], scores: Tensor) -> Tensor:
    """The anchors of such a map, for pictures of (H, W): (A, h, w, 4) px."""
    number, _, height, width = scores.shape[1:]
    down, across = steps(padded, scores)
    every = anchors(config, (down * height, across * width), [scores[:1, 0, :1]])[0]
    return every.view(height, width, number, 4).permute(2, 0, 1, 3)


def steps(padded: tuple[int, int], scores: Tensor) -> tuple[int, int]:
    """Pixels between neighbours in such a map, down and across: powers of 2, whatever sides are multiples of."""
    down, across = (
        1 << (-(-side // cells) - 1).bit_length() for side, cells in zip(padded, scores.shape[-2:], strict=True)
    )
    return down, across


def inside(sizes: Tensor, scores: Tensor, padded: tuple[int, int]) -> Tensor:
    """Which places of the map begin on the pictures, of (H, W) `sizes` (N, 2): bool (N, 1, 1, h, w)."""
    height, width = scores.shape[-2:]
    down, across = steps(padded, scores)
    rows = torch.arange(height, device=sizes.device) * down < sizes[:, :1]
    columns = torch.arange(width, device=sizes.device) * across < sizes[:, 1:]
    return (rows[:, :, None] & columns[:, None, :])[:, None, None]


@lru_cache(maxsize=2)
def classifier(weights: str) -> ResidualNetwork:
    """A trained classification network that names the classes of pictures, on the CPU until it is asked.

    Raises:
        InputError: weights that do not say of which network they are, or name no classes.
    """
    stored = find_weights(weights)
    if not isinstance(stored.description, Architecture) or anchors_of(stored.description) is not None:
        raise InputError(f"task.classifier={weights}: names no classes of pictures; wanted a classification run")
    network = classification.create_model(stored.description, weights=stored)
    return network.requires_grad_(False).eval()


def order_in(weights: str, names: Sequence[str]) -> tuple[int, ...]:
    """The classifier's output of each of these classes, by name.

    Raises:
        InputError: it names no classes of pictures, or does not know one of these.
    """
    classifier(weights)
    known = find_weights(weights).classes
    strange = [name for name in names if name not in known]
    if strange:
        what = f"does not know {', '.join(strange[:3])}" if known else "does not name its classes"
        raise InputError(
            f"task.classifier={weights}: {what}; take one of the same classes, or set task.classifier=none"
        )
    return tuple(known.index(name) for name in names)


def require_alike(weights: str, names: Sequence[str]) -> None:
    """Refuse a classifier whose classes are not these, in this order."""
    if order_in(weights, names) != tuple(range(len(names))):
        raise InputError(f"task.classifier={weights}: has its classes in another order; plan the run on its images")


@torch.no_grad()
def chances(weights: str, order: Sequence[int], images: Tensor) -> Tensor:
    """How likely each class is on each picture, by the classifier: (N, C)."""
    network = classifier(weights).to(images.device)
    found: Tensor = exact(network(images.to(next(network.parameters()).dtype))).softmax(1)
    return found[:, list(order)] if order else found
