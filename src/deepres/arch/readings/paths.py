"""A reading: how many paths of which length lead from the input to the head (Veit et al. 2016, arXiv 1605.06431)."""

from collections import Counter
from functools import reduce
from typing import Literal

from deepres.arch.algebra import Parallel, Sequence, Site, fold
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Atom, Conv, Linear

Steps = Literal["branches", "layers"]


def path_lengths(architecture: Architecture, of: Steps = "branches") -> dict[int, int]:
    """Length -> number of paths through the body, shortest first; n residual units have C(n, k) of length k.

    At every join a path goes through one part. Its length is the number of parts called `branch` that it goes through,
    those inside others too, or with "layers" of convolutions and linear layers. A gate weighs the paths and is none
    itself, as is the part `gate` of a squeeze-and-excitation or of ECA. Parts that are given channels of their own
    (Res2Net's scales) are one way, the longest.
    """
    counts = fold(Sequence(parts=architecture.body), architecture.input, _Lengths(of))
    return dict(sorted(counts.items()))


class _Lengths:
    def __init__(self, of: Steps) -> None:
        self.of = of

    def atom(self, site: Site, atom: Atom) -> Counter[int]:
        return Counter({int(self.of == "layers" and isinstance(atom, Conv | Linear)): 1})

    def sequence(self, site: Site, parts: dict[str, Counter[int]]) -> Counter[int]:
        return reduce(_then, parts.values())

    def parallel(
        self,
        site: Site,
        node: Parallel,
        pre: Counter[int],
        parts: dict[str, Counter[int]],
        act: Counter[int],
    ) -> Counter[int]:
        if node.feed != "all":
            chained = [*parts.values()][:-1] if node.feed == "chain" else []
            ways = [*parts.values(), *([reduce(_then, chained)] if chained else [])]
            return _then(_then(pre, max(ways, key=max)), act)
        joined: Counter[int] = Counter()
        for name, counts in parts.items():
            if name != "gate":
                joined += _longer(counts) if self.of == "branches" and name == "branch" else counts
        return _then(_then(pre, joined), act)


def _longer(counts: Counter[int]) -> Counter[int]:
    return Counter({length + 1: count for length, count in counts.items()})


def _then(first: Counter[int], second: Counter[int]) -> Counter[int]:
    both: Counter[int] = Counter()
    for length, count in first.items():
        for more, times in second.items():
            both[length + more] += count * times
    return both
