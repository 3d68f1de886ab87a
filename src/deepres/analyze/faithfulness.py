"""Whether a map shows what the answer rests on: the answer, as pixels go or come in the map's order."""

from collections.abc import Iterable
from math import ceil
from statistics import fmean, stdev
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from deepres.analyze.attribution import Method, attribution_maps, method_for, top_classes
from deepres.analyze.guards import counted, evaluating, on_device, some
from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.data.images import Batch
from deepres.data.on_device import finer
from deepres.data.rng import generator
from deepres.nn.build import ResidualNetwork

Background = Literal["blur", "mean"]
"""blur: the image under a Gaussian of a 16th of its shorter side (sigma). mean: the image's mean colour."""


class Curve(Record):
    """Mean probability of the class at `share` 0 … 1 of the pixels; `area` under it, mean and spread over images."""

    probability: tuple[float, ...]
    area: float
    area_std: float | None  # of one image there is none


class Faithfulness(Record):
    """A faithful map has a small area under `deletion` and a large one under `insertion`, against a random order."""

    num_images: int
    method: Method
    background: Background
    seed: int
    share: tuple[float, ...]
    deletion: Curve
    insertion: Curve
    random_deletion: Curve
    random_insertion: Curve


def faithfulness(
    network: ResidualNetwork,
    batches: Iterable[Batch],
    *,
    steps: int = 28,
    background: Background = "blur",
    method: Method | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Faithfulness:
    """Deletion: the pixels of highest map value give way to the background first; insertion: they return first.

    The curves are the probability (softmax) of the class that the whole image is given, at steps + 1 shares of the
    pixels; areas by the trapezoid rule. After Petsiuk et al. 2018; the backgrounds, the steps and the random order
    beside them are ours. Equal values of the map go by row and column; random orders by seed and index.

    Raises:
        InputError: fewer than one step, no image at all.
    """
    if steps < 1:
        raise InputError(f"faithfulness: {steps} steps; wanted 1 or more")
    chosen = method or method_for(network.description)
    kinds = ("deletion", "insertion", "random_deletion", "random_insertion")
    found: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    for batch in counted(batches, on_progress):
        images = on_device(network, batch.images)
        targets = top_classes(network, images)
        ranks = _ranks(attribution_maps(network, images, targets, chosen)[:, 0])
        random = torch.stack([_random_ranks(ranks[0], seed, index) for index in batch.indices.tolist()])
        bare = bare_images(images, background)
        for order, prefix in ((ranks, ""), (random.to(ranks.device), "random_")):
            found[f"{prefix}deletion"].append(_curves(network, bare, images, order, targets, steps))
            found[f"{prefix}insertion"].append(_curves(network, images, bare, order, targets, steps))
    some(len(found["deletion"]))
    curves = {kind: torch.cat(found[kind]) for kind in kinds}
    return Faithfulness(
        num_images=len(curves["deletion"]),
        method=chosen,
        background=background,
        seed=seed,
        share=tuple(step / steps for step in range(steps + 1)),
        **{kind: _summed(curves[kind]) for kind in kinds},
    )


def bare_images(images: Tensor, background: Background) -> Tensor:
    """What deleted pixels show: (N, C, H, W) -> the same shape."""
    if background == "mean":
        return images.mean((-2, -1), keepdim=True).expand_as(images)
    side = min(images.shape[-2:])
    sigma = side / 16
    reach = min(ceil(3 * sigma), side - 1)  # what is reflected at the border ends at the other one
    blurred: Tensor = functional.gaussian_blur(images, [2 * reach + 1] * 2, [sigma, sigma])
    return blurred


def _ranks(maps: Tensor) -> Tensor:
    """(N, H, W) -> each pixel's place in the order of falling values, from 0."""
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1).view_as(maps)


def _random_ranks(like: Tensor, seed: int, index: int) -> Tensor:
    return torch.randperm(like.numel(), generator=generator(seed, "random order", index)).view(like.shape)


def _curves(
    network: ResidualNetwork, comes: Tensor, goes: Tensor, ranks: Tensor, targets: Tensor, steps: int
) -> Tensor:
    """(N, steps + 1): the class's probability with the first share of the pixels from `comes`, the others `goes`."""
    pixels = ranks[0].numel()
    answers = []
    with evaluating(network):
        for step in range(steps + 1):
            first = (ranks < round(step * pixels / steps)).unsqueeze(1)
            logits: Tensor = network(torch.where(first, comes, goes))
            answers.append(finer(logits).softmax(1).cpu().gather(1, targets.cpu())[:, 0])
    return torch.stack(answers, dim=1)


def _summed(curves: Tensor) -> Curve:
    steps = curves.shape[1] - 1
    areas = torch.trapezoid(curves, dx=1 / steps).tolist()
    return Curve(
        probability=tuple(curves.mean(0).tolist()),
        area=fmean(areas),
        area_std=stdev(areas) if len(areas) > 1 else None,
    )
