"""Rates of each part of a training run -> the part that limits it, by how much, and what to change."""

from math import ceil
from typing import Literal

from deepres.base.records import Record

Limit = Literal["compute", "input", "disk", "transfer"]


class Rates(Record):
    """Images/s of each part of a training run alone; None where there is none of it.

    `step`: forward, backward and optimiser on a batch that lies ready. `load`: one process reads, decodes and augments
    (`resident`: the images lie on the device and are only augmented). `read`: files from the disk, past the system's
    cache. `transfer`: uint8 images to the GPU. `answer_one` and `answer_batch`: inference at batch 1 and `batch_size`.
    """

    step: float
    answer_one: float
    answer_batch: float
    batch_size: int
    load: float | None = None
    read: float | None = None
    read_bytes: float | None = None
    transfer: float | None = None
    resident: bool = False
    workers: int = 0
    cores: int = 1
    on_gpu: bool = False


class Bottleneck(Record):
    """The part that limits a training run, the images/s to expect, and how many times as fast the next part is."""

    limit: Limit
    images_per_second: float
    factor: float
    sentence: str


def bottleneck_of(rates: Rates) -> Bottleneck:
    """What limits, from the rates alone.

    Without workers, step and loading take turns: 1 / rate = 1 / step + 1 / load. On the CPU workers take the step's
    cores: 1 / rate = 1 / step + 1 / (cores load). On a GPU with workers, the slowest part sets the pace.
    """
    loaders = 1 if rates.resident else min(max(1, rates.workers), rates.cores)
    parts: dict[Limit, float] = {"compute": rates.step}
    if rates.load is not None:
        parts["input"] = rates.load * loaders
    if rates.read is not None:
        parts["disk"] = rates.read
    if rates.transfer is not None:
        parts["transfer"] = rates.transfer
    limit = min(parts, key=parts.__getitem__)
    others = [rate for part, rate in parts.items() if part != limit]
    factor = min(others) / parts[limit] if others else 1.0
    pace = min(parts.values())
    if rates.load is not None and (rates.workers == 0 or rates.resident):
        pace = min(pace, 1 / (1 / rates.step + 1 / rates.load))
    elif rates.load is not None and not rates.on_gpu:
        pace = min(pace, 1 / (1 / rates.step + 1 / (rates.cores * rates.load)))
    said = f"{_NAMES[limit]} limits training here, to about {shown(pace)} images/s"
    if others:
        said += f": alone it gives {shown(parts[limit])}, the next slowest part {factor:.1f} times as many"
    return Bottleneck(limit=limit, images_per_second=pace, factor=factor, sentence=f"{said}; {_remedy(rates, limit)}")


def shown(value: float) -> str:
    """`1,271` or `6.4`."""
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}"


_NAMES: dict[Limit, str] = {
    "compute": "the training step",
    "input": "reading and augmenting images",
    "disk": "the disk",
    "transfer": "the way to the GPU",
}


def _remedy(rates: Rates, limit: Limit) -> str:
    if limit == "compute":
        if rates.on_gpu and rates.load is not None and rates.workers == 0 and not rates.resident:
            return "--workers 1 takes loading out of its way; else a smaller input or network"
        return "a smaller input or network, or a faster device, would help"
    if limit == "disk":
        return "pack the images (deepres data pack), or move them to a faster disk"
    if limit == "transfer":
        return "a larger network costs nothing here; see that the GPU has its full PCIe width"
    assert rates.load is not None
    if rates.resident:
        return "augment less; more workers would not help images that lie on the device"
    wanted = ceil(rates.step / rates.load)
    if wanted <= rates.cores and wanted > rates.workers:
        return f"use --workers {wanted}"
    more = f"use --workers {rates.cores} and " if rates.workers < rates.cores else ""
    return f"{more}pack the images at training size (deepres data pack)"
