"""A reading: the memory of a training step, by playing the step through with sizes in place of tensors."""

from collections import Counter
from dataclasses import dataclass
from math import ceil

from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Identity
from deepres.arch.detector import Description, Detector
from deepres.arch.readings.cost import cost, cost_at
from deepres.arch.readings.segments import CheckpointPlan, segments
from deepres.arch.readings.tape import Op, Tape, record


@dataclass(frozen=True)
class StepMemory:
    """Bytes of one training step with momentum: what is there always, and what grows with the batch.

    weights    parameters and buffers, twice where the weights are averaged
    gradients  of all parameters; complete when the activations are gone, so the two do not add up
    saved      activations that the backward pass needs, the input among them, at the end of the forward pass
    transient  what the largest moment of the step has beyond weights, momentum and saved
    """

    weights: int
    gradients: int
    momentum: int
    saved: int
    transient: int

    @property
    def total(self) -> int:
        """The peak: weights + momentum + the larger of (saved + transient) and gradients."""
        return self.weights + self.momentum + max(self.saved + self.transient, self.gradients)


def step_memory(
    architecture: Description,
    batch_size: int,
    value_bytes: int = 4,
    plan: CheckpointPlan | None = None,
    averaged: bool = False,
) -> StepMemory:
    """The memory of a training step, under a plan if wanted; `averaged` says that an average of the weights is kept.

    `value_bytes` is what one activation takes (4: float32; 2: bfloat16, where convolutions keep a copy of their
    weights too). What is kept is what PyTorch's autograd keeps on a CPU: a convolution, a norm and a linear layer
    their input, a ReLU its output, max pooling its input and an 8-byte index for each output, dropout its mask, a
    product its factors; a tensor kept by two is counted once. Workspaces inside a kernel are not counted.
    Of a detector what is kept of the body all counts as if all of it learnt, of its parts that are computed for each
    region for as many as are learnt from; its weights once more, with the norms that they take up; where regions are
    pooled, four places and weights for each sample; and two maps for each layer of the neck and the heads.
    """
    whole = cost(architecture)
    parameters = 4 * whole.parameters
    weights = (parameters + 4 * whole.buffers) * (2 if averaged else 1)
    if isinstance(architecture, Detector):
        saved, transient = _of_detector(architecture, batch_size, value_bytes)
        return StepMemory(weights, parameters, parameters, saved, transient)
    saved, peak = play(record(architecture, segments(architecture, plan), batch_size, value_bytes))
    return StepMemory(weights, parameters, parameters, saved, peak - saved)


def _of_detector(detector: Detector, batch_size: int, value_bytes: int) -> tuple[int, int]:
    """Bytes that are kept, and what the largest moment has beyond them."""
    channels, pool, sampled = detector.levels[0][0], detector.regions.pool, detector.regions.sampled
    bodies = [(detector.input, detector.shared, batch_size)]
    if detector.per_region:
        bodies.append(((channels, pool, pool), detector.per_region, batch_size * sampled))
    samples = batch_size * sampled * (pool * (detector.regions.samples or _ADAPTIVE)) ** 2
    saved, transient = 2 * batch_size * value_bytes * _behind(detector) + samples * _SAMPLE, 0
    for given, body, number in bodies:
        network = Architecture(name=detector.name, input=given, body=body, head=Identity())
        kept, peak = play(record(network, segments(network, None), number, value_bytes))
        saved += kept + 4 * cost(network).parameters
        transient = max(transient, peak - kept)
    return saved, transient


_SAMPLE = 4 * (8 + 4)
"""Bytes of a sample within a region: of each corner of its cell the place, int64, and the weight."""
_ADAPTIVE = 2  # samples a side of a bin, about, where there are as many as cells


def _behind(detector: Detector) -> int:
    """Values that leave the layers of a detector's neck and heads, in a training step of one picture."""
    body = {name for name, _ in detector.body}
    sampled = detector.regions.sampled
    places = [place for place in detector.places if place.name not in body]
    learnt = ceil(sampled * detector.regions.positive_share)  # of which masks are learnt
    found = 0
    for one in places:
        number = learnt if one.name.startswith("masks.") else sampled
        found += cost_at(one if one.times == 1 else one._replace(times=number, each=())).activations
    return found


def answer_memory(architecture: Architecture, batch_size: int, value_bytes: int = 4) -> int:
    """Bytes of the weights and of the maps at the largest moment of a forward pass that keeps nothing for later."""
    whole = cost(architecture)
    tape = record(architecture, segments(architecture, None), batch_size, value_bytes)
    last = {number: place for place, op in enumerate(tape.ops) for number in op.given}
    live = {0: tape.sizes[0]}
    peak = tape.sizes[0]
    for place, op in enumerate(tape.ops):
        live[op.gives] = tape.held(op.gives)
        peak = max(peak, sum(live.values()))
        live = {number: size for number, size in live.items() if not number or last.get(number, 0) > place}
    return value_bytes * (whole.parameters + whole.buffers) + peak


