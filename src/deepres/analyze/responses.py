"""How strongly layers, branches and shortcuts answer to images (He et al. 2015, Fig. 7); which channels never do."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from math import isfinite, sqrt
from operator import length_hint

import torch
from torch import Tensor

from deepres.analyze.path_gradient import NormStatistics, measuring
from deepres.arch.algebra import Node, Parallel, Sequence, at, children, dotted
from deepres.arch.architecture import Architecture, unit_names
from deepres.arch.atoms import Activation, Conv, Norm
from deepres.base.errors import InputError, RunError
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.data.images import Batch
from deepres.data.on_device import finer
from deepres.nn.build import ResidualNetwork
from deepres.nn.hooks import changed

_See = Callable[[Tensor], None]


class LayerResponse(Record):
    """Standard deviation and mean of what a 3x3 layer gives, over all images, channels and pixels.

    `at` is where it was read: the norm that directly follows the layer, or the layer itself where none does.
    """

    layer: str
    at: str
    num_channels: int
    std: float
    mean: float


class UnitResponse(Record):
    """Root mean square of what branch and shortcut bring to the join, each with its gate or scale; None: no shortcut.

    Of a dense unit `shortcut` are the features so far.
    """

    unit: str
    branch: float
    shortcut: float | None

    @property
    def ratio(self) -> float | None:
        """branch / shortcut; None where there is no shortcut or it gives zeros."""
        return self.branch / self.shortcut if self.shortcut else None


class ChannelUse(Record):
    """Of the channels behind an activation those that were never above 0, on any image, anywhere."""

    activation: str
    num_channels: int
    dead: tuple[int, ...]


class Responses(Record):
    """What a network gives inside on `num_images` images; layers, units and activations from the input on."""

    network: str
    num_images: int
    statistics: NormStatistics
    layers: tuple[LayerResponse, ...]
    units: tuple[UnitResponse, ...]
    activations: tuple[ChannelUse, ...]

    @property
    def descending(self) -> tuple[float, ...]:
        """The standard deviations by size, the largest first: the lower half of Fig. 7."""
        return tuple(sorted((layer.std for layer in self.layers), reverse=True))

    @property
    def num_dead(self) -> int:
        """Dead channels behind all activations together."""
        return sum(len(each.dead) for each in self.activations)


def responses(
    network: ResidualNetwork,
    batches: Iterable[Batch],
    *,
    statistics: NormStatistics = "running",
    on_progress: OnProgress | None = None,
) -> Responses:
    """std of every 3x3 layer's response after its norm, before activation or addition (He et al. 2015, Fig. 7).

    All 3x3 layers of stem, branches and body, a bottleneck's 1x1 not; gates and shortcuts are no layers. Where no norm
    directly follows (the last layer of a pre-activated branch, before the addition) the layer itself is read.
    Not stated in the paper, ours: values are pooled over images, channels and pixels, divided by their number; norms
    use their running `statistics`, or with "batch" those of each batch.

    Activations are all but those of gates. `batches` are read once; sums are float64, batches are
    merged by Chan's rule. `on_progress(done, total)` counts batches; total is 0 where `batches` has no length.

    Raises:
        InputError: there are no images.
        RunError: a value is not finite.
    """
    tree = network.description.tree
    layers = {place: (name, _Moments()) for name, place in _layers(tree, "")}
    activations = {name: _Largest() for name in _activations(tree, "")}
    units = {name: _Squares(node) for name, node in summing_units(network.description).items()}
    seeing: dict[str, list[_See]] = {}
    for place, (_, moments) in layers.items():
        seeing.setdefault(place, []).append(moments.see)
    for name, largest in activations.items():
        seeing.setdefault(name, []).append(largest.see)
    for name, unit in units.items():
        for part in unit.parts:
            seeing.setdefault(dotted(name, part), []).append(partial(unit.see, part))
    num_images, total, like = 0, length_hint(batches), next(network.parameters())
    changes = {name: partial(_shown, functions) for name, functions in seeing.items()}
    with measuring(network, statistics), torch.inference_mode(), changed(network, changes):
        for done, batch in enumerate(batches, start=1):
            network(batch.images.to(like))
            num_images += len(batch)
            if on_progress is not None:
                on_progress(done, total)
    where = network.description.name
    if not num_images:
        raise InputError(f"{where}: no images were given to read responses of; wanted at least one")
    inside = {place: moments.std() for place, (_, moments) in layers.items()}
    inside |= {dotted(name, part): unit.root(part) for name, unit in units.items() for part in unit.sums}
    for name, value in inside.items():
        if not isfinite(value):
            raise RunError(f"{where}: {name} gives values that are not finite; are its weights those of a broken run?")
    return Responses(
        network=where,
        num_images=num_images,
        statistics=statistics,
        layers=tuple(
            LayerResponse(layer=name, at=place, num_channels=moments.channels, std=moments.std(), mean=moments.mean())
            for place, (name, moments) in layers.items()
        ),
        units=tuple(
            UnitResponse(
                unit=name, branch=unit.root("branch"), shortcut=None if unit.beside is None else unit.root(unit.beside)
            )
            for name, unit in units.items()
        ),
        activations=tuple(
            ChannelUse(activation=name, num_channels=largest.channels, dead=largest.dead())
            for name, largest in activations.items()
        ),
    )


def summing_units(description: Architecture) -> dict[str, Parallel]:
    """The units that bring one branch and at most one other part together, by name; mean and product are none."""
    units = {name: at(description.tree, name) for name in unit_names(description)}
    return {name: unit for name, unit in units.items() if isinstance(unit, Parallel) and _sums(unit)}


def weighed(unit: Parallel, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What each part but the gate brings to the join, of what the parts gave: g branch, (1 - g) shortcut."""
    parts = {name: x for name, x in given.items() if name != "gate"}
    if unit.gated and "shortcut" in parts:
        parts["shortcut"] = (1 - given["gate"]) * parts["shortcut"]
    if unit.join == "exclusive_gate":
        parts["branch"] = given["gate"] * parts["branch"]
    return parts


