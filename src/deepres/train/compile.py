"""How a step is carried out as fast as this machine can: compiled or as it is, measured once and remembered."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Literal

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
from deepres.tasks.losses import Forward
from deepres.train.config import CompileChoice
from deepres.train.precision import Precision
from deepres.train.replay import Capture, as_cuda_graph
from deepres.train.timing import timed_passes

Mode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
Timed = Callable[[Forward], Tensor]

LONG_ENOUGH = {"cpu": 600.0, "cuda": 120.0, "mps": 600.0}
"""Seconds of training below which compiling, which takes about a minute, is not even tried."""

WORTH = 0.97
"""A compiled step has to take at most this share of a plain one's time."""

_SLOWEST = {"cpu": 2e10, "cuda": 2e12}
"""Multiply-adds a second that any such machine does at least: a run that is short at this rate is short."""


class CompileTimes(Record):
    """Seconds of a step, plain and compiled (None: not measured), and the seconds that compiling took."""

    plain: float
    compiled: float | None = None
    compiling: float = 0.0
    failed: str | None = None


class CompilePlan(Record):
    """torch.compile's mode, None where nothing is compiled; the choice that led to it, and the reason in short.

    `captured`: the passes of a whole step are one CUDA graph (`train/replay.py`).
    """

    choice: CompileChoice = "auto"
    compiled: Mode | None = None
    captured: bool = False
    reason: str = ""

    @property
    def capture(self) -> Capture | None:
        """What makes a graph of a step's passes."""
        return as_cuda_graph if self.captured else None

    def forward(self, network: nn.Module) -> Forward:
        """What a training step calls. Evaluation calls the network itself."""
        if self.compiled is None:
            return network
        compiled: Forward = torch.compile(network, mode=None if self.compiled == "default" else self.compiled)
        if self.compiled in ("default", "max-autotune-no-cudagraphs"):
            return compiled

        def replayed(images: Tensor) -> Tensor:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            return compiled(images)

        return replayed

    def __str__(self) -> str:
        graph = ", one CUDA graph each" if self.captured else ""
        plain = f"plain steps{graph}"
        how = plain if self.compiled is None else f"compiled steps ({self.compiled}{graph}; rounding differs a little)"
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
    if choice == "max":
        return CompilePlan(choice=choice, compiled=mode, captured=captured, reason="train.compile is max")
    macs = 3 * cost(network.description).macs * batch_size
    if macs * steps / _SLOWEST[kind] < LONG_ENOUGH[kind] / 10:
        return CompilePlan(reason="a short run")
    if about is not None and about * steps < LONG_ENOUGH[kind] / 2:
        return decide(CompileTimes(plain=about), steps, mode, LONG_ENOUGH[kind], captured)
    place = _place(network, precision, f"{mode}{', captured' * captured}", batch_size)
    description = network.description
    loss = noise_loss(description.input, batch_size, description.num_classes, precision)
    known = recalled(CompileTimes, place)
    if known is None:
        known = CompileTimes(plain=_timed(network, precision, loss, CompilePlan())[1])
        known = _remember(place, known)
    if known.compiled is None and known.failed is None and known.plain * steps >= LONG_ENOUGH[kind]:
        try:
            compiling, compiled = _timed(network, precision, loss, CompilePlan(compiled=mode, captured=captured))
            known = known.replace(compiled=compiled, compiling=compiling)
        except Exception as cause:  # the compiler's failures have no common class, and the plain step still works
            known = known.replace(failed=str(cause).strip().splitlines()[0][:200] or type(cause).__name__)
        known = _remember(place, known)
    return decide(known, steps, mode, LONG_ENOUGH[kind], captured)


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


def decide(measured: CompileTimes, steps: int, mode: Mode, long_enough: float, captured: bool = False) -> CompilePlan:
    """Compiled if the time it saves in `steps` steps exceeds the time that compiling takes."""
    whole = measured.plain * steps
    if measured.failed is not None:
        return CompilePlan(reason=f"compiling failed ({measured.failed})")
    if measured.compiled is None or whole < long_enough:
        return CompilePlan(reason=f"about {duration(whole)} in all, too short for compiling to pay")
    share = measured.compiled / measured.plain
    if share > WORTH:
        return CompilePlan(reason=f"a compiled step takes {share:.2f} of a plain one's time")
    if (measured.plain - measured.compiled) * steps < measured.compiling:
        return CompilePlan(reason=f"compiling takes {duration(measured.compiling)}, more than it would save")
    return CompilePlan(compiled=mode, captured=captured, reason=f"a step takes {share:.2f} of a plain one's time")


def _timed(network: ResidualNetwork, precision: Precision, loss: Timed, plan: CompilePlan) -> tuple[float, float]:
    """Seconds of the first step, and of the fastest of five after two more (captured: with the capture)."""
    seconds = timed_passes(network, precision, loss, plan.forward, calls=8, capture=plan.capture)
    return seconds[0], min(seconds[3:])


def _place(network: ResidualNetwork, precision: Precision, mode: str, batch_size: int) -> Path:
    about = (hardware(precision.device), torch.__version__, str(precision), mode, str(batch_size))
    facts = [*about, network.description.model_dump_json()]
    return cache_folder() / "steps" / f"{sha256(chr(0).join(facts).encode()).hexdigest()[:24]}.json"


def _remember(place: Path, measured: CompileTimes) -> CompileTimes:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, measured.to_json())
    except (OSError, InputError):  # it will be measured again
        pass
    return measured
