"""A reading: the network as a text table and as an SVG drawing, equal units in a row drawn once."""

from dataclasses import dataclass
from html import escape

from deepres.arch.algebra import Node, Parallel, Sequence, children, dotted, shape
from deepres.arch.architecture import Architecture, Place
from deepres.arch.atoms import (
    Activation,
    AdaptiveAvgPool,
    Atom,
    AvgPool,
    Blur,
    ColumnMean,
    Conv,
    Dropout,
    DropPath,
    GlobalAveragePool,
    Identity,
    Linear,
    MaxPool,
    Norm,
    PadChannels,
    Scale,
    TransposedConv,
)
from deepres.arch.attention_atoms import ChannelConv, GroupSoftmax, GroupSum
from deepres.arch.detector import Detector
from deepres.arch.readings.cost import Cost, cost_at
from deepres.arch.shapes import Shape
from deepres.base.wording import columns

CONCATENATED = "concatenated"


@dataclass(frozen=True)
class LayerRow:
    """A part of the network, or `count` equal parts in a row (then `name` is `first … last`)."""

    name: str
    layers: str
    gives: Shape
    cost: Cost  # of all `count` together
    count: int
    shortcut: str | None  # None where there is none
    times: int = 1  # of each image: the regions of a detector


def rows(network: Architecture | Detector) -> list[LayerRow]:
    """The network from input to head: stem and head layer by layer, stages unit by unit."""
    found: list[LayerRow] = []
    for place in network.places:
        flowing = place.given
        for part, child in _units(place.node, place.name):
            entering, flowing = flowing, tuple(shape(child, given, part) for given in flowing)
            counted = cost_at(Place(part, child, entering, place.times, place.each))
            row = LayerRow(part, _layers(child) or _small(child), flowing[0], counted, 1, _shortcut(child), place.times)
            found = [*found[:-1], _merged(found[-1], row)] if found and _equal(found[-1], row) else [*found, row]
    return found


def text(network: Architecture | Detector) -> str:
    """The table: name, layers, shortcut, output, parameters, multiply-adds."""
    lines = [("part", "layers", "shortcut", "output", "parameters", "multiply-adds")]
    for row in rows(network):
        output = _output(row, " x ")
        lines.append(
            (row.name, _times(row, " x "), row.shortcut or "", output, f"{row.cost.parameters:,}", f"{row.cost.macs:,}")
        )
    return columns(lines, "<<<>>>")


def svg(network: Architecture | Detector) -> str:
    """A drawing in the manner of Fig. 3: layers from top to bottom, an arc for each shortcut.

    A solid arc is an identity, a dashed one changes the shape (option A or a projection).
    """
    step, width, left = 34, 330, 60
    parts = rows(network)
    height = step * (len(parts) + 1) + 20
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 210} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12"><title>{escape(network.name)}</title>',
        f'<text x="{left + width / 2}" y="16" text-anchor="middle" font-weight="600">{escape(network.name)}, '
        f"input {' x '.join(map(str, network.input))}</text>",
    ]
    sizes = list(dict.fromkeys(row.gives for row in parts))
    for number, row in enumerate(parts):
        y = 28 + number * step
        colour = _PALETTE[sizes.index(row.gives) % len(_PALETTE)]
        out.append(f'<rect x="{left}" y="{y}" width="{width}" height="24" rx="4" fill="{colour}" stroke="#444"/>')
        label = escape(_times(row, " × "))
        out.append(f'<text x="{left + width / 2}" y="{y + 16}" text-anchor="middle" fill="#111">{label}</text>')
        out.append(
            f'<text x="{left + width + 12}" y="{y + 16}" fill="#666">{escape(row.name)} → {_output(row, "×")}</text>'
        )
        if row.shortcut:
            dash = "" if row.shortcut == "identity" else ' stroke-dasharray="4 3"'
            path = f"M {left} {y - 4} C {left - 34} {y - 4}, {left - 34} {y + 28}, {left} {y + 28}"
            out.append(f'<path d="{path}" fill="none" stroke="#b5432a" stroke-width="1.6"{dash}/>')
            out.append(
                f'<text x="{left - 28}" y="{y + 16}" text-anchor="end" fill="#b5432a">{escape(row.shortcut)}</text>'
            )
    return "\n".join([*out, "</svg>\n"])


