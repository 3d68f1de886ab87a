"""A whole network: a body of named parts (stem, stage1, …) and a head; its check, its features, its edits."""

from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from deepres.arch.algebra import Node, Parallel, Parts, Sequence, children, dotted, shape, substitute
from deepres.arch.atoms import Activation, Conv, GlobalAveragePool, Linear
from deepres.arch.bounds import MOST
from deepres.arch.shapes import Shape
from deepres.base.arguments import whole
from deepres.base.errors import InputError, unknown
from deepres.base.records import Record

CLASSIFIER = "fc"
"""What the last part of a head is called, where it is a classifier."""

PLACES = "places"
"""… where it says of each class whether and where it is, by sibling layers (`localiser.py`)."""

_Side = Annotated[int, Field(le=MOST)]
Size = Annotated[tuple[_Side, _Side, _Side], Field(description="channels, height, width")]


class Place(NamedTuple):
    """A part of a network where it stands: the shapes that enter it in one pass, each of them `times` times.

    `each` says it of every shape where it is not the same of all.
    """

    name: str
    node: Node
    given: tuple[Shape, ...]
    times: int = 1
    each: tuple[int, ...] = ()


class Architecture(Record):
    """logits = head(body(x)): all that is needed to build, count and draw it. Checked at construction.

    `input` is the (C, H, W) for which costs are stated; any other height and width that fits works too.
    """

    name: str
    input: Size
    body: Parts
    head: Node

    @model_validator(mode="after")
    def _shapes_fit(self) -> "Architecture":
        shape(self.tree, self.input)
        return self

    @property
    def tree(self) -> Sequence:
        """The network as one node: the body's parts, then `head`."""
        return Sequence(parts=(*self.body, ("head", self.head)))

    @property
    def places(self) -> tuple[Place, ...]:
        """The parts of the body and the head, from the input on."""
        entering = (self.input, *feature_shapes(self).values())
        parts = (*self.body, ("head", self.head))
        return tuple(Place(name, node, (given,)) for (name, node), given in zip(parts, entering, strict=True))

    @property
    def num_features(self) -> int:
        """Features that enter the classifier, or that leave the head where there is none."""
        last = feature_shapes(self)[self.body[-1][0]]
        before = tuple((name, node) for name, node in children(self.head) if name not in (CLASSIFIER, PLACES))
        return shape(Sequence(parts=before), last)[0] if before else last[0]

    @property
    def says_places(self) -> bool:
        """Whether it says of each class where it is (`localiser.py`)."""
        last = list(children(self.head))[-1:]
        return bool(last) and last[0][0] == PLACES

    @property
    def num_classes(self) -> int:
        """Features that the classifier, or the first of sibling layers, gives; 0 where there is none."""
        last = list(children(self.head))[-1:]
        if last and last[0][0] == PLACES and isinstance(last[0][1], Parallel):
            first = last[0][1].parts[0][1]
            return first.channels if isinstance(first, Conv) else first.features if isinstance(first, Linear) else 0
        return last[0][1].features if last and isinstance(last[0][1], Linear) else 0


def feature_shapes(architecture: Architecture) -> dict[str, Shape]:
    """The (C, H, W) that leaves each part of the body, at the network's own input size."""
    shapes, flowing = {}, architecture.input
    for name, node in architecture.body:
        flowing = shapes[name] = shape(node, flowing, name)  # type: ignore[assignment]
    return shapes


def with_classes(architecture: Architecture, num_classes: int) -> Architecture:
    """The same network for another number of classes; 0 leaves the pooled features.

    Raises:
        InputError: no whole number of 0 or more, or a head that does not end in a classifier.
    """
    num_classes = whole(num_classes, "num_classes", 0)
    if not isinstance(architecture.head, Sequence):
        raise InputError(
            f"{architecture.name}: the head is a {architecture.head.kind}; wanted a sequence that ends in a classifier"
        )
    parts: list[tuple[str, Node]] = [
        (name, node) for name, node in architecture.head.parts if not isinstance(node, Linear) and name != PLACES
    ]
    parts = parts or [("pool", GlobalAveragePool())]
    if num_classes:
        parts.append((CLASSIFIER, Linear(features=num_classes)))
    return architecture.replace(head=Sequence(parts=tuple(parts)))


def with_input(architecture: Architecture, size: Size) -> Architecture:
    """The same network for another input (C, H, W)."""
    return architecture.replace(input=size)


def with_activation(architecture: Architecture, function: str, *, inside_units: bool = True) -> Architecture:
    """The same network with `function` where it has ReLU; the gates of squeeze-and-excitation keep theirs.

    Without `inside_units` branches keep their ReLU, and what stands in the stem and after the additions changes.
    """
    if function == "relu":
        return architecture
    body = tuple((name, _activated(node, function, inside_units)) for name, node in architecture.body)
    return architecture.replace(body=body, head=_activated(architecture.head, function, inside_units))


def unit_names(architecture: Architecture) -> tuple[str, ...]:
    """The dotted names of all residual units (and plain pairs), from the input on."""
    return tuple(_parallels(architecture.tree, ""))


def without(architecture: Architecture, name: str) -> Architecture:
    """The same network without the unit or part of that dotted name.

    Raises:
        InputError: no such name (the nearest are offered), or the shapes no longer fit without it.
    """
    try:
        tree = substitute(architecture.tree, name, None)
    except KeyError as cause:
        raise unknown(f"{architecture.name}: part", name, _names(architecture.tree, "")) from cause
    *body, (last, head) = tree.parts if isinstance(tree, Sequence) else ()
    if last != "head":
        raise InputError(
            f"{architecture.name}: a network cannot be without its head; use num_classes=0 for the features alone"
        )
    return architecture.replace(body=tuple(body), head=head)


def _activated(node: Node, function: str, inside_units: bool) -> Node:
    def inner(parts: Parts) -> Parts:
        return tuple((name, _activated(part, function, inside_units)) for name, part in parts)

    match node:
        case Activation(function="relu"):
            return node.replace(function=function)
        case Sequence():
            return node.replace(parts=inner(node.parts))
        case Parallel():
            around = {side: _activated(getattr(node, side), function, inside_units) for side in ("pre", "act")}
            within = inside_units and node.join != "multiply"
            return node.replace(parts=inner(node.parts) if within else node.parts, **around)
    return node


def _parallels(node: Node, name: str) -> list[str]:
    if isinstance(node, Parallel):
        return [name]
    return [found for part, child in children(node) for found in _parallels(child, dotted(name, part))]


def _names(node: Node, name: str) -> list[str]:
    below = [found for part, child in children(node) for found in _names(child, dotted(name, part))]
    return [name, *below] if name else below
