"""Which units a network can be described without, and without them: y = x is all that is left of each."""

from collections.abc import Iterator

from deepres.arch.algebra import Node, Parallel, Sequence, children, dotted
from deepres.arch.architecture import Architecture, unit_names, without
from deepres.arch.atoms import (
    Activation,
    AvgPool,
    Blur,
    Dropout,
    DropPath,
    GlobalAveragePool,
    Identity,
    MaxPool,
    PadChannels,
)
from deepres.base.errors import InputError, unknown

_KEEPS_SIGN = (AvgPool, Blur, Dropout, DropPath, GlobalAveragePool, Identity, MaxPool, PadChannels)


def spare_units(architecture: Architecture) -> tuple[str, ...]:
    """The units that give back what they are given once their branch is left out, by dotted name, from the input on.

    y = act(x + branch(x)) without its branch is act(x). That is x where act does nothing, or is a ReLU and x came out
    of one. An exclusive gate closes for good. A projection, a norm behind the addition, an activation shared by branch
    and shortcut, a scaled shortcut stay and change x; the features of a dense unit are what later ones are made for.
    The last unit of a stage is none of them.
    """
    found: list[str] = []
    _walk(architecture.tree, "", False, found)
    return tuple(found)


def without_units(architecture: Architecture, names: tuple[str, ...]) -> Architecture:
    """The same network without these units; the others keep their names, and so their weights.

    Raises:
        InputError: no unit of that name (the nearest are offered), one that changes the shape, the last of its stage,
            or one that is named twice.
    """
    units = unit_names(architecture)
    for place, name in enumerate(names):
        if name not in units:
            raise unknown(f"{architecture.name}: unit", name, units)
        if name in names[:place]:
            raise InputError(f"{architecture.name}: {name} is left out twice; name it once")
        stage = name.rpartition(".")[0]
        if sum(other.rpartition(".")[0] == stage for other in unit_names(architecture)) == 1:
            raise InputError(f"{architecture.name}: {name} is the last unit of {stage}, which needs one; keep it")
        try:
            architecture = without(architecture, name)
        except InputError as cause:
            raise InputError(
                f"{architecture.name}: {name} cannot be left out, as it changes the shape ({cause.message}); keep it"
            ) from cause
    return architecture


def left_out(whole: Architecture, part: Architecture) -> tuple[str, ...]:
    """The units of `whole` that `part` does not have."""
    kept = set(unit_names(part))
    return tuple(name for name in unit_names(whole) if name not in kept)


def why_none(architecture: Architecture) -> str:
    """Why no unit can be left out, in words behind the network's name."""
    units = list(_units(architecture.tree))
    if not units:
        return "has no residual units"
    if any(unit.join == "concat" for unit in units):
        return "joins features side by side: later layers are made for the channels of each before them"
    if all("shortcut" not in dict(unit.parts) for unit in units):
        return "has units without a shortcut: every layer is the only way through"
    if all(unit.join not in ("add", "exclusive_gate") for unit in units):
        return "joins its units by other than addition, so that what is left of one is not y = x"
    return (
        "has units of which more than y = x is left without their branch (projections, norms behind the addition, "
        "scaled shortcuts), or one unit a stage"
    )


def _walk(node: Node, name: str, positive: bool, found: list[str]) -> bool:
    """Whether what leaves `node` is never below 0, where `positive` says it of what enters."""
    match node:
        case Sequence():
            spare: list[str] = []
            for part, child in node.parts:
                inner = dotted(name, part)
                if isinstance(child, Parallel) and _gives_back(child, positive):
                    spare.append(inner)
                positive = _walk(child, inner, positive, found)
            found += spare if len(node.parts) > 1 else []
            return positive
        case Parallel():
            entering = _walk(node.pre, name, positive, [])
            ways = [_walk(child, name, entering, []) for _, child in node.parts]
            return _walk(node.act, name, all(ways) and not node.gated, [])
        case Activation():
            return node.function in ("relu", "sigmoid")
        case _:
            return positive and isinstance(node, _KEEPS_SIGN)


def _gives_back(unit: Parallel, positive: bool) -> bool:
    """Whether y = x without the branch."""
    parts = dict(unit.parts)
    ways = {"add": {"branch", "shortcut"}, "exclusive_gate": {"branch", "shortcut", "gate"}}
    return (
        set(parts) == ways.get(unit.join)
        and _is_nothing(unit.pre)
        and _is_nothing(parts["shortcut"])
        and (_is_nothing(unit.act) or (positive and _is_relu(unit.act)))
    )


def _is_nothing(node: Node) -> bool:
    if isinstance(node, Sequence):
        return all(_is_nothing(child) for _, child in node.parts)
    return isinstance(node, Identity | Dropout)


def _is_relu(node: Node) -> bool:
    atoms = [child for _, child in children(node)] if isinstance(node, Sequence) else [node]
    real = [atom for atom in atoms if not _is_nothing(atom)]
    return bool(real) and all(isinstance(atom, Activation) and atom.function == "relu" for atom in real)


def _units(node: Node) -> Iterator[Parallel]:
    if isinstance(node, Parallel):
        yield node
        return
    for _, child in children(node):
        yield from _units(child)
