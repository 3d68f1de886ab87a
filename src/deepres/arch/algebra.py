"""The two composites, sequence and parallel, and `fold`: the only recursion over a network.

A reading of the network (its modules, its cost, its picture) is three functions: what an atom is worth,
what a sequence of worths is, what a join of worths is. The fold carries shapes and dotted names to them.
"""

from collections.abc import Iterable, Mapping
from math import prod
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar, Union

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from deepres.arch.atoms import Atom, Identity
from deepres.arch.shapes import Shape, ShapeError
from deepres.base.errors import InputError
from deepres.base.records import Record


def _pairs(parts: Any) -> Any:
    return tuple(parts.items()) if isinstance(parts, Mapping) else parts


Node = Annotated[Union[Atom, "Sequence", "Parallel"], Field(discriminator="kind")]
Parts = Annotated[
    tuple[tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Node], ...],
    BeforeValidator(_pairs),
    PlainSerializer(dict, return_type=dict[str, Any]),
]
"""Named parts in order: given as a dict, kept as pairs (so that a description is hashable), written as an object."""


class Sequence(Record):
    """y = last(... second(first(x)))."""

    kind: Literal["sequence"] = "sequence"
    parts: Parts

    @model_validator(mode="after")
    def _names_differ(self) -> "Sequence":
        return _checked(self)


Join = Literal["add", "mean", "multiply", "concat", "exclusive_gate", "shortcut_gate"]
Feed = Literal["all", "groups", "chain"]


