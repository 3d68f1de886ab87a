"""A network in full, as a person or a program reads it: source, cost beside the published figure, layers."""

from dataclasses import asdict
from typing import Any

from deepres.arch.architecture import Architecture, feature_shapes
from deepres.arch.catalogue.entries_detectors import DetectorEntry
from deepres.arch.catalogue.entry import Entry
from deepres.arch.catalogue.lookup import detector_entry, entry
from deepres.arch.detector import Detector
from deepres.arch.readings.cost import Cost, Field, cost, receptive_field
from deepres.arch.readings.draw import text
from deepres.arch.readings.memory import StepMemory, step_memory
from deepres.base.arguments import whole, word
from deepres.base.records import Record


class Described(Record):
    """What `deepres describe` shows of any network; `str()` is its text, `to_json()` its JSON."""

    paper: str
    table: str
    published: str
    note: str
    cost: Cost
    batch_size: int
    step_memory: StepMemory

    def _head(self, name: str) -> str:
        return f"{name}: {self.paper}, {self.table}" + (f"; {self.note}" if self.note else "")

    def _printed(self, unit: str) -> str:
        """What the paper prints for it, beside ours."""
        return f" (published: {self.published.removesuffix(unit).strip()})" if self.published.endswith(unit) else ""

    def _step(self) -> str:
        total, kept = (f"{size / 2**20:,.0f}" for size in (self.step_memory.total, self.step_memory.saved))
        return f"a training step  {total} MiB at batch {self.batch_size} in float32 ({kept} kept for the backward pass)"


class NetworkDescription(Described):
    """Of a network that names classes."""

    architecture: Architecture
    receptive_field: Field
    features: dict[str, tuple[int, ...]]

    def __str__(self) -> str:
        count, seen = self.cost, self.receptive_field
        size = " x ".join(map(str, self.architecture.input))
        lines = [
            self._head(self.architecture.name),
            "",
            text(self.architecture),
            "",
            f"parameters       {count.parameters:,}{self._printed('parameters')} and {count.buffers:,} norm statistics",
            f"multiply-adds    {count.macs:,}{self._printed('FLOPs')} for one image of {size}",
            f"activations      {count.activations:,} values that leave convolutions and classifier",
            f"receptive field  {seen.size} px; neighbours in the last map are {seen.stride} px apart",
            self._step(),
        ]
        return "\n".join(lines)


class DetectorDescription(Described):
    """Of a detector; `levels` are the maps that proposals look at."""

    architecture: Detector
    levels: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        found, count = self.architecture, self.cost
        size, regions = " x ".join(map(str, found.input)), found.proposals.after_test
        whole = " and all of it" if found.context else ""
        rows = zip(found.anchors.sizes, self.levels, strict=True)
        anchors = "; ".join(f"{', '.join(f'{s:g}' for s in row)} px at {h} x {w}" for row, (_, h, w) in rows)
        number = sum(found.anchors.number * height * width for _, height, width in self.levels)
        ratios = ", ".join(f"{ratio:g}" for ratio in found.anchors.ratios)
        lines = [
            self._head(found.name),
            "",
            text(found),
            "",
            f"parameters       {count.parameters:,}{self._printed('parameters')} and {count.buffers:,} norm constants",
            f"multiply-adds    {count.macs:,} for one picture of {size}, {regions:,} regions of it{whole}",
            f"anchors          {number:,}: {anchors}; {ratios} as high as wide",
            f"classes          {found.num_classes}, and the background in column 0; of each picture at most "
            f"{found.regions.most} boxes with scores above {found.regions.score_above:g}",
            f"{self._step()}, were all of it learnt",
        ]
        return "\n".join(lines)


def describe(name: str, batch_size: int | None = None) -> NetworkDescription | DetectorDescription:
    """The description of a catalogue entry; `batch_size` is by default the paper's for one GPU or run, a detector's 2.

    >>> import deepres
    >>> found = deepres.describe("resnet50")
    >>> found.cost.parameters
    25557032
    >>> found.architecture.input, found.receptive_field.size
    ((3, 224, 224), 427)

    Raises:
        InputError: no such name; the nearest are offered. No whole number of images.
    """
    name = word(name, "name", "the name of a network (deepres.list_models() has them)")
    if (detector := detector_entry(name)) is not None:
        return _of_detector(detector, 2 if batch_size is None else whole(batch_size, "batch_size", 1))
    found = entry(name)
    architecture = found.config.architecture()
    batch = (128 if architecture.input[1] <= 32 else 32) if batch_size is None else whole(batch_size, "batch_size", 1)
    return NetworkDescription(
        architecture=architecture,
        paper=found.paper,
        table=found.table,
        published=found.published,
        note=found.note,
        cost=cost(architecture),
        receptive_field=receptive_field(architecture),
        features=feature_shapes(architecture),
        batch_size=batch,
        step_memory=step_memory(architecture, batch),
    )


def _of_detector(found: DetectorEntry, batch_size: int) -> DetectorDescription:
    detector = found.config.architecture()
    return DetectorDescription(
        architecture=detector,
        paper=found.paper,
        table=found.table,
        published=found.published,
        note=found.note,
        cost=cost(detector),
        batch_size=batch_size,
        step_memory=step_memory(detector, batch_size),
        levels=detector.levels,
    )


def any_entry(name: str) -> Entry | DetectorEntry:
    """The catalogue's entry of that name, a detector's or another network's."""
    return detector_entry(name) or entry(name)


def brief(name: str) -> dict[str, Any]:
    """One line of `deepres models`: name, counts, paper, table."""
    found = any_entry(name)
    counted = cost(found.config.architecture())
    return {"name": name, **asdict(counted), "paper": found.paper, "table": found.table, "published": found.published}
