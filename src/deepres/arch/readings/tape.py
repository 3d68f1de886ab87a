"""A reading: the operations of a forward pass in order, the bytes that each gives, and what autograd keeps of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from deepres.arch.algebra import Parallel, Site, fold
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import (
    Activation,
    AdaptiveAvgPool,
    Atom,
    AvgPool,
    Blur,
    Conv,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool,
    Norm,
    TransposedConv,
)
from deepres.arch.attention_atoms import ChannelConv, GroupSoftmax
from deepres.arch.readings.cost import cost_of
from deepres.arch.readings.segments import Segment
from deepres.arch.shapes import elements

VALUE_WORK = 40
"""Multiply-adds that take about as long as reading and writing one value in memory; ours, measured on a CPU."""


@dataclass(frozen=True)
class Op:
    """One operation on maps, which are numbers: what it is given and gives, and what its backward keeps and makes.

    `passes` says that its backward hands the gradient on as it is; `extra` are bytes kept besides maps, `gradients`
    bytes of parameters' gradients, `work` in multiply-adds.
    """

    step: int
    given: tuple[int, ...]
    gives: int
    keeps: tuple[int, ...]
    extra: int = 0
    gradients: int = 0
    work: int = 0
    passes: bool = False


@dataclass
class Tape:
    """The operations of a forward pass in order, and the bytes of every map; map 0 is the input."""

    steps: tuple[Segment, ...]
    sizes: list[int]
    ops: list[Op] = field(default_factory=list)
    step: int = 0
    views: dict[int, int] = field(default_factory=dict)  # a map that lies in another one -> that

    def held(self, number: int) -> int:
        """Bytes that a map takes up itself."""
        return 0 if number in self.views else self.sizes[number]

    def view(self, base: int, size: int) -> int:
        """Record that some channels of a map, `size` bytes, are read where they lie."""
        new = self.add((base,), size, passes=True)
        self.views[new] = self.views.get(base, base)
        return new

    def add(
        self,
        given: tuple[int, ...],
        size: int,
        keeps: tuple[int, ...] = (),
        *,
        own: bool = False,
        extra: int = 0,
        gradients: int = 0,
        work: int = 0,
        passes: bool = False,
    ) -> int:
        """Record an operation that gives a new map of `size` bytes, kept by itself where `own`; the map's number."""
        new = len(self.sizes)
        self.sizes.append(size)
        keeps = tuple(self.views.get(number, number) for number in keeps)
        kept = (*keeps, new) if own else keeps
        self.ops.append(Op(self.step, given, new, kept, extra, gradients, work, passes))
        return new


def record(architecture: Architecture, cut: tuple[Segment, ...], batch_size: int, value_bytes: int) -> Tape:
    """The tape of a forward pass through steps that `segments` gave."""
    tape = Tape(cut, [4 * batch_size * elements(architecture.input)])
    reading = _Recording(tape, batch_size, value_bytes)
    pieces, held = [0], [0]
    if value_bytes != 4:
        pieces = [tape.add((0,), tape.sizes[0] * value_bytes // 4)]
    for number, step in enumerate(cut):
        tape.step = number
        for link in step.links:
            flowing = pieces[0]
            if len(pieces) > 1:
                flowing = tape.add(tuple(pieces), sum(tape.sizes[piece] for piece in pieces), passes=True)
            if link.opens:
                held = pieces
            given = fold(link.node, link.given, reading, link.name)(flowing)
            pieces = [*held, given] if link.closes else [given]
    return tape


_Play = Callable[[int], int]
"""From the map that enters a node to the map that leaves it, recording what lies between."""


class _Recording:
    def __init__(self, tape: Tape, batch_size: int, value_bytes: int) -> None:
        self.tape = tape
        self.batch_size = batch_size
        self.value_bytes = value_bytes

    def atom(self, site: Site, atom: Atom) -> _Play:
        if isinstance(atom, Identity | Flatten) or (isinstance(atom, Dropout) and not atom.rate):
            return lambda x: x
        return lambda x: self._atom(site, atom, x)

    def sequence(self, site: Site, parts: dict[str, _Play]) -> _Play:
        def play(x: int) -> int:
            for part in parts.values():
                x = part(x)
            return x

        return play

    def parallel(self, site: Site, node: Parallel, pre: _Play, parts: dict[str, _Play], act: _Play) -> _Play:
        def play(x: int) -> int:
            entered = pre(x)
            if node.feed == "all":
                return act(self._join(node, {name: part(entered) for name, part in parts.items()}))
            given: dict[str, int] = {}
            before: int | None = None
            for name, part in parts.items():
                group = self.tape.view(entered, self.tape.sizes[entered] // len(parts))
                if before is not None and node.feed == "chain" and len(given) < len(parts) - 1:
                    group = self._add((group, before))
                before = given[name] = part(group)
            return act(self._join(node, given))

        return play

    def _atom(self, site: Site, atom: Atom, x: int) -> int:
        values = self.batch_size * elements(site.gives)
        size = values * self.value_bytes
        counted = cost_of(atom, site.given)
        work = self.batch_size * counted.macs + VALUE_WORK * values

        def add(keeps: tuple[int, ...] = (), own: bool = False, extra: int = 0) -> int:
            return self.tape.add((x,), size, keeps, own=own, extra=extra, gradients=4 * counted.parameters, work=work)

        match atom:
            case Conv() | TransposedConv() | ChannelConv() | Linear():
                return add((x,), extra=self.value_bytes * counted.parameters if self.value_bytes != 4 else 0)
            case Norm(method="frozen"):
                return self.tape.add((add(),), size, passes=True, work=work)
            case Activation(function="relu" | "sigmoid" | "tanh") | GroupSoftmax():
                return add(own=True)
            case Norm() | Activation() | AvgPool() | AdaptiveAvgPool():
                return add((x,))
            case MaxPool():
                return add((x,), extra=8 * values)
            case Blur():
                channels, *sides = site.given
                bordered = elements((channels, *(side + atom.kernel - 1 for side in sides)))
                if self.value_bytes != 4:  # autocast pads in float32
                    x = self.tape.add((x,), 4 * self.batch_size * elements(site.given))
                border = self.tape.add((x,), self.batch_size * bordered * self.value_bytes, (x,))
                return self.tape.add((border,), size, (border,), work=work)
            case Dropout():
                return add(extra=size)
            case _:
                return add()

    def _join(self, node: Parallel, given: dict[str, int]) -> int:
        if len(given) == 1:
            return next(iter(given.values()))
        if node.join == "concat":
            maps = tuple(given.values())
            return self.tape.add(maps, sum(self.tape.sizes[number] for number in maps), passes=True)
        if node.gated:
            given = dict(given)
            gate = given.pop("gate")
            if "shortcut" in given:
                closed = self._add((gate,))
                given["shortcut"] = self._times(closed, given["shortcut"])
            if "branch" in given and node.join == "exclusive_gate":
                given["branch"] = self._times(gate, given["branch"])
        first, *others = given.values()
        for other in others:
            first = self._times(first, other) if node.join == "multiply" else self._add((first, other))
        return self._add((first,)) if node.join == "mean" else first

    def _add(self, maps: tuple[int, ...]) -> int:
        return self._of(maps, passes=len(maps) > 1)

    def _times(self, a: int, b: int) -> int:
        return self._of((a, b), keeps=(a, b))

    def _of(self, maps: tuple[int, ...], keeps: tuple[int, ...] = (), passes: bool = False) -> int:
        size = max(self.tape.sizes[number] for number in maps)
        work = VALUE_WORK * size // self.value_bytes
        return self.tape.add(maps, size, keeps, work=work, passes=passes)
