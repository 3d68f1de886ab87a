"""What shifting or resizing an image changes: answers that flip, maps that do not move along.

Layout of tensors: N images, C channels, H rows, W columns.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil, sqrt
from typing import Literal

import torch
from torch import Tensor

from deepres.analyze.guards import counted, evaluating, on_device, require_size, some
from deepres.arch.architecture import Architecture
from deepres.arch.readings.cost import Field, receptive_field
from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.data.images import Batch, Images
from deepres.data.loading.loader import prepare_one
from deepres.data.on_device import finer
from deepres.data.rng import generator
from deepres.data.targets import tensor_of
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.build import ResidualNetwork


class ShiftConsistency(Record):
    """`consistency` = num_equal / num_pairs: how often two shifts of one image have the same first class."""

    num_images: int
    num_pairs: int
    num_equal: int
    consistency: float
    max_shift_px: int
    border: Literal["crop", "wrap"]
    along: Literal["both", "diagonal"]
    seed: int


class StageError(Record):
    """`relative_error` = ||f(shift x) - shift f(x)|| / ||shift f(x)|| of one part's maps, over all images.

    `stride` is the part's own; a shift that is a `multiple` of it moves the map by whole pixels. What is compared keeps
    `border_px` of the map away from every side; it is `border_free` where no value of it has seen the padding.
    """

    part: str
    shift_px: int
    stride: int
    multiple: bool
    relative_error: float | None  # None where the map is 0 throughout
    border_px: int
    border_free: bool


class ResizeConsistency(Record):
    """How many first classes differ between ways of resizing; `settings` names the rows, such as `bicubic, antialias`.

    `num_changed[i][j]` images change their answer from setting i to j; `share_changed` is against the `reference`.
    """

    num_images: int
    settings: tuple[str, ...]
    reference: str
    num_wrong: tuple[int, ...]
    num_changed: tuple[tuple[int, ...], ...]
    share_changed: tuple[float, ...]


def shift_consistency(
    network: ResidualNetwork,
    batches: Iterable[Batch],
    *,
    max_shift: int = 32,
    border: Literal["crop", "wrap"] = "crop",
    along: Literal["both", "diagonal"] = "both",
    pairs: int = 1,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> ShiftConsistency:
    """Share of pairs with argmax f(shift_a x) = argmax f(shift_b x), a and b uniform in 0..max_shift (Zhang 2019).

    "crop": two crops of H - max_shift rows and W - max_shift columns, as the paper has of 256 px images crops of 224;
    give images larger than the network's input by `max_shift`. "wrap": what leaves on one side enters on the other,
    for images that have no margin. "both": rows and columns drawn apart; "diagonal": one draw for both. Draws depend
    on the seed and the image's index alone, not on the batches.

    Raises:
        InputError: nothing is left to answer, no image at all.
    """
    if max_shift < 1 or pairs < 1:
        raise InputError(f"shift consistency: max_shift {max_shift}, pairs {pairs}; wanted both 1 or more")
    images = equal = 0
    with evaluating(network):
        for batch in counted(batches, on_progress):
            lost = max_shift if border == "crop" else 0
            height, width = (side - lost for side in batch.images.shape[-2:])
            require_size(network.description, batch.images.shape[1], height, width, lost=lost)
            offsets = torch.stack([_offsets(seed, index, max_shift, along, pairs) for index in batch.indices.tolist()])
            for pair in offsets.unbind(1):
                first, second = (
                    _predicted(network, _shifted(batch.images, way, height, width)) for way in pair.unbind(1)
                )
                equal += int((first == second).sum())
            images += len(batch)
    total = some(images) * pairs
    return ShiftConsistency(
        num_images=images,
        num_pairs=total,
        num_equal=equal,
        consistency=equal / total,
        max_shift_px=max_shift,
        border=border,
        along=along,
        seed=seed,
    )


def equivariance_errors(
    network: ResidualNetwork,
    batches: Iterable[Batch],
    *,
    shifts: Sequence[int] | None = None,
    border: float = 0.125,
    on_progress: OnProgress | None = None,
) -> tuple[StageError, ...]:
    """||f(shift_t x) - shift_{t/s} f(x)|| / ||shift_{t/s} f(x)|| of every part's maps, s its stride; by part, then t.

    shift_t x and x are two crops of one image, t pixels apart on the diagonal, so that nothing is invented at the
    border: both have the image's size less the largest t. Where t / s is not whole, f(x) is interpolated bilinearly.
    `shifts` in pixels; None: 1, 2, 4 … up to the stride of the last part. `border`: share of the map's side that is
    left out on every side. The measure, the interpolation and the border are ours.

    Raises:
        InputError: a shift below 1, images too small for the shifts, no image at all.
    """
    fields = part_fields(network.description)
    last = list(fields.values())[-1].stride
    chosen = tuple(shifts) if shifts is not None else tuple(2**n for n in range(last.bit_length()))
    if not chosen or min(chosen) < 1 or not 0 <= border < 0.5:
        raise InputError(
            f"equivariance: shifts {chosen}, border {border:g}; wanted shifts of 1 or more, border in 0..0.5"
        )
    sums: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    facts: dict[tuple[str, int], tuple[int, bool]] = {}
    images = 0
    with evaluating(network):
        for batch in counted(batches, on_progress):
            height, width = (side - max(chosen) for side in batch.images.shape[-2:])
            require_size(network.description, batch.images.shape[1], height, width, lost=max(chosen))
            still = network.features(on_device(network, batch.images[..., :height, :width]))
            for t in chosen:
                moved = network.features(on_device(network, batch.images[..., t : t + height, t : t + width]))
                for name, field in fields.items():
                    margin = ceil(border * min(still[name].shape[-2:]))
                    wanted, given = _compared(finer(still[name]), finer(moved[name]), t / field.stride, margin)
                    if not wanted.numel():
                        raise _nothing_left(name, tuple(still[name].shape[-2:]), t, field.stride)
                    sums[name, t][0] += float((given - wanted).square().sum())
                    sums[name, t][1] += float(wanted.square().sum())
                    facts[name, t] = (margin, 2 * margin * field.stride >= field.size)
            images += len(batch)
    some(images)
    return tuple(
        StageError(
            part=name,
            shift_px=t,
            stride=fields[name].stride,
            multiple=t % fields[name].stride == 0,
            relative_error=sqrt(sums[name, t][0] / sums[name, t][1]) if sums[name, t][1] else None,
            border_px=facts[name, t][0],
            border_free=facts[name, t][1],
        )
        for name in fields
        for t in chosen
    )


def resize_consistency(
    network: ResidualNetwork,
    images: Images,
    preparation: Preparation,
    statistics: Statistics,
    *,
    batch_size: int = 32,
    on_progress: OnProgress | None = None,
) -> ResizeConsistency:
    """Share of images whose first class changes with interpolation (bilinear, bicubic) and antialias (on, off).

    The images are uint8 and of their own size; all else of the preparation stays. Its own setting is the reference.

    Raises:
        InputError: a preparation that resizes nothing, no image at all.
    """
    if preparation.fit is None:
        raise InputError("resizing: preparation.fit None resizes nothing; give fit, resize and crop")
    kinds: list[tuple[Literal["bilinear", "bicubic"], bool]] = [
        ("bilinear", True),
        ("bilinear", False),
        ("bicubic", True),
        ("bicubic", False),
    ]
    prepared = [preparation.replace(interpolation=kind, antialias=antialias) for kind, antialias in kinds]
    ways = {_setting(way): way for way in prepared}
    predicted: dict[str, list[Tensor]] = {setting: [] for setting in ways}
    with evaluating(network):
        for start in range(0, some(len(images)), batch_size):
            pixels = [images.image(index) for index in range(start, min(start + batch_size, len(images)))]
            for setting, way in ways.items():
                x = torch.stack([prepare_one(image, way, statistics) for image in pixels])
                require_size(network.description, *x.shape[1:])
                predicted[setting].append(_predicted(network, x))
            if on_progress is not None:
                on_progress(start + len(pixels), len(images))
    answers = {setting: torch.cat(parts) for setting, parts in predicted.items()}
    changed = [[int((one != other).sum()) for other in answers.values()] for one in answers.values()]
    reference = list(answers).index(_setting(preparation))
    return ResizeConsistency(
        num_images=len(images),
        settings=tuple(answers),
        reference=_setting(preparation),
        num_wrong=tuple(int((answer != tensor_of(images.targets)).sum()) for answer in answers.values()),
        num_changed=tuple(tuple(row) for row in changed),
        share_changed=tuple(count / len(images) for count in changed[reference]),
    )


def part_fields(description: Architecture) -> dict[str, Field]:
    """Receptive field and stride of what leaves each part of the body, from the input on."""
    body = description.body
    return {
        name: receptive_field(description.replace(body=body[:number])) for number, (name, _) in enumerate(body, start=1)
    }


def _setting(preparation: Preparation) -> str:
    return f"{preparation.interpolation}, {'antialias' if preparation.antialias else 'no antialias'}"


def _offsets(seed: int, index: int, max_shift: int, along: str, pairs: int) -> Tensor:
    """(pairs, 2, 2): two shifts of each pair, their rows and columns."""
    draws = torch.randint(max_shift + 1, (pairs, 2, 2), generator=generator(seed, "shift", index))
    return draws[..., :1].expand(-1, -1, 2) if along == "diagonal" else draws


def _shifted(images: Tensor, offsets: Tensor, height: int, width: int) -> Tensor:
    """Image n's window of that size from `offsets[n]` on (rows, columns); past the far side it begins anew."""
    windows = [
        torch.roll(image, (-top, -left), dims=(-2, -1))[:, :height, :width]
        for image, (top, left) in zip(images, offsets.tolist(), strict=True)
    ]
    return torch.stack(windows)


