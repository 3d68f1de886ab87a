"""A reading: which layers a training step should compute twice, so that it fits the memory there is."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from deepres.arch.algebra import Parallel
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Conv, Linear
from deepres.arch.readings.memory import step_memory
from deepres.arch.readings.segments import CheckpointPlan, Link, Segment, chain
from deepres.arch.readings.tape import record

MemoryChoice = Literal["auto", "save", "keep"]
"""keep: nothing is computed twice. save: the smallest peak at about 1.3 times the time. auto: keep where the predicted
step fits, else save."""


MOST_RECOMPUTED = 0.8
"""The share of a forward pass's work that "the smallest peak" may do twice: a forward pass is about a third of a step,
so a step takes some 1.27 times as long. Ours."""

_TRIALS = 24


def make_plan(
    architecture: Architecture,
    batch_size: int,
    budget_bytes: int | None = None,
    *,
    value_bytes: int = 4,
    averaged: bool = False,
    most: float = MOST_RECOMPUTED,
) -> CheckpointPlan:
    """The plan that recomputes least within `budget_bytes`; without a budget, or where none fits, the smallest peak.

    The chain's beginning is cut into runs of which only what enters is kept (Chen et al. 2016, arXiv 1604.06174: for n
    equal layers sqrt(n) of them); each is as long as the memory free at its turn allows, so those at the front are
    longer. The chain's end stays as it is: its maps are small and are used up first. In dense units concatenation,
    norms and activations are recomputed and convolutions' results kept (Pleiss et al. 2017, arXiv 1707.06990).

    The smallest peak is sought among plans that recompute at most `most` of a forward pass.
    """
    plain = step_memory(architecture, batch_size, value_bytes, averaged=averaged)
    if budget_bytes is not None and plain.total <= budget_bytes:
        return CheckpointPlan(peak_bytes=plain.total, plain_bytes=plain.total)
    line = _Line.of(architecture, batch_size, value_bytes)
    found = []
    for planned in line.trials():
        share = line.share(planned)
        if planned and share <= most:
            names = tuple(tuple(link.name for link in run) for run in planned)
            peak = step_memory(architecture, batch_size, value_bytes, CheckpointPlan(names), averaged).total
            found.append(CheckpointPlan(names, round(share, 4), peak, plain.total))
    found = [plan for plan in found if plan.peak_bytes < plain.total] or [
        CheckpointPlan(peak_bytes=plain.total, plain_bytes=plain.total)
    ]
    fitting = [plan for plan in found if budget_bytes is not None and plan.peak_bytes <= budget_bytes]
    if fitting:
        return min(fitting, key=lambda plan: (plan.recomputed, plan.peak_bytes))
    return min(found, key=lambda plan: (plan.peak_bytes, plan.recomputed))


@dataclass(frozen=True)
class _Line:
    """The chain with, for each link, the bytes kept inside it and at its entrance, its largest moment, its work.

    `spared` is the work at a link's end that a run which stops there need not do again: after its last kept map.
    `begins` says that a run has to begin there; within dense units one ends at each convolution.
    """

    links: tuple[Link, ...]
    inside: list[int]
    entrance: list[int]
    reach: list[int]
    work: list[int]
    spared: list[int]
    begins: list[bool]

    @classmethod
    def of(cls, architecture: Architecture, batch_size: int, value_bytes: int) -> "_Line":
        links = chain(architecture)
        tape = record(architecture, tuple(Segment((link,)) for link in links), batch_size, value_bytes)
        inside, reach, work, spared = ([0] * len(links) for _ in range(4))
        entrance = [tape.sizes[0], *[0] * len(links)]
        kept = {number for op in tape.ops for number in op.keeps}
        for op in tape.ops:
            size = tape.sizes[op.gives]
            inside[op.step] += op.extra + (size if op.gives in kept else 0)
            entrance[op.step + 1] = size
            reach[op.step] = max(reach[op.step], 3 * size)
            work[op.step] += op.work
            needed = op.gives in op.keeps or op.extra
            spared[op.step] = 0 if needed else op.work if op.keeps else spared[op.step] + op.work
        for place in range(1, len(links)):  # links that give what they are given
            entrance[place] = entrance[place] or entrance[place - 1]
        return cls(links, inside, entrance, reach, work, spared, _begins(links))

    def trials(self) -> Iterator[list[tuple[Link, ...]]]:
        """The best cut of each beginning, in `_TRIALS` steps of equal work."""
        done = list(accumulate(self.work))
        ends = {sum(work <= done[-1] * trial / _TRIALS for work in done) for trial in range(1, _TRIALS + 1)}
        for end in sorted(ends):
            low, high = 0, sum(self.inside) + sum(self.entrance) + max(self.reach)
            best = self._cut(end, high)
            while high - low > max(1, high // 100):
                middle = (low + high) // 2
                cut = self._cut(end, middle)
                low, high = (middle, high) if cut is None else (low, middle)
                best = best if cut is None else cut
            if best is not None:
                yield best

    def share(self, planned: list[tuple[Link, ...]]) -> float:
        """The part of all work that is done twice."""
        place = {link.name: number for number, link in enumerate(self.links)}
        twice = 0
        for run in planned:
            numbers = [place[link.name] for link in run]
            twice += sum(self.work[number] for number in numbers) - self.spared[numbers[-1]]
        return twice / sum(self.work)

    def _cut(self, end: int, limit: int) -> list[tuple[Link, ...]] | None:
        """Runs of the first `end` links, each as long as fits `limit`; None where even the shortest do not."""
        runs, kept, place = [], 0, 0
        while place < end:
            begun, held = place, 0
            kept += self.entrance[place]
            while place < end and (place == begun or not self.begins[place]):
                if kept + held + self.inside[place] + self.reach[place] > limit:
                    break
                held += self.inside[place]
                place += 1
            if place == begun:
                return None
            run = self.links[begun:place]
            if len(run) > 1 or isinstance(run[0].node, Parallel):
                runs.append(run)
            else:
                kept += held
        for number in range(end, len(self.links)):
            kept += self.inside[number]
            if kept + self.reach[number] > limit:
                return None
        return runs


def _begins(links: tuple[Link, ...]) -> list[bool]:
    found, dense = [True], links[0].opens and not links[0].closes
    for before, link in pairwise(links):
        found.append(before.closes or link.opens or (dense and isinstance(before.node, Conv | Linear)))
        dense = (dense or link.opens) and not link.closes
    return found
