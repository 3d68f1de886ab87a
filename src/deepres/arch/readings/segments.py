"""A network as the chain of layers and units that a forward pass goes through, cut into steps by a plan."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from deepres.arch.algebra import Node, Parallel, Sequence, dotted, shape
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Identity
from deepres.arch.shapes import Shape


@dataclass(frozen=True)
class Link:
    """A layer or a unit, and the shapes that enter and leave it.

    A dense unit, y = concat(x, branch(x)), is not one link: its branch's layers are, and x flows beside them in the
    pieces that it was put together from. The layer that `opens` the branch is given all pieces, concatenated; what the
    layer that `closes` it gives becomes one piece more.
    """

    name: str
    node: Node
    given: Shape
    gives: Shape
    opens: bool = False
    closes: bool = False


@dataclass(frozen=True)
class CheckpointPlan:
    """Which runs of links are forgotten in the forward pass and computed again in the backward pass.

    recomputed   the share of a forward pass's work that is done twice
    peak_bytes   predicted for a training step under this plan, at the batch size that it was made for
    plain_bytes  the same, recomputing nothing
    """

    segments: tuple[tuple[str, ...], ...] = ()
    recomputed: float = 0.0
    peak_bytes: int = 0
    plain_bytes: int = 0

    def __str__(self) -> str:
        """`78 % of the forward pass is computed twice, 2.9 GiB at most instead of 18.4 GiB`."""
        peak, plain = (f"{count / 2**30:.2g} GiB" for count in (self.peak_bytes, self.plain_bytes))
        return f"{self.recomputed:.0%} of the forward pass is computed twice, about {peak} at most instead of {plain}"


@dataclass(frozen=True)
class Segment:
    """Links that are run one after the other; `again` says that the backward pass runs them once more."""

    links: tuple[Link, ...]
    again: bool = False


def chain(architecture: Architecture) -> tuple[Link, ...]:
    """The links of body and head, in the order in which they run."""
    return tuple(_links(architecture.tree, "", architecture.input))


def segments(architecture: Architecture, plan: CheckpointPlan | None = None) -> tuple[Segment, ...]:
    """The chain cut into the plan's segments, each other link a step of its own.

    Raises:
        ValueError: a segment is no run of consecutive links, or cuts through a dense unit's opening or closing.
    """
    links = {link.name: link for link in chain(architecture)}
    names, found = list(links), []
    starts = {segment[0]: segment for segment in (plan.segments if plan else ())}
    place = 0
    while place < len(names):
        segment = starts.pop(names[place], None)
        run = segment or (names[place],)
        inside = tuple(links[name] for name in names[place : place + len(run)])
        if tuple(link.name for link in inside) != run or any(
            before.closes or after.opens for before, after in itertools.pairwise(inside)
        ):
            raise ValueError(
                f"{architecture.name}: {run[0]} … {run[-1]} is no run of its layers; plan for this network"
            )
        found.append(Segment(inside, again=segment is not None))
        place += len(run)
    if starts:
        raise ValueError(
            f"{architecture.name}: no layer '{next(iter(starts))}' begins a segment; plan for this network"
        )
    return tuple(found)


def _links(node: Node, name: str, given: Shape) -> Iterator[Link]:
    if isinstance(node, Sequence):
        for part, child in node.parts:
            yield from _links(child, dotted(name, part), given)
            given = shape(child, given, dotted(name, part))
    elif isinstance(node, Parallel) and (branch := _dense(node)) is not None:
        inner = list(_links(branch[1], dotted(name, branch[0]), given))
        for place, link in enumerate(inner):
            yield Link(link.name, link.node, link.given, link.gives, place == 0, place == len(inner) - 1)
    else:
        yield Link(name, node, given, shape(node, given, name))


def _dense(node: Parallel) -> tuple[str, Sequence] | None:
    """The branch of y = concat(x, branch(x)), by name; None where the unit is of another kind."""
    plain = isinstance(node.pre, Identity) and isinstance(node.act, Identity)
    if node.join != "concat" or node.feed != "all" or not plain or len(node.parts) != 2:
        return None
    (_, first), (name, branch) = node.parts
    flat = isinstance(first, Identity) and isinstance(branch, Sequence)
    if flat and isinstance(branch, Sequence) and not any(_holds_dense(child) for _, child in branch.parts):
        return name, branch
    return None


def _holds_dense(node: Node) -> bool:
    """Whether a sequence within a branch has a dense unit of its own, whose pieces would mix with the outer ones."""
    if isinstance(node, Sequence):
        return any(_holds_dense(child) for _, child in node.parts)
    return isinstance(node, Parallel) and _dense(node) is not None
