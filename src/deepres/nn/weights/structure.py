"""Weights under names that no library has, matched by structure: the kinds, shapes and order of their layers.

A file's tensors are grouped into layers by their names' last word. Convolutions and classifiers are one row, norms
another, each in the order in which they were registered; so whether a norm stands before its convolution does not
matter. Networks differ in where a unit registers its shortcut, and whether the last norm comes first: every such order
is tried, and one assignment alone is accepted. Files sorted by name (safetensors) have lost the order: there, layers of
equal shape need numbers, letters or words such as `downsample` that tell them apart.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from deepres.arch import atoms
from deepres.arch.algebra import Parallel, Site, fold
from deepres.arch.architecture import Architecture
from deepres.arch.attention_atoms import ChannelConv
from deepres.base.errors import InputError
from deepres.nn.weights.unnamed import TRACKED, Layer, comes_before, layers_in, split

ROWS = 12  # of a table that is shown where the match has to be confirmed


class MatchedLayer(NamedTuple):
    """One layer of ours and the file's that it is taken for."""

    ours: str
    theirs: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Match:
    """The assignment, layer by layer in our order, and the tensors under our names."""

    rows: tuple[MatchedLayer, ...]
    tensors: dict[str, Tensor]

    def table(self, most: int | None = ROWS) -> list[str]:
        """Lines: our layer, the file's, the shape; `most` of them, and how many more there are."""
        shown = [
            ("ours", "in the file", "shape"),
            *((r.ours, r.theirs, "x".join(map(str, r.shape))) for r in self.rows),
        ]
        shown = shown if most is None else shown[: most + 1]
        wide = [max(len(row[column]) for row in shown) for column in (0, 1)]
        more = len(self.rows) + 1 - len(shown)
        lines = [f"  {ours:<{wide[0]}}  {theirs:<{wide[1]}}  {shape}" for ours, theirs, shape in shown]
        return lines + ([f"  … and {more} more layers"] if more else [])


def match(tensors: Mapping[str, Tensor], description: Architecture, where: str = "weights") -> Match:
    """The one assignment of the file's layers to the description's, by kind, shape and order.

    Raises:
        InputError: another number of layers or other shapes (the first is named); several assignments fit; layers of
            equal shape in an order that nothing tells.
    """
    given, sorted_ = layers_in(tensors, where)
    wanted = layers_of(description)
    found: dict[tuple[tuple[str, str], ...], list[tuple[Layer, Layer]]] = {}
    problem = ""
    places: tuple[tuple[str | int, ...], ...] = (("branch", "nothing"), (1, 2, 3))
    for behind in places:
        orders = itertools.product(behind, (False, True), list(_orders(given, description, sorted_=sorted_)))
        for place, final_first, order in orders:
            pairs, why = _paired(_in_order(wanted, place, final_first=final_first), order)
            why = why or _torn(pairs)
            problem = problem or why
            if not why:
                found.setdefault(tuple(sorted((a.name, b.name) for a, b in pairs)), pairs)
        if found:
            break
    if not found:
        raise InputError(f"{where}: does not fit {description.name} by structure: {problem}; name another network")
    if len(found) > 1:
        one, other = [dict(assignment) for assignment in found][:2]
        name = next(name for name in one if one[name] != other[name])
        raise InputError(
            f"{where}: fits {description.name} in {len(found)} ways: {name} is {one[name]} or {other[name]}; "
            "give its layers the names of a library"
        )
    pairs = next(iter(found.values()))
    _requiretold(pairs, where, sorted_=sorted_)
    numbers = {layer.name: number for number, layer in enumerate(wanted)}
    pairs.sort(key=lambda pair: numbers[pair[0].name])
    return Match(tuple(MatchedLayer(a.name, b.name, a.shape) for a, b in pairs), _renamed(pairs, tensors))


def layers_of(description: Architecture) -> list[Layer]:
    """A description's layers with weights, in its own order."""
    return fold(description.tree, description.input, _Layers())