_PALETTE = ("#e8eef7", "#d3e4f4", "#b9d7ee", "#9cc7e6", "#7db5dc", "#e9dcc3", "#d9c79f")


def _output(row: LayerRow, cross: str) -> str:
    times = f"{row.times:,} times " if row.times > 1 else ""
    return times + cross.join(map(str, row.gives))


def _times(row: LayerRow, cross: str) -> str:
    return f"[{row.layers}]{cross}{row.count}" if row.count > 1 else row.layers


def _units(node: Node, name: str) -> list[tuple[str, Node]]:
    if isinstance(node, Sequence) and any(isinstance(child, Parallel) for _, child in node.parts):
        return [(dotted(name, part), child) for part, child in node.parts]
    return [(name, node)]


def _equal(one: LayerRow, other: LayerRow) -> bool:
    if one.shortcut == other.shortcut == CONCATENATED:  # units of a dense block grow, each by the same layers
        return one.layers == other.layers
    each = one.cost.parameters // one.count
    return (one.layers, one.gives, one.shortcut, each) == (
        other.layers,
        other.gives,
        other.shortcut,
        other.cost.parameters,
    )


def _merged(one: LayerRow, other: LayerRow) -> LayerRow:
    first = one.name.split(" … ")[0]
    name = f"{first} … {other.name.rsplit('.', 1)[-1]}"
    return LayerRow(name, one.layers, other.gives, one.cost + other.cost, one.count + 1, one.shortcut, one.times)


def _layers(node: Node) -> str:
    if isinstance(node, Parallel):
        parts = dict(node.parts)
        if "branch" in parts:
            return _layers(parts["branch"])
        inner = " | ".join(filter(None, map(_layers, parts.values())))
        inner = f"({'chained: ' if node.feed == 'chain' and len(parts) > 2 else ''}{inner})" if inner else ""
        return ", ".join(filter(None, (_layers(node.pre), inner, _layers(node.act)))) or "no branch"
    if isinstance(node, Sequence):
        return ", ".join(filter(None, (_layers(child) for _, child in children(node))))
    return _layer(node)


def _small(node: Node) -> str:
    """What a part without convolutions or pools is: `batch norm, relu`."""
    match node:
        case Sequence():
            return ", ".join(filter(None, (_small(child) for _, child in children(node))))
        case Norm():
            return f"{node.method} norm"
        case Activation():
            return node.function
        case _:
            return ""


def _layer(atom: Atom) -> str:
    match atom:
        case Conv():
            stride = f" /{atom.stride}" if atom.stride > 1 else ""
            groups = f" in {atom.groups} groups" if atom.groups > 1 else ""
            return f"{atom.kernel}x{atom.kernel} {atom.channels}{groups}{stride}"
        case TransposedConv():
            return f"{atom.kernel}x{atom.kernel} {atom.channels} x{atom.stride}"
        case ChannelConv():
            return f"{atom.kernel} along channels"
        case GroupSum():
            return f"sum of {atom.parts}"
        case GroupSoftmax():
            return f"shares of {atom.parts}"
        case MaxPool() | AvgPool():
            return f"{atom.kind.replace('_', ' ')} {atom.kernel}x{atom.kernel} /{atom.stride}"
        case Blur():
            return f"blur {atom.kernel}x{atom.kernel} /{atom.stride}"
        case Linear():
            return f"fc {atom.features}"
        case Dropout() | DropPath() if atom.rate:
            return f"{atom.kind.replace('_', ' ')} {atom.rate:.3g}"
        case Scale():
            return f"times {atom.factor:g}"
        case Activation(function="sigmoid"):
            return "sigmoid"
        case GlobalAveragePool():
            return "average pool"
        case AdaptiveAvgPool():
            return f"average pool to {atom.size}x{atom.size}"
        case ColumnMean():
            return f"mean of {atom.columns}"
        case _:
            return ""


def _shortcut(node: Node) -> str | None:
    parts = dict(node.parts) if isinstance(node, Parallel) else {}
    if isinstance(node, Parallel) and node.join == "concat" and isinstance(parts.get("features"), Identity):
        return CONCATENATED
    path = parts.get("shortcut")
    if path is None:
        return None
    gate = ", gated" if "gate" in parts else ""
    match path:
        case Identity():
            return f"identity{gate}"
        case PadChannels():
            return f"zeros (A){gate}"
        case _:
            return f"{_layers(path) or 'identity'}{gate}"
