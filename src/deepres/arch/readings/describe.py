"""A network in full, as a person or a program reads it: source, cost beside the published figure, layers."""

from dataclasses import asdict
from typing import Any

from deepres.arch.architecture import Architecture, feature_shapes
from deepres.arch.catalogue.lookup import entry
from deepres.arch.readings.cost import Cost, Field, cost, receptive_field
from deepres.arch.readings.draw import text
from deepres.arch.readings.memory import StepMemory, step_memory
from deepres.base.arguments import whole, word
from deepres.base.records import Record


class Description(Record):
    """What `deepres describe` shows; `str()` is its text, `to_json()` its JSON."""

    architecture: Architecture
    paper: str
    table: str
    published: str
    note: str
    cost: Cost
    receptive_field: Field
    features: dict[str, tuple[int, ...]]
    batch_size: int
    step_memory: StepMemory

    def __str__(self) -> str:
        count, memory, seen = self.cost, self.step_memory, self.receptive_field
        size = " x ".join(map(str, self.architecture.input))
        lines = [
            f"{self.architecture.name}: {self.paper}, {self.table}" + (f"; {self.note}" if self.note else ""),
            "",
            text(self.architecture),
            "",
            f"parameters       {count.parameters:,}{self._printed('parameters')} and {count.buffers:,} norm statistics",
            f"multiply-adds    {count.macs:,}{self._printed('FLOPs')} for one image of {size}",
            f"activations      {count.activations:,} values that leave convolutions and classifier",
            f"receptive field  {seen.size} px; neighbours in the last map are {seen.stride} px apart",
            f"a training step  {memory.total / 2**20:,.0f} MiB at batch {self.batch_size} in float32 "
            f"({memory.saved / 2**20:,.0f} kept for the backward pass)",
        ]
        return "\n".join(lines)

    def _printed(self, unit: str) -> str:
        """What the paper prints for it, beside ours."""
        return f" (published: {self.published.removesuffix(unit).strip()})" if self.published.endswith(unit) else ""


def describe(name: str, batch_size: int | None = None) -> Description:
    """The description of a catalogue entry; `batch_size` is by default the paper's for one GPU or run.

    >>> import deepres
    >>> found = deepres.describe("resnet50")
    >>> found.cost.parameters
    25557032
    >>> found.architecture.input, found.receptive_field.size
    ((3, 224, 224), 427)

    Raises:
        InputError: no such name; the nearest are offered. No whole number of images.
    """
    found = entry(word(name, "name", "the name of a network (deepres.list_models() has them)"))
    architecture = found.config.architecture()
    batch = (128 if architecture.input[1] <= 32 else 32) if batch_size is None else whole(batch_size, "batch_size", 1)
    return Description(
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


def brief(name: str) -> dict[str, Any]:
    """One line of `deepres models`: name, counts, paper, table."""
    found = entry(name)
    counted = cost(found.config.architecture())
    return {"name": name, **asdict(counted), "paper": found.paper, "table": found.table, "published": found.published}