def _orders(given: list[Layer], description: Architecture, *, sorted_: bool) -> Iterator[list[Layer]]:
    """The file's layers; of a sorted file stem first, classifier last, a norm beside them first or last."""
    head = (description.num_classes, description.num_features, 1, 1)
    heads = [layer for layer in given if layer.shape == head and layer.kind == "weighted"]
    if len(heads) == 1:  # some register the classifier first
        given = [layer for layer in given if layer is not heads[0]] + heads
    if not sorted_:
        yield given
        return
    stems = [layer for layer in given if len(layer.shape) == 4 and layer.shape[1] == description.input[0]]
    if len(stems) != 1:
        yield given
        return
    top = _below_common(given)
    begin = top[stems[0].name]
    first = [layer for layer in given if top[layer.name] == begin]
    rest = [layer for layer in given if top[layer.name] != begin]
    groups = Counter(top[layer.name] for layer in rest)
    loose = [layer for layer in rest if layer.kind == "norm" and groups[top[layer.name]] == 1]
    others = [layer for layer in rest if layer not in loose]
    for early in range(2 ** len(loose) if len(loose) < 4 else 1):
        yield [
            *first,
            *(layer for number, layer in enumerate(loose) if early >> number & 1),
            *others,
            *(layer for number, layer in enumerate(loose) if not early >> number & 1),
        ]


def _below_common(given: list[Layer]) -> dict[str, str]:
    """Of each name the first part that not all share."""
    parts = {layer.name: re.split(r"[./]", layer.name) for layer in given}
    depth = 0
    while len({tuple(p[: depth + 1]) for p in parts.values()}) == 1 and all(len(p) > depth + 1 for p in parts.values()):
        depth += 1
    return {name: p[depth] for name, p in parts.items()}


def _paired(ours: list[Layer], theirs: list[Layer]) -> tuple[list[tuple[Layer, Layer]], str]:
    """Both kinds in their order, and why they do not fit; empty where they do."""
    pairs: list[tuple[Layer, Layer]] = []
    for kind, word in (("weighted", "convolutions and classifiers"), ("norm", "norms")):
        mine, yours = ([layer for layer in row if layer.kind == kind] for row in (ours, theirs))
        for number, (a, b) in enumerate(zip(mine, yours, strict=False), start=1):
            if a.shape != b.shape:
                want, have = ("x".join(map(str, layer.shape)) for layer in (a, b))
                count = f"number {number} of its {word}"
                if len(mine) != len(yours):
                    count = f"{len(yours)} {word}, wanted {len(mine)}; number {number}"
                return [], f"{count}, {b.name}, is {have}; wanted {want} ({a.name})"
            if a.leaves != b.leaves:
                want, have = (" and ".join(layer.leaves) for layer in (a, b))
                return [], f"{b.name} has {have}; wanted {want} ({a.name})"
        if len(mine) != len(yours):
            return [], f"{len(yours)} {word}; wanted {len(mine)}"
        pairs += zip(mine, yours, strict=True)
    return pairs, ""


def _torn(pairs: list[tuple[Layer, Layer]]) -> str:
    """Where the file has units of its own, the first of ours that would be put together from several; else nothing."""
    paths = {b.name: tuple(re.split(r"[./]", b.name)) for _, b in pairs}
    under = Counter(path[:depth] for path in paths.values() for depth in range(len(path) + 1))
    units: dict[str, dict[str, list[tuple[str, ...]]]] = {}
    for a, b in pairs:
        if a.unit:
            units.setdefault(a.unit, {}).setdefault(a.kind, []).append(paths[b.name])

    def whole(names: list[tuple[str, ...]], count: int) -> bool:
        shared = list(itertools.takewhile(lambda part: len(part) == 1, map(set, zip(*names, strict=False))))
        return under[names[0][: len(shared)]] == count

    grouped = False
    torn = ""
    for unit, kinds in units.items():
        every = [path for names in kinds.values() for path in names]
        weighted = kinds.get("weighted", [])
        is_whole = whole(every, len(every))
        torn = torn or ("" if is_whole else unit)
        grouped = grouped or is_whole or (len(weighted) > 1 and whole(weighted, len(every)))
    return f"its layers are grouped otherwise than {torn}" if grouped and torn else ""


