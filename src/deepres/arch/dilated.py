"""Networks whose maps stay large: strides left out, and what follows them spread instead (dilation)."""

from deepres.arch.algebra import Node, Parallel, Parts, Sequence
from deepres.arch.architecture import Architecture, feature_shapes
from deepres.arch.atoms import AvgPool, Blur, Conv, MaxPool, PadChannels
from deepres.base.errors import InputError


def with_output_stride(architecture: Architecture, stride: int) -> Architecture:
    """The same weights on maps of input / `stride` and larger: every layer sees what it saw, at more places.

    Where a part of the body would halve a map below that, its stride becomes 1, and every kernel behind it reaches
    twice as far ("à trous"; Yu & Koltun 2016, arXiv 1511.07122; as torchvision's `replace_stride_with_dilation`).

    Raises:
        InputError: the network's own stride is none of 1, 2, 4 … times it, or a pool would be left out of a stage.
    """
    if stride < 1 or stride & (stride - 1):
        raise InputError(f"output_stride: given {stride}; wanted 8, 16 or 32")
    side, now, dilation = architecture.input[1], 1, 1
    body: list[tuple[str, Node]] = []
    before = side
    for (name, node), shape in zip(architecture.body, feature_shapes(architecture).values(), strict=True):
        own = max(1, round(before / shape[1]))
        before = shape[1]
        if now * own > stride and name == architecture.body[0][0]:
            raise InputError(f"output_stride: given {stride}; the stem of {architecture.name} alone has {own}")
        keeps = now * own <= stride
        changed, dilation = _spread(node, dilation, keeps, f"{architecture.name} {name}")
        now *= own if keeps else 1
        body.append((name, changed))
    return architecture.replace(body=tuple(body))


def _spread(node: Node, dilation: int, keeps: bool, where: str) -> tuple[Node, int]:
    """The node on a map that is `dilation` times as fine as it was, and how much finer that is which leaves it."""
    match node:
        case Conv():
            stride = 1 if not keeps else node.stride
            finer = dilation * (node.stride if not keeps else 1)
            if dilation == 1 or node.kernel == 1:
                return node.replace(stride=stride), finer
            padding = node.padding if node.padding == "same" else node.padding * dilation
            return node.replace(stride=stride, dilation=node.dilation * dilation, padding=padding), finer
        case PadChannels() if not keeps:
            return node.replace(stride=1), dilation * node.stride
        case MaxPool() | AvgPool() | Blur() if (not keeps and node.stride > 1) or (dilation > 1 and node.kernel > 1):
            raise InputError(
                f"output_stride: {where} has a {node.kind}, which has no dilation; leave output_stride out"
            )
        case Sequence():
            parts, dilation = _in_row(node.parts, dilation, keeps, where)
            return node.replace(parts=parts), dilation
        case Parallel():
            pre, entered = _spread(node.pre, dilation, keeps, where)
            found = [(name, _spread(part, entered, keeps, where)) for name, part in node.parts]
            left = max(finer for _, (_, finer) in found)
            act, left = _spread(node.act, left, keeps, where)
            return node.replace(pre=pre, parts=tuple((name, part) for name, (part, _) in found), act=act), left
    return node, dilation


def _in_row(parts: Parts, dilation: int, keeps: bool, where: str) -> tuple[Parts, int]:
    changed = []
    for name, part in parts:
        part, dilation = _spread(part, dilation, keeps, where)
        changed.append((name, part))
    return tuple(changed), dilation
