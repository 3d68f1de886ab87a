"""Where two descriptions differ: what tells networks apart whose weights have the same names and shapes."""

from collections.abc import Iterator
from typing import NamedTuple

from deepres.arch.algebra import Node, Parallel, Sequence, children, dotted
from deepres.arch.architecture import Architecture, with_classes
from deepres.arch.atoms import Dropout, DropPath, Identity
from deepres.arch.detector import Detector

_IN_TRAINING_ONLY = ("bias_init", "momentum", "local_drop", "global_share")
_LEARNING = {
    *("before_train", "after_train", "sampled", "positive_share", "positive_above", "negative_below", "negative"),
    *("border", "knee", "channels", "widths"),
}
"""Facts of proposals and regions that act in training only, or show in the layers."""
_SHAPING = ("kind", "channels", "kernel", "groups", "bias", "features")


class Difference(NamedTuple):
    """The first dotted name at which two descriptions differ, what, and how each has it."""

    name: str
    first: str
    second: str


def difference(first: Architecture | Detector, second: Architecture | Detector) -> Difference | None:
    """The first difference in what the two compute, in the order of the data; None where they compute the same.

    Names, input sizes and numbers of classes do not count, nor do what acts in training only: dropout, drop-path,
    initial biases, the norms' momentum.
    """
    here, there = (_facts(net) for net in (first, second))
    for name in [*here, *there]:
        if here.get(name) != there.get(name):
            one, other = here.get(name, {}), there.get(name, {})
            field = next(field for field in [*one, *other] if one.get(field) != other.get(field))
            return Difference(name if field == "kind" else f"{name}.{field}", *(_told(n, field) for n in (one, other)))
    return None


def what_shapes_tensors(network: Architecture | Detector) -> dict[str, dict[str, object]]:
    """By layer, what decides its tensors; channels that enter follow from the layers before. Weights of one network fit
    another, name for name and shape for shape (the classifier aside), where these are equal.
    """
    return {
        name: {"kind": "norm", "affine": facts["affine"], "has running statistics": facts["method"] != "group"}
        if facts["kind"] == "norm"
        else {field: facts[field] for field in _SHAPING if field in facts}
        for name, facts in _facts(network).items()
        if facts["kind"] in ("conv", "transposed_conv", "channel_conv", "norm", "linear")
    }


def _told(fields: dict[str, object], field: str) -> str:
    return str(fields[field]) if field in fields else "nothing"


def _facts(network: Architecture | Detector) -> dict[str, dict[str, object]]:
    """The layers by name, whatever the classes; of a detector also how anchors, proposals and regions are chosen."""
    if isinstance(network, Architecture):
        return dict(_atoms(with_classes(network, 0).tree, ""))
    found: dict[str, dict[str, object]] = {}
    for place in network.replace(num_classes=1).places:
        found |= _atoms(place.node, place.name)
    found["neck"] = {"kind": network.neck, "taps": ", ".join(network.taps)}
    found["model"] = {"kind": "detector", "context": network.context}
    for name in ("anchors", "proposals", "regions"):
        facts = getattr(network, name).model_dump()
        found[name] = {"kind": name, **{field: value for field, value in facts.items() if field not in _LEARNING}}
    if network.masks is not None:
        found["masks"] = {"kind": "masks", **network.masks.model_dump(include={"pool", "samples", "aligned"})}
    return found


def _atoms(node: Node, name: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Every layer that does something in evaluation, with its facts; composites by what joins them."""
    facts: dict[str, object] = {}
    match node:
        case Sequence() | Identity() | Dropout():
            pass
        case Parallel():
            facts = {"kind": node.kind, "join": node.join, "feed": node.feed}
            facts["parts"] = ", ".join(part for part, _ in node.parts)
        case DropPath():  # one coin a batch is scaled in evaluation, one a sample is not
            facts = {} if node.per == "sample" else {"kind": node.kind, "rate": node.rate}
        case _:
            facts = {key: value for key, value in node.model_dump().items() if key not in _IN_TRAINING_ONLY}
            if facts.get("method") == "frozen":
                facts["method"] = "batch"
    if facts:
        yield name, facts
    for part, child in children(node):
        yield from _atoms(child, dotted(name, part))