def _requiretold(pairs: list[tuple[Layer, Layer]], where: str, *, sorted_: bool) -> None:
    for kind in ("weighted", "norm"):
        row = [pair for pair in pairs if pair[0].kind == kind]
        for (a, x), (b, y) in itertools.pairwise(row):
            if a.shape == b.shape:
                says = comes_before(a, b, x.name, y.name)
                if says is False or (says is None and sorted_):
                    why = "their names say the other order" if says is False else "the file is sorted by name"
                    raise InputError(
                        f"{where}: {x.name} and {y.name} have one shape, and which is {a.name}, which {b.name} is not "
                        f"told ({why}); save the state_dict anew with torch.save, or under a library's names"
                    )


def _renamed(pairs: list[tuple[Layer, Layer]], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    by_layer: dict[tuple[str, str], Tensor] = {}
    for name, tensor in tensors.items():
        by_layer[split(name, "")] = tensor
    renamed: dict[str, Tensor] = {}
    for ours, theirs in pairs:
        for leaf in ours.leaves:
            tensor = by_layer[(theirs.name, leaf)]
            if leaf == "weight" and ours.kind == "weighted":
                tensor = tensor.flatten(1) if ours.place == "linear" else tensor.reshape(ours.shape)
            renamed[f"{ours.name}.{leaf}"] = tensor
        if "running_mean" in ours.leaves:
            seen = by_layer.get((theirs.name, TRACKED), torch.zeros((), dtype=torch.int64))
            renamed[f"{ours.name}.{TRACKED}"] = seen
    return renamed


def _in_order(wanted: list[Layer], behind: str | int, *, final_first: bool) -> list[Layer]:
    """Our layers as others register them: each unit's shortcut behind its branch, nothing, or its n-th layer."""
    ordered: list[Layer] = []
    for kind in ("weighted", "norm"):
        row = [layer for layer in wanted if layer.kind == kind]
        if final_first:
            row.sort(key=lambda layer: not layer.name.startswith("final."))
        for unit in dict.fromkeys(layer.unit for layer in row if layer.unit):
            inside = [layer for layer in row if layer.unit == unit]
            aside = [layer for layer in inside if layer.place == "shortcut"]
            branch = [layer for layer in inside if layer.place != "shortcut"]
            cut = behind if isinstance(behind, int) else len(branch) if behind == "branch" else 0
            begin = row.index(inside[0])
            row[begin : begin + len(inside)] = [*branch[:cut], *aside, *branch[cut:]]
        ordered += row
    return ordered


class _Layers:
    """A reading: the layers that have weights, with the unit and the side of it that they stand in."""

    def atom(self, site: Site, atom: atoms.Atom) -> list[Layer]:
        given = site.given[0]
        match atom:
            case atoms.Conv():
                shape = (atom.channels, given // atom.groups, atom.kernel, atom.kernel)
                return [Layer(site.name, "weighted", shape, ("bias", "weight") if atom.bias else ("weight",))]
            case atoms.Linear():
                shape = (atom.features, given, 1, 1)
                return [
                    Layer(site.name, "weighted", shape, ("bias", "weight") if atom.bias else ("weight",), "", "linear")
                ]
            case ChannelConv():
                return [Layer(site.name, "weighted", (1, 1, atom.kernel), ("weight",))]
            case atoms.Norm():
                leaves = ("bias", "weight") * atom.affine
                leaves += ("running_mean", "running_var") * (atom.method != "group")
                return [Layer(site.name, "norm", (given,), tuple(sorted(leaves)))]
            case _:
                return []

    def sequence(self, site: Site, parts: dict[str, list[Layer]]) -> list[Layer]:
        return [layer for part in parts.values() for layer in part]

    def parallel(
        self, site: Site, node: Parallel, pre: list[Layer], parts: dict[str, list[Layer]], act: list[Layer]
    ) -> list[Layer]:
        if "branch" not in parts:
            return [*pre, *(layer for part in parts.values() for layer in part), *act]
        sides = [(layer, part) for part, layers in (("pre", pre), *parts.items(), ("act", act)) for layer in layers]
        return [_placed(layer, site.name, part) for layer, part in sides]


def _placed(layer: Layer, unit: str, part: str) -> Layer:
    """The same layer in a unit; what stands in a unit within it belongs to the outer one's side."""
    return layer._replace(unit=unit, place="shortcut" if part == "shortcut" else "branch")