def play(tape: Tape) -> tuple[int, int]:
    """Bytes of maps and gradients at the end of the forward pass, and at the largest moment of the step."""
    player = _Player(tape)
    player.forward()
    saved = player.live
    player.backward()
    return saved, player.peak


class _Player:
    """What is alive at each moment of a step."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.present = {0}
        self.live = self.peak = tape.sizes[0]
        self.holders: Counter[int] = Counter({0: 1})  # the caller has the batch throughout
        self.ranges: dict[int, list[int]] = {}
        for place, op in enumerate(tape.ops):
            self.ranges.setdefault(op.step, []).append(place)
        self.outside = {
            number: self._outside(places) for number, places in self.ranges.items() if tape.steps[number].again
        }

    def forward(self) -> None:
        last = {number: place for place, op in enumerate(self.tape.ops) for number in op.given}
        for place, op in enumerate(self.tape.ops):
            again = self.tape.steps[op.step].again
            if again and place == self.ranges[op.step][0]:
                self.holders.update(self.outside[op.step])
            self._make(op, keep=not again)
            for number in {*op.given, op.gives}:
                if last.get(number, place) <= place and number != self.tape.ops[-1].gives:
                    self._drop(number)

    def backward(self) -> None:
        tape = self.tape
        gradients: dict[int, list[int]] = {}  # map -> [bytes, how many share them]
        self._deliver(gradients, tape.ops[-1].gives, [tape.sizes[tape.ops[-1].gives], 0])
        learnt = {0}  # no gradient goes to the input, nor to its copy in another precision
        learnt |= {op.gives for op in tape.ops[:1] if not (op.keeps or op.work)}
        for step in sorted(self.ranges, reverse=True):
            again = tape.steps[step].again
            if again:
                self._recompute(self.ranges[step])
            for place in reversed(self.ranges[step]):
                op = tape.ops[place]
                arrived = gradients.pop(op.gives, None)
                if arrived is not None:
                    for number in op.given:
                        if number not in learnt:
                            share = arrived if op.passes else [tape.sizes[number], 0]
                            self._deliver(gradients, number, share)
                    self._grow(op.gradients)
                    self._unshare(arrived)
                self.live -= op.extra
                self._release(op.keeps)
            if again:
                self._release(self.outside[step])

    def _outside(self, places: list[int]) -> tuple[int, ...]:
        """The maps that a step is given from before it."""
        inside = {self.tape.ops[place].gives for place in places}
        return tuple({n: 0 for place in places for n in self.tape.ops[place].given if n not in inside})

    def _make(self, op: Op, keep: bool) -> None:
        if op.gives not in self.present:
            self.present.add(op.gives)
            self._grow(self.tape.held(op.gives))
        self._grow(op.extra)
        if keep:
            self.holders.update(op.keeps)
        else:
            self.live -= op.extra

    def _recompute(self, places: list[int]) -> None:
        ops = [self.tape.ops[place] for place in places]
        keeping = [place for place, op in enumerate(ops) if op.keeps or op.extra]
        stop = keeping[-1] if keeping else -1  # what comes after the last map that is kept is not computed
        last = {number: place for place, op in enumerate(ops) for number in op.given}
        for place, op in enumerate(ops):
            if place > stop or (place == stop and op.gives not in op.keeps):
                self.holders.update(op.keeps)
                self._grow(op.extra)
            else:
                self._make(op, keep=True)
            for number in {*op.given, op.gives}:
                if last.get(number, place) <= place:
                    self._drop(number)

    def _grow(self, size: int) -> None:
        self.live += size
        self.peak = max(self.peak, self.live)

    def _drop(self, number: int) -> None:
        if not self.holders[number] and number in self.present:
            self.present.remove(number)
            self.live -= self.tape.held(number)

    def _release(self, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            self.holders[number] -= 1
            self._drop(number)

    def _deliver(self, gradients: dict[int, list[int]], number: int, share: list[int]) -> None:
        """A gradient arrives at a map; a second one makes a sum, a third tensor, before both are gone."""
        if not share[1]:
            self._grow(share[0])
        share[1] += 1
        before = gradients.get(number)
        if before is not None:
            total = [self.tape.sizes[number], 1]
            self._grow(total[0])
            self._unshare(before)
            self._unshare(share)
            share = total
        gradients[number] = share

    def _unshare(self, share: list[int]) -> None:
        share[1] -= 1
        if share[1] <= 0:
            self.live -= share[0]