def _predicted(network: ResidualNetwork, x: Tensor) -> Tensor:
    logits: Tensor = network(on_device(network, x))
    return logits.argmax(1).cpu()


def _compared(still: Tensor, moved: Tensor, distance: float, margin: int) -> tuple[Tensor, Tensor]:
    """What `moved` should hold, and holds, `margin` px from every side; `distance` is the shift in px of the map."""
    for dim in (-2, -1):
        still, moved = _along(still, moved, distance, margin, dim)
    return still, moved


def _along(still: Tensor, moved: Tensor, distance: float, margin: int, dim: int) -> tuple[Tensor, Tensor]:
    whole, rest = int(distance), distance - int(distance)
    length = max(0, still.shape[dim] - 2 * margin - ceil(distance))
    margin = min(margin, still.shape[dim])
    if not length:
        return still.narrow(dim, margin, 0), moved.narrow(dim, margin, 0)
    wanted = still.narrow(dim, margin + whole, length)
    if rest:
        wanted = (1 - rest) * wanted + rest * still.narrow(dim, margin + whole + 1, length)
    return wanted, moved.narrow(dim, margin, length)


def _nothing_left(part: str, size: Sequence[int], shift: int, stride: int) -> InputError:
    return InputError(
        f"{part}: a map of {size[1]} x {size[0]} px leaves nothing to compare under a shift of {shift} px (stride "
        f"{stride}) without its border; give larger images, smaller shifts or a smaller border"
    )
