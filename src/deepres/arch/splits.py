"""The 3x3 of a unit as several layers: scales in a chain (Res2Net), weighed splits (ResNeSt), kernels (SK)."""

from deepres.arch.algebra import Node, Parallel, Sequence
from deepres.arch.atoms import Activation, AvgPool, Conv, GlobalAveragePool, Identity, Norm
from deepres.arch.attention_atoms import GroupSoftmax, GroupSum


def scales(conv: Conv, number: int, norm: Norm, act: Activation, *, changes: bool) -> Parallel:
    """y_1 = K(x_1), y_i = K(x_i + y_(i-1)), the last of `number` groups as it is.

    K is the convolution with norm and activation (Gao et al. 2019, arXiv 1904.01169, eq. 1). In a unit that changes the
    shape each group is for itself and the last is pooled 3x3, zeros counted, as in the authors' code
    (github.com/Res2Net/Res2Net-PretrainedModels).
    """
    parts: dict[str, Node] = {
        f"scale{place}": Sequence(parts={"conv": conv, "norm": norm, "act": act}) for place in range(1, number)
    }
    pool = AvgPool(kernel=3, stride=conv.stride, padding=1, padded=True)
    last = {"rest": pool if changes else Identity()}
    return Parallel(parts={**parts, **last}, join="concat", feed="groups" if changes else "chain")


def splits(conv: Conv, radix: int, norm: Norm, act: Activation) -> Parallel:
    """y = sum over r of a_r x_r: `radix` convolutions side by side, weighed.

    Within each group of the convolution a = softmax over r of W2 act(norm(W1 mean(x_1 + x_2 + …))), with biases; of one
    split a = sigmoid. W1 gives a quarter of all channels, 32 at least, to the nearest 8. Zhang et al. 2020 (arXiv
    2004.08955), eq. 3.
    """
    side_by_side = conv.replace(channels=conv.channels * radix, groups=conv.groups * radix)
    hidden = divisible(conv.channels * radix / 4, 8, least=32)
    narrow, wide = (
        Conv(channels=channels, kernel=1, groups=conv.groups, bias=True) for channels in (hidden, conv.channels * radix)
    )
    before = Sequence(parts={"conv": side_by_side, "norm": norm, "act": act})
    return _weighed(before, radix, conv.groups, {"fc1": narrow, "norm": norm, "act": act, "fc2": wide})


def kernels(conv: Conv, hidden: int, norm: Norm, act: Activation, *, halved: bool) -> Parallel:
    """y = a_1 x_1 + a_2 x_2, a 3x3 and one that is spread to 5x5, weighed (Li et al. 2019, arXiv 1903.06586, eq. 3-6).

    a = softmax of W2 act(norm(W1 mean(x_1 + x_2))), `hidden` between them. Both are given all channels, or `halved` one
    half each, as timm has it.
    """
    paths: dict[str, Node] = {
        f"path{spread}": Sequence(
            parts={"conv": conv.replace(dilation=spread, padding=spread), "norm": norm, "act": act}
        )
        for spread in (1, 2)
    }
    before = Parallel(parts=paths, join="concat", feed="groups" if halved else "all")
    narrow, wide = (Conv(channels=channels, kernel=1) for channels in (hidden, 2 * conv.channels))
    return _weighed(before, 2, 1, {"fc1": narrow, "norm": norm, "act": act, "fc2": wide})


def divisible(wanted: float, by: int, least: int) -> int:
    """The multiple of `by` that is nearest, `least` at least, and no more than a tenth below `wanted`."""
    found = max(least, int(wanted + by / 2) // by * by)
    return found + by if found < 0.9 * wanted else found


def _weighed(before: Node, number: int, groups: int, between: dict[str, Node]) -> Parallel:
    """The sum of `number` groups of channels, each times its share."""
    several = number > 1
    gate: dict[str, Node] = {
        "pool": GlobalAveragePool(keep_map=True),
        **({"sum": GroupSum(parts=number)} if several else {}),
        **between,
        "share": GroupSoftmax(parts=number, groups=groups) if several else Activation(function="sigmoid"),
    }
    return Parallel(
        parts={"signal": Identity(), "gate": Sequence(parts=gate)},
        join="multiply",
        pre=before,
        act=GroupSum(parts=number) if several else Identity(),
    )
