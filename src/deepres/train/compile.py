"""How a step is carried out as fast as this machine can: compiled, by our kernels; measured once, remembered."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepres.arch.readings.cost import cost
from deepres.base.errors import InputError
from deepres.base.files import cache_folder, write_atomic
from deepres.base.records import Record, recalled
from deepres.base.wording import duration
from deepres.nn.build import ResidualNetwork
from deepres.nn.environment import hardware
from deepres.nn.hardware import cannot_compile
from deepres.nn.kernels.step import by_kernels, lacks, lacks_norms, version
from deepres.nn.timing import timed, timed_in_turns
from deepres.tasks.losses import Forward
from deepres.train.config import CompileChoice
from deepres.train.precision import Precision
from deepres.train.replay import Capture, as_cuda_graph
from deepres.train.timing import passes

Mode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
Timed = Callable[[Forward], Tensor]

LONG_ENOUGH = {"cpu": 600.0, "cuda": 120.0, "mps": 600.0}
"""Seconds of training below which compiling, which takes about a minute, is not even tried."""

WORTH = 0.97
"""A compiled step has to take at most this share of a plain one's time."""

_LONG_ENOUGH_FOR_KERNELS = 60.0
"""Seconds of training below which our kernels are not tried: two to build them, some steps to time them."""

_SLOWEST = {"cpu": 2e10, "cuda": 2e12}
"""Multiply-adds a second that any such machine does at least: a run that is short at this rate is short."""


class CompileTimes(Record):
    """Seconds of a step, plain and compiled (None: not measured), and the seconds that compiling took.

    `winograd`: of a plain step with convolutions by our kernels; where that is faster, `compiled` is with them.
    """

    plain: float
    winograd: float | None = None
    compiled: float | None = None
    compiling: float = 0.0
    failed: str | None = None

    @property
    def by_winograd(self) -> bool:
        """Whether our kernels of convolutions are worth it."""
        return self.winograd is not None and self.winograd <= WORTH * self.plain

    @property
    def uncompiled(self) -> float:
        """Seconds of a step that is not compiled, by our kernels where they are worth it."""
        return self.winograd if self.winograd is not None and self.by_winograd else self.plain


class CompilePlan(Record):
    """torch.compile's mode, None where nothing is compiled; the choice that led to it, and the reason in short.

    `captured`: the passes of a whole step are one CUDA graph (`train/replay.py`). `winograd`: convolutions by our
    kernels, of 3x3 at stride 1 by Winograd's algorithm; `norms`: the sums of batch norms by our kernels (both in
    `nn/kernels/`); `kernels` names their version.
    """

    choice: CompileChoice = "auto"
    compiled: Mode | None = None
    captured: bool = False
    winograd: bool = False
    norms: bool = False
    kernels: str = ""
    reason: str = ""

    def lacking(self, network: nn.Module, precision: Precision) -> str | None:
        """Why its kernels cannot be had here, None where they can or it has none."""
        asked = [lacks] * self.winograd + [lacks_norms] * self.norms
        found = (why(network, precision.device, precision.dtype) for why in asked)
        return next((reason for reason in found if reason is not None), None)

    def with_kernels_of_here(self) -> Self:
        """The same, by the kernels as they are now."""
        return self.replace(kernels=version(convolutions=self.winograd, norms=self.norms))

    @property
    def capture(self) -> Capture | None:
        """What makes a graph of a step's passes."""
        return as_cuda_graph if self.captured else None

    def forward(self, network: nn.Module) -> Forward:
        """What a training step calls. Evaluation calls the network itself."""
        ours = self.winograd or self.norms
        plain = by_kernels(network, convolutions=self.winograd, norms=self.norms) if ours else network
        if self.compiled is None:
            return plain
        compiled: Forward = torch.compile(plain, mode=None if self.compiled == "default" else self.compiled)
        if self.compiled in ("default", "max-autotune-no-cudagraphs"):
            return compiled

        def replayed(images: Tensor) -> Tensor:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            return compiled(images)

        return replayed

    def __str__(self) -> str:
        graph = ", one CUDA graph each" if self.captured else ""
        by = ", convolutions by our kernels (3x3: Winograd's F(4x4, 3x3))" * self.winograd
        by += ", norms' sums by our kernels" * self.norms
        rounding = "; rounding differs a little"
        if self.compiled is None:
            how = f"plain steps{graph}{f'{by}{rounding}' if by else ''}"
        else:
            how = f"compiled steps ({self.compiled}{graph}{by}{rounding})"
        return f"{how}: {self.reason}"