class Parallel(Record):
    """y = act(join over the parts of part(pre(x))); a residual unit is y = act(shortcut(x) + branch(x)).

    Joins: add, mean and multiply, element by element (multiply spreads a (C, 1, 1)); concat along the channels;
    exclusive_gate is g branch + (1 - g) shortcut, shortcut_gate is branch + (1 - g) shortcut, g what the part `gate`
    gives. One part alone is passed on as it is: a unit without its `shortcut` is a plain network's pair of layers, a
    unit without its `branch` is a deleted unit.

    Feeds: "all", each part is given all of pre(x); "groups", each its own of as many equal runs x_1, x_2 … of its
    channels as there are parts; "chain", the same, but of y_i = part_i(x_i + y_(i-1)) for all between the first and the
    last (Gao et al. 2019, eq. 1, the group that stays as it is last, as in the authors' code).
    """

    kind: Literal["parallel"] = "parallel"
    parts: Parts
    join: Join = "add"
    feed: Feed = "all"
    pre: Node = Identity()
    act: Node = Identity()

    @model_validator(mode="after")
    def _parts_suit_the_join(self) -> "Parallel":
        names = [name for name, _ in self.parts]
        for taken in ("act", "pre"):
            if taken in names:
                raise ValueError(f"a part cannot be called '{taken}', which stands before or after the join; rename it")
        if self.gated and ("gate" not in names or not set(names) <= {"gate", "branch", "shortcut"}):
            raise ValueError(f"join '{self.join}' with parts {', '.join(names)}; wanted gate, branch, shortcut")
        if self.feed != "all" and self.join != "concat":
            raise ValueError(f"feed '{self.feed}' with join '{self.join}'; groups of channels are concatenated")
        return _checked(self)

    @property
    def gated(self) -> bool:
        """Whether a part `gate` weighs the others."""
        return self.join in ("exclusive_gate", "shortcut_gate")

    def fed(self, entering: Shape) -> Shape:
        """What each part is given of `entering`: all, or (C / parts, H, W)."""
        if self.feed == "all":
            return entering
        channels, *size = entering
        if channels % len(self.parts):
            raise ShapeError(f"{len(self.parts)} parts share {channels} channels unevenly; give each the same number")
        return (channels // len(self.parts), *size)

    def require_chained(self, fed: Shape, shapes: Mapping[str, Shape]) -> None:
        """ShapeError where what a part of a chain gives cannot be added to what the next is given."""
        for part, shape in list(shapes.items())[:-2] if self.feed == "chain" else ():
            if shape != fed:
                raise ShapeError(f"{part} gives {shape} to the next of a chain, which is given {fed}; keep the shape")

    def joined(self, given: Shape, shapes: Mapping[str, Shape]) -> Shape:
        """All shapes equal; but concat adds up channels, and multiply spreads (C, 1, 1) over the map."""
        reference = max(shapes.values(), key=prod) if self.join == "multiply" else next(iter(shapes.values()))
        first = next(name for name, shape in shapes.items() if shape == reference)
        for other, shape in shapes.items():
            fits = shape == reference
            if self.join == "concat":
                fits = shape[1:] == reference[1:]
            elif self.join == "multiply":
                fits = fits or shape == (reference[0], 1, 1)
            if not fits:
                raise ShapeError(f"{other} gives {shape}, {first} gives {reference}; {_remedy(self.join, given)}")
        if self.join == "concat":
            return (sum(shape[0] for shape in shapes.values()), *reference[1:])
        return reference


def _remedy(join: str, given: Shape) -> str:
    if join == "concat":
        return f"parts that are concatenated need equal height and width (the input is {given})"
    return f"use a projection shortcut, or a stride and a width that keep the input's {given}"


N = TypeVar("N", Sequence, Parallel)


def _checked(node: N) -> N:
    names = [name for name, _ in node.parts]
    if not names:
        raise ValueError(f"a {node.kind} without parts; give at least one")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two parts are called '{twice}'; names within a {node.kind} must differ")
    return node


class Site(NamedTuple):
    """Where a node stands: its dotted name and the shapes that enter and leave it."""

    name: str
    given: Shape
    gives: Shape


T = TypeVar("T")


class Reading(Protocol[T]):
    """What a network is worth, by its three kinds of node."""

    def atom(self, site: Site, atom: Atom) -> T:
        """The worth of an atom."""

    def sequence(self, site: Site, parts: dict[str, T]) -> T:
        """The worth of parts in a row."""

    def parallel(self, site: Site, node: Parallel, pre: T, parts: dict[str, T], act: T) -> T:
        """The worth of what comes first, parts side by side, joined, then activated."""


def fold(node: Node, given: Shape, reading: Reading[T], name: str = "", *, named: bool = True) -> T:
    """Read `node` bottom up, `given` being the shape that enters it.

    Where the reading does not depend on names (`named=False`), an object that occurs several times is read only once.

    Raises:
        InputError: shapes do not fit; the message has the dotted name, both shapes and the remedy.
    """
    return _fold(node, given, reading, name, None if named else {})[1]


def shape(node: Node, given: Shape, name: str = "") -> Shape:
    """The shape that leaves `node`."""
    return _fold(node, given, _Nothing(), name, {})[0]


_Seen = dict[tuple[int, Shape], tuple[Shape, T]]  # by the object and what enters it


def _fold(node: Node, given: Shape, reading: Reading[T], name: str, seen: _Seen[T] | None) -> tuple[Shape, T]:
    if seen is None:
        return _read(node, given, reading, name, seen)
    place = id(node), given
    if place not in seen:
        seen[place] = _read(node, given, reading, name, seen)
    return seen[place]


def _read(node: Node, given: Shape, reading: Reading[T], name: str, seen: _Seen[T] | None) -> tuple[Shape, T]:
    match node:
        case Sequence():
            worths, flowing = {}, given
            for part, child in node.parts:
                flowing, worths[part] = _fold(child, flowing, reading, dotted(name, part), seen)
            return flowing, reading.sequence(Site(name, given, flowing), worths)
        case Parallel():
            entering, pre = _fold(node.pre, given, reading, dotted(name, "pre"), seen)
            shapes, worths = {}, {}
            try:
                fed = node.fed(entering)
            except ShapeError as cause:
                raise _located(name, cause) from cause
            for part, child in node.parts:
                shapes[part], worths[part] = _fold(child, fed, reading, dotted(name, part), seen)
            try:
                node.require_chained(fed, shapes)
                joined = node.joined(given, shapes)
            except ShapeError as cause:
                raise _located(name, cause) from cause
            gives, act = _fold(node.act, joined, reading, dotted(name, "act"), seen)
            return gives, reading.parallel(Site(name, given, gives), node, pre, worths, act)
        case _:
            try:
                gives = node.output(given)
            except ShapeError as cause:
                raise _located(name, cause) from cause
            return gives, reading.atom(Site(name, given, gives), node)


def dotted(name: str, part: str) -> str:
    """`stage1` and `unit1` make `stage1.unit1`."""
    return f"{name}.{part}" if name else part


def at(node: Node, name: str) -> Node:
    """The node of that dotted name within `node`.

    Raises:
        KeyError: there is none.
    """
    for part in name.split("."):
        node = dict(children(node))[part]
    return node


def children(node: Node) -> Iterable[tuple[str, Node]]:
    """The named parts of a composite, of a parallel `pre` first and `act` last; nothing for an atom."""
    match node:
        case Sequence():
            return node.parts
        case Parallel():
            return (("pre", node.pre), *node.parts, ("act", node.act))
        case _:
            return ()


def substitute(node: Node, name: str, new: Node | None) -> Node:
    """`node` with the part of that dotted name replaced by `new`, or left out where `new` is None."""
    first, _, rest = name.partition(".")
    if isinstance(node, Parallel) and first in ("pre", "act"):
        old: Node = getattr(node, first)
        return node.replace(**{first: substitute(old, rest, new) if rest else (new or Identity())})
    if not isinstance(node, Sequence | Parallel) or first not in dict(node.parts):
        raise KeyError(first)
    parts = []
    for part, child in node.parts:
        replaced = child if part != first else substitute(child, rest, new) if rest else new
        if replaced is not None:
            parts.append((part, replaced))
    return node.replace(parts=tuple(parts))


class _Nothing:
    def atom(self, site: Site, atom: Atom) -> None:
        return None

    def sequence(self, site: Site, parts: dict[str, None]) -> None:
        return None

    def parallel(self, site: Site, node: Parallel, pre: None, parts: dict[str, None], act: None) -> None:
        return None


def _located(name: str, cause: ShapeError) -> InputError:
    return InputError(f"{name or 'network'}: {cause}")


Sequence.model_rebuild()
Parallel.model_rebuild()
