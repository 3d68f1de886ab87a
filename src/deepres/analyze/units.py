"""A network as the row of modules that a pass goes through; each residual unit as what its two ways give."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from deepres.arch.algebra import Node, Parallel, Sequence, dotted, shape
from deepres.arch.atoms import Identity
from deepres.arch.shapes import Shape
from deepres.base.errors import InputError, unknown
from deepres.nn import layers
from deepres.nn.build import ResidualNetwork

UnitKind = Literal["residual", "plain", "whole", "layer"]
"""residual: a unit with a branch beside a shortcut (or beside the features so far, y = concat(x, branch(x))).
plain: a unit of a branch alone that keeps the shape. whole: any other unit. layer: no unit."""


@dataclass(frozen=True, eq=False)
class RowModule:
    """One module of the row: its dotted name, the shapes that enter and leave it, and whether it can be passed by."""

    name: str
    module: nn.Module
    kind: UnitKind
    given: Shape
    gives: Shape

    @property
    def passable(self) -> bool:
        """Whether a pass can go by without the branch."""
        return self.kind in ("residual", "plain")


def row_modules(network: ResidualNetwork) -> tuple[RowModule, ...]:
    """The row of body and head; units within units belong to the outermost one."""
    row = _row(network.description.tree, "", network.description.input)
    return tuple(RowModule(name, network.get_submodule(name), kind, given, gives) for name, kind, given, gives in row)


def skip_branch(place: RowModule, x: Tensor) -> Tensor:
    """What the unit gives without its branch: y = act(shortcut(pre(x))); a plain unit's whole layer is left out, y = x.

    Projections and option A stay. The exclusive gate of a highway unit is closed, y = x (Srivastava et al. 2015, arXiv
    1507.06228, section 4.2); under a shortcut-only gate y = act((1 - g) shortcut). A dense unit adds zeros for its
    features, so that later units keep their channels (ours).
    """
    if place.kind == "plain":
        return x
    unit = _unit(place)
    h: Tensor = unit.pre(x)
    beside: Tensor = unit.get_submodule(_beside(unit))(h)
    if unit.join == "shortcut_gate":
        beside = (1 - unit.get_submodule("gate")(h)) * beside
    elif unit.join == "concat":
        beside = _beside_zeros(unit, _beside(unit), beside, place.gives[0] - beside.shape[1])
    y: Tensor = unit.act(beside)
    return y


def shortcut_and_branch(place: RowModule, x: Tensor) -> tuple[Tensor, Tensor]:
    """What shortcut and branch of a residual unit add to the join: y = act(first + second).

    Under a gate they are (1 - g) shortcut, or the shortcut, and g branch, each with its share of the gate's own
    gradient; of a dense unit (x, 0) and (0, branch(x)).
    """
    unit = _unit(place)
    h: Tensor = unit.pre(x)
    beside: Tensor = unit.get_submodule(_beside(unit))(h)
    through: Tensor = unit.get_submodule("branch")(h)
    if unit.join in ("exclusive_gate", "shortcut_gate"):
        gate: Tensor = unit.get_submodule("gate")(h)
        return (1 - gate) * beside, gate * through if unit.join == "exclusive_gate" else through
    if unit.join == "concat":
        more, before = through.shape[1], beside.shape[1]
        return _beside_zeros(unit, _beside(unit), beside, more), _beside_zeros(unit, "branch", through, before)
    return beside, through


@contextmanager
def without(network: ResidualNetwork, names: Collection[str]) -> Iterator[None]:
    """Within it, the named units' branches are not run at all, neither forward nor backward; norms in them see nothing.

    Afterwards the network is as it was, also after an exception.

    Raises:
        InputError: no unit of that name (the nearest are offered), or one that cannot be passed by.
    """
    chosen = require_passable(row_modules(network), names, network.description.name)
    for place in chosen:
        place.module.forward = partial(skip_branch, place)
    try:
        yield
    finally:
        for place in chosen:
            del place.module.forward


def require_passable(row: Collection[RowModule], names: Collection[str], where: str) -> tuple[RowModule, ...]:
    """The places of those names, in the order of the row.

    Raises:
        InputError: no unit of that name (the nearest are offered), or one that cannot be passed by.
    """
    units = {place.name: place for place in row if place.kind != "layer"}
    for name in names:
        if name not in units:
            raise unknown(f"{where}: unit", name, units)
        if not units[name].passable:
            place = units[name]
            raise InputError(
                f"{where}: {name} turns {place.given} into {place.gives} and has no shortcut, so the network cannot do "
                "without it; take it off the list"
            )
    return tuple(place for name, place in units.items() if name in names)


def _row(node: Node, name: str, given: Shape) -> Iterator[tuple[str, UnitKind, Shape, Shape]]:
    if isinstance(node, Sequence):
        for inner, child in node.parts:
            yield from _row(child, dotted(name, inner), given)
            given = shape(child, given, dotted(name, inner))
    else:
        gives = shape(node, given, name)
        yield name, _kind(node, given == gives) if isinstance(node, Parallel) else "layer", given, gives


def _kind(node: Parallel, keeps_shape: bool) -> UnitKind:
    parts = {name: child for name, child in node.parts if name != "gate"}
    if list(parts) == ["branch"]:
        return "plain" if keeps_shape else "whole"
    if "branch" not in parts or len(parts) != 2:
        return "whole"
    beside = next(child for name, child in parts.items() if name != "branch")
    if node.join == "concat":
        return "residual" if isinstance(beside, Identity) and isinstance(node.pre, Identity) else "whole"
    return "residual" if node.gated or node.join == "add" else "whole"


def _unit(place: RowModule) -> layers.Parallel:
    assert place.kind == "residual", place.name
    assert isinstance(place.module, layers.Parallel)
    return place.module


def _beside(unit: layers.Parallel) -> str:
    return next(name for name in unit.part_names if name not in ("branch", "gate"))


def _beside_zeros(unit: layers.Parallel, own: str, x: Tensor, channels: int) -> Tensor:
    """x in the channels of the part `own`, zeros in those of the other."""
    zeros = x.new_zeros(len(x), channels, *x.shape[2:])
    return torch.cat([x, zeros] if unit.part_names[0] == own else [zeros, x], dim=1)