def choose_compile_mode(
    choice: CompileChoice,
    network: ResidualNetwork,
    precision: Precision,
    batch_size: int,
    steps: int,
    pieces: int = 1,
    about: float | None = None,
    whole: bool = False,
) -> CompilePlan:
    """How `steps` steps should be carried out, each of a forward and backward pass of `batch_size` images.

    On a GPU the passes of a step become one CUDA graph where they can be taken `whole`: by one process, on tensors
    alone. Otherwise PyTorch makes its own of each pass, but where gradients of several `pieces` add up: it gives the
    gradients of one pass' graph back when the next begins (its issue 169545).

    `about` are the seconds of a step, roughly, where they are known: a run that is far too short by them is not timed.

    What is measured is measured on a copy, so the network stays as it is, and is remembered for this machine, torch,
    network, precision and size of batch below `cache_folder()`.
    """
    kind = precision.device.type
    captured = whole and kind == "cuda" and precision.dtype is not torch.float16  # whose scale changes
    mode: Mode = _mode(choice, on_gpu=kind == "cuda", captured=captured, pieces=pieces)
    if choice == "off":
        return CompilePlan(choice=choice, reason="train.compile is off")
    missing = cannot_compile(precision.device)
    if missing is not None:
        return CompilePlan(choice=choice, reason=missing)
    of_network = network, precision.device, precision.dtype
    if choice == "max":
        norms = lacks_norms(*of_network) is None
        plan = CompilePlan(choice=choice, compiled=mode, captured=captured, norms=norms, reason="train.compile is max")
        return plan.with_kernels_of_here()
    macs = 3 * cost(network.description).macs * batch_size
    if macs * steps / _SLOWEST[kind] < LONG_ENOUGH[kind] / 10:
        return CompilePlan(reason="a short run")
    kernels = lacks(*of_network) is None
    enough = _LONG_ENOUGH_FOR_KERNELS if kernels else LONG_ENOUGH[kind]
    if about is not None and about * steps < enough / 2:
        return decide(CompileTimes(plain=about), steps, mode, LONG_ENOUGH[kind], captured)
    place = _place(network, precision, f"{mode}{', captured' * captured}", batch_size)
    description = network.description
    loss = noise_loss(description.input, batch_size, description.num_classes, precision)
    known = recalled(CompileTimes, place)
    if known is None:
        known = _remember(place, CompileTimes(plain=_seconds(network, precision, loss)))
    if kernels and known.winograd is None and known.plain * steps >= enough:
        share = _share(network, precision, loss, CompilePlan(), CompilePlan(winograd=True))[1]
        known = _remember(place, known.replace(winograd=share * known.plain))
    pays = known.plain * steps >= LONG_ENOUGH[kind]
    norms = pays and lacks_norms(*of_network) is None
    if pays and known.compiled is None and known.failed is None:
        try:
            uncompiled = CompilePlan(winograd=known.by_winograd)
            compiled = uncompiled.replace(compiled=mode, captured=captured, norms=norms)
            compiling, share = _share(network, precision, loss, uncompiled, compiled)
            known = known.replace(compiled=share * known.uncompiled, compiling=compiling)
        except Exception as cause:  # the compiler's failures have no common class, and the plain step still works
            known = known.replace(failed=str(cause).strip().splitlines()[0][:200] or type(cause).__name__)
        known = _remember(place, known)
    return decide(known, steps, mode, LONG_ENOUGH[kind], captured, norms)


