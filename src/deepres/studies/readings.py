"""What a description alone gives for a column: size, cost, depth, maps, paths; no images, no training."""

from collections.abc import Callable, Iterable
from math import log2

from deepres.arch.algebra import Parallel, Site, fold
from deepres.arch.architecture import Architecture, unit_names, without
from deepres.arch.atoms import Atom, Conv, Linear
from deepres.arch.readings.cost import cost
from deepres.arch.readings.paths import path_lengths
from deepres.arch.readings.segments import Link, chain
from deepres.base.errors import InputError
from deepres.studies.study import Column, Quantity


def is_read(column: Column) -> bool:
    """Whether the column is read from descriptions."""
    return column.measure in READINGS


def reading(architecture: Architecture, column: Column, measure: Quantity) -> float:
    """The figure of a network in the column's unit, counted as `measure` says, of the column's `parts` if any."""
    return READINGS[measure](architecture, column)


def decimals(value: float) -> int:
    """How many decimals a printed figure has: 2 of 0.27, 1 of 7.0 and of 7."""
    return len(repr(float(value)).partition(".")[2])


def rounds_to(value: float, printed: float) -> bool:
    """Whether a figure, rounded as far as the printed one is, is the printed one."""
    return abs(value - printed) <= 0.5 * 10.0 ** -decimals(printed) + 1e-9


def _parameters(architecture: Architecture, _: Column) -> float:
    return cost(architecture).parameters / 1e6


def _multiply_adds(architecture: Architecture, _: Column) -> float:
    return cost(architecture).macs / 1e9


def _layers(architecture: Architecture, column: Column) -> float:
    return sum(fold(link.node, link.given, _Longest()) for link in _links(architecture, column))


def _convolutions(architecture: Architecture, column: Column) -> float:
    return sum(fold(link.node, link.given, _Convolutions()) for link in _links(architecture, column))


def _units(architecture: Architecture, column: Column) -> float:
    return len(_unit_names(architecture, column))


def _pixels(architecture: Architecture, column: Column) -> float:
    return list(_links(architecture, column))[-1].gives[-1]


def _channels(architecture: Architecture, column: Column) -> float:
    return list(_links(architecture, column))[-1].gives[0]


def _path_mean(architecture: Architecture, _: Column) -> float:
    return _mean(path_lengths(architecture))


def _path_layers(architecture: Architecture, column: Column) -> float:
    if not column.lengths:
        return _mean(path_lengths(architecture, "layers"))
    units = unit_names(architecture)
    inside = sum(fold(link.node, link.given, _Longest()) for link in chain(architecture) if link.name in units)
    return column.lengths[0] * inside / len(units)


def _path_share(architecture: Architecture, column: Column) -> float:
    counts = path_lengths(architecture)
    first, last = column.lengths
    return 100 * sum(count for length, count in counts.items() if first <= length <= last) / sum(counts.values())


def _paths_log2(architecture: Architecture, column: Column) -> float:
    for name in unit_names(architecture)[-column.left_out :] if column.left_out else ():
        architecture = without(architecture, f"{name}.branch")
    return log2(_number_of_paths(architecture))


def _paths_left(architecture: Architecture, _: Column) -> float:
    """The largest share over the units; without units every layer is on the one path, and none is left."""
    left = [_paths_without(architecture, name) for name in unit_names(architecture)]
    return max(left, default=0) / _number_of_paths(architecture)


def _paths_without(architecture: Architecture, unit: str) -> int:
    """How many paths are left without the unit's branch; none where it has no other way."""
    try:
        return _number_of_paths(without(architecture, f"{unit}.branch"))
    except InputError:
        return 0


def _number_of_paths(architecture: Architecture) -> int:
    return sum(path_lengths(architecture).values())


READINGS: dict[Quantity, Callable[[Architecture, Column], float]] = {
    "parameters": _parameters,
    "multiply_adds": _multiply_adds,
    "layers": _layers,
    "convolutions": _convolutions,
    "units": _units,
    "pixels": _pixels,
    "channels": _channels,
    "path_mean": _path_mean,
    "path_layers": _path_layers,
    "path_share": _path_share,
    "paths_log2": _paths_log2,
    "paths_left": _paths_left,
}
"""Measure -> its reading."""


def _links(architecture: Architecture, column: Column) -> Iterable[Link]:
    return (link for link in chain(architecture) if not column.parts or _within(link.name, column.parts))


def _unit_names(architecture: Architecture, column: Column) -> list[str]:
    return [name for name in unit_names(architecture) if not column.parts or _within(name, column.parts)]


def _within(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _mean(counts: dict[int, int]) -> float:
    return sum(length * count for length, count in counts.items()) / sum(counts.values())


class _Longest:
    """Convolutions and linear layers on the longest way; what a gate does is no layer of it."""

    def atom(self, site: Site, atom: Atom) -> int:
        return int(isinstance(atom, Conv | Linear))

    def sequence(self, site: Site, parts: dict[str, int]) -> int:
        return sum(parts.values())

    def parallel(self, site: Site, node: Parallel, pre: int, parts: dict[str, int], act: int) -> int:
        chain = sum([*parts.values()][:-1]) if node.feed == "chain" else 0
        return pre + max(chain, *(count for name, count in parts.items() if name != "gate")) + act


class _Convolutions:
    """All convolutions, those of shortcuts too."""

    def atom(self, site: Site, atom: Atom) -> int:
        return int(isinstance(atom, Conv))

    def sequence(self, site: Site, parts: dict[str, int]) -> int:
        return sum(parts.values())

    def parallel(self, site: Site, node: Parallel, pre: int, parts: dict[str, int], act: int) -> int:
        return pre + sum(parts.values()) + act