class _Moments:
    """Number, mean and sum of squared deviations of all values seen, merged batch by batch in float64."""

    def __init__(self) -> None:
        self.channels, self.count = 0, 0
        self.centre: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def see(self, x: Tensor) -> None:
        self.channels = x.shape[1]
        variance, mean = torch.var_mean(finer(x), correction=0)
        new, both = x.numel(), self.count + x.numel()
        apart = mean - self.centre
        self.squares = self.squares + variance * new + apart**2 * (self.count * new / both)
        self.centre = self.centre + apart * (new / both)
        self.count = both

    def std(self) -> float:
        return sqrt(float(self.squares) / self.count)

    def mean(self) -> float:
        return float(self.centre)


class _Largest:
    """The largest value of each channel."""

    def __init__(self) -> None:
        self.values: Tensor | None = None

    def see(self, x: Tensor) -> None:
        largest = x.transpose(0, 1).flatten(1).amax(1)
        self.values = largest if self.values is None else torch.maximum(self.values, largest)

    @property
    def channels(self) -> int:
        return 0 if self.values is None else len(self.values)

    def dead(self) -> tuple[int, ...]:
        values = [] if self.values is None else self.values.tolist()
        return tuple(channel for channel, value in enumerate(values) if value <= 0)


class _Squares:
    """The mean squares of what a unit's parts bring to its join; they are read once all parts of a pass have come."""

    def __init__(self, unit: Parallel) -> None:
        self.unit = unit
        self.parts = [name for name, _ in unit.parts]
        self.beside = next((name for name in self.parts if name not in ("branch", "gate")), None)
        self.came: dict[str, Tensor] = {}
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def see(self, part: str, x: Tensor) -> None:
        self.came[part] = x
        if len(self.came) < len(self.parts):
            return
        for name, value in weighed(self.unit, self.came).items():
            total = finer(value).square().sum()
            self.sums[name] = self.sums[name] + total if name in self.sums else total
            self.counts[name] = self.counts.get(name, 0) + value.numel()
        self.came = {}

    def root(self, part: str) -> float:
        return sqrt(float(self.sums[part]) / self.counts[part])


def _shown(functions: Iterable[_See], x: Tensor) -> Tensor:
    for function in functions:
        function(x)
    return x


def _layers(node: Node, name: str) -> Iterator[tuple[str, str]]:
    """Every 3x3 layer that is neither in a shortcut nor in a gate, and where its response is read."""
    inside = [(part, child) for part, child in children(node) if part not in ("gate", "shortcut")]
    for place, (part, child) in enumerate(inside):
        if isinstance(child, Conv) and child.kernel == 3:
            behind = inside[place + 1 : place + 2] if isinstance(node, Sequence) else []
            follows = [dotted(name, other) for other, norm in behind if isinstance(norm, Norm)]
            yield dotted(name, part), (follows or [dotted(name, part)])[0]
        yield from _layers(child, dotted(name, part))


def _activations(node: Node, name: str) -> Iterator[str]:
    if isinstance(node, Activation):
        yield name
    for part, child in children(node):
        if part != "gate":
            yield from _activations(child, dotted(name, part))


def _sums(unit: Parallel) -> bool:
    names = {name for name, _ in unit.parts} - {"gate"}
    return "branch" in names and len(names) <= 2 and unit.join not in ("mean", "multiply")