def _mode(choice: CompileChoice, *, on_gpu: bool, captured: bool, pieces: int) -> Mode:
    if not on_gpu:
        return "default"
    if captured:
        return "max-autotune-no-cudagraphs" if choice == "max" else "default"
    return "default" if pieces > 1 else "max-autotune" if choice == "max" else "reduce-overhead"


def noise_loss(size: tuple[int, int, int], batch_size: int, classes: int, precision: Precision) -> Timed:
    """The forward pass and cross-entropy of a training step on noise, to be timed."""
    images = precision.images(
        torch.randn(batch_size, *size, generator=torch.Generator().manual_seed(0)).to(precision.device)
    )
    labels = torch.arange(batch_size, device=precision.device) % max(1, classes)

    def loss(forward: Forward) -> Tensor:
        with precision.autocast():
            return functional.cross_entropy(forward(images), labels)

    return loss


def decide(
    measured: CompileTimes,
    steps: int,
    mode: Mode,
    long_enough: float,
    captured: bool = False,
    norms: bool = False,
) -> CompilePlan:
    """Compiled, `norms` by our kernels, if the time it saves in `steps` steps exceeds the time that compiling takes."""
    plain = measured.uncompiled
    uncompiled, said = CompilePlan(), ""
    if measured.by_winograd:
        uncompiled = CompilePlan(winograd=True).with_kernels_of_here()
        said = f"a step takes {plain / measured.plain:.2f} of the time with torch's own"

    def stay(why: str) -> CompilePlan:
        return uncompiled.replace(reason=f"{said}; {why}" if said else why)

    whole = measured.plain * steps
    if measured.failed is not None:
        return stay(f"compiling failed ({measured.failed})")
    if measured.compiled is None or whole < long_enough:
        return stay(f"about {duration(plain * steps)} in all, too short for compiling to pay")
    if measured.compiled > WORTH * plain:
        return stay(f"a compiled step takes {measured.compiled / plain:.2f} of a plain one's time")
    if (plain - measured.compiled) * steps < measured.compiling:
        return stay(f"compiling takes {duration(measured.compiling)}, more than it would save")
    share = measured.compiled / measured.plain
    reason = f"a step takes {share:.2f} of a plain one's time"
    return uncompiled.replace(compiled=mode, captured=captured, norms=norms, reason=reason).with_kernels_of_here()


def _seconds(network: ResidualNetwork, precision: Precision, loss: Timed) -> float:
    """Of a plain step: the faster of two after two others."""
    work = passes(network, precision, loss, CompilePlan().forward)
    return min(timed(work, precision.device, float("inf"), calls=4)[2:])


def _share(
    network: ResidualNetwork, precision: Precision, loss: Timed, before: CompilePlan, plan: CompilePlan
) -> tuple[float, float]:
    """Seconds of the first step by `plan`, and what share of the time by `before` a later one takes: the median.

    On a processor the two take turns; on a GPU, whose memory may not hold both, one follows the other.
    """
    device = precision.device
    works = (passes(network, precision, loss, way.forward, way.capture) for way in (before, plan))
    if device.type == "cpu":
        taken = timed_in_turns(list(works), device, calls=7)
    else:
        taken = [timed(work, device, float("inf"), calls=8) for work in works]
    plain, others = (seconds[-5:] for seconds in taken)
    return taken[1][0], median(other / one for one, other in zip(plain, others, strict=True))


def _place(network: ResidualNetwork, precision: Precision, mode: str, batch_size: int) -> Path:
    about = ("in turns", hardware(precision.device), torch.__version__, str(precision), mode, str(batch_size))
    facts = [*about, version(convolutions=True, norms=True), network.description.model_dump_json()]
    return cache_folder() / "steps" / f"{sha256(chr(0).join(facts).encode()).hexdigest()[:24]}.json"


def _remember(place: Path, measured: CompileTimes) -> CompileTimes:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, measured.to_json())
    except (OSError, InputError):  # it will be measured again
        pass
    return measured
