"""What was tried: each candidate with its speed and what it loses, which ones are beaten, and the one to take."""

from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue

from deepres.base.errors import RunError
from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.slim.gate import GateVerdict, PairedLoss, refusal
from deepres.slim.speed import Speed

INTACT = "intact"


class Candidate(Record):
    """A network that was tried: which units it lacks, how it is carried out, what it is worth on held-out images.

    `figure` is its task's, with the 95 % interval, as a person reads it in `told`; `num_bytes` those of the file that
    holds it. `layers` are the layers that 8 bits move most, with their errors, `times_float32` how
    many times as fast an image is answered as by the same runtime in float32. `loss` is against the
    intact network, of which it is None.
    """

    name: str
    dropped: tuple[str, ...] = ()
    epochs: int = 0
    precision: Literal["float32", "int8"] = "float32"
    runtime: str = "torch"
    file: str
    sha256: str
    num_bytes: int
    speed: Speed
    figure: str
    value: float
    low: float | None
    high: float | None
    lower_is_better: bool = True
    told: str
    loss: PairedLoss | None = None
    layers: tuple[tuple[str, float], ...] = ()
    times_float32: float | None = None

    @property
    def slower_than_float32(self) -> bool:
        """Whether 8 bits are no gain here: the runtime answers faster with the same network in float32."""
        return self.times_float32 is not None and self.times_float32 < 1

    def verdict(self, allowed: float) -> GateVerdict:
        """What the gate says of it; of the intact network that it passes."""
        return "passed" if self.loss is None else self.loss.verdict(allowed)

    @property
    def what(self) -> str:
        """`2 units out, int8 by openvino`."""
        parts = [f"{counted(len(self.dropped), 'unit')} out"] if self.dropped else []
        parts += [f"int8 by {self.runtime}"] if self.precision == "int8" else []
        return ", ".join(parts) or INTACT


class Frontier(Record):
    """All that was tried of a network, and what was taken, why; `key` is what has to be the same to go on with it.

    `test` is the figure of the chosen one on the test images, which were read once, for it.
    """

    key: dict[str, JsonValue]
    network: str
    images: str
    hardware: str
    threads: int
    versions: dict[str, str]
    command: str
    candidates: tuple[Candidate, ...] = ()
    max_loss: float | None = None
    target_ms: float | None = None
    chosen: str | None = None
    why: str = ""
    test: str = ""

    def named(self, name: str) -> Candidate | None:
        """The candidate of that name, if it has been measured."""
        return next((one for one in self.candidates if one.name == name), None)

    def with_candidate(self, one: Candidate) -> "Frontier":
        """The same with one more."""
        return self.replace(candidates=(*(other for other in self.candidates if other.name != one.name), one))


def dominated(candidates: Sequence[Candidate]) -> frozenset[str]:
    """The names of those that another beats: as fast at batch 1 or faster, losing no more, not alike."""

    def place(one: Candidate) -> tuple[float, float]:
        return one.speed.times, -(0.0 if one.loss is None else one.loss.loss)

    return frozenset(
        one.name
        for one in candidates
        for other in candidates
        if place(other) != place(one)
        and all(theirs >= own for theirs, own in zip(place(other), place(one), strict=True))
    )


def choose(
    frontier: Frontier, among: Sequence[str], target_ms: float | None, *, accept_uncertain: bool
) -> tuple[str, str]:
    """The name of the candidate to take `among` these, and why: of those that lose no more than `max_loss` the fastest,
    with a target the most accurate that is fast enough.

    Raises:
        RunError: none; the line says what the nearest one loses, or how fast it is.
    """
    assert frontier.max_loss is not None
    allowed = frontier.max_loss
    tried = [one for one in frontier.candidates if one.name in among]
    verdicts = {one.name: one.verdict(allowed) for one in tried}
    fitting = {"passed", "not shown"} if accept_uncertain else {"passed"}
    taken = [one for one in tried if verdicts[one.name] in fitting and not one.slower_than_float32]
    fast = [one for one in taken if target_ms is None or one.speed.milliseconds <= target_ms]
    if fast and target_ms is not None:
        best = min(fast, key=lambda one: (_loss(one), one.speed.milliseconds))
        return best.name, f"the one that loses least of {counted(len(fast), 'candidate')} within {target_ms:g} ms"
    if fast:
        best = max(fast, key=lambda one: (one.speed.times, -_loss(one)))
        return best.name, f"the fastest of {counted(len(fast), 'candidate')} that may be taken"
    if taken:
        best = min(taken, key=lambda one: one.speed.milliseconds)
        raise RunError(
            f"{best.speed.milliseconds:.3g} ms an image at batch 1 is the fastest of those that may be taken "
            f"({best.what}), {target_ms:g} ms were wanted, on {frontier.hardware}, "
            f"{counted(frontier.threads, 'thread')}; allow more loss (--max-loss), or more time"
        )
    accurate = [one for one in tried if verdicts[one.name] in fitting]
    raise RunError(_refusal(tried, accurate, allowed))


def _refusal(tried: Sequence[Candidate], accurate: Sequence[Candidate], allowed: float) -> str:
    """What is said where none may be taken: the `accurate` ones are slow."""
    if not accurate:
        uncertain = [one for one in tried if one.verdict(allowed) == "not shown"]
        one = min(uncertain or tried, key=_loss)
        assert one.loss is not None
        return refusal(one.what, one.loss, allowed, one.layers)
    one = max(accurate, key=lambda one: one.times_float32 or 0)
    return (
        f"{one.what}: {one.speed.milliseconds:.3g} ms an image, {one.times_float32 or 1:.2f} times as fast as the same "
        "network in float32 there, so slower; this machine is not built for 8 bits: leave --int8 out"
    )


def _loss(one: Candidate) -> float:
    return 0.0 if one.loss is None else one.loss.loss
