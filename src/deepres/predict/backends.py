"""Other runtimes in torch's place: made of a network, compared with it, timed once here; the fastest answers.

OpenVINO computes in float32 or bfloat16, onnxruntime in float32. They give the features; the classifier and the second
answer to close calls are torch's in float32, so that the promise of a precision is kept as torch keeps it
(`nn/inference.py`). They answer on the CPU, pictures of one size, one class an image or any other task but boxes.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.base.extras import need, quiet
from deepres.base.files import cache_folder
from deepres.base.records import Record, recalled
from deepres.base.wording import counted
from deepres.nn.build import ResidualNetwork
from deepres.nn.environment import hardware
from deepres.nn.hardware import multiplies_bfloat16
from deepres.nn.inference import Inference, InferencePrecision, classifier_of, for_inference, judged
from deepres.nn.onnx_graph import BATCH, IMAGE, traced
from deepres.nn.timing import timed, timed_in_turns
from deepres.predict.exported import onnx_session, openvino_network

Backend = Literal["auto", "torch", "openvino", "onnxruntime"]
OTHERS: tuple[Backend, ...] = ("openvino", "onnxruntime")
_NEEDED = {"openvino": ("openvino", "onnx", "onnxscript"), "onnxruntime": ("onnxruntime", "onnx", "onnxscript")}

TIMED = 16
"""Images of a batch that is timed."""
TRYING_SECONDS = 20.0
"""What trying others is taken to cost where nobody has: with less to gain it is not tried. Ours; a ResNet-50 takes 20 s
to become a graph, be compiled twice and timed, on one thread."""
TIMES = 2.0
"""What others are taken to bring until they are timed."""
FAR = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""By which a runtime may differ from torch's float32 in an answer (a probability, or a share of its scale) before it is
no runtime to trust: rounding moves the last digits, bfloat16 some hundredths, of noise some more."""

Heard = Callable[[str], object]


class BackendTime(Record):
    """Seconds until a back end could answer, and those of `TIMED` images; or why it does not."""

    ready: float = 0.0
    batch: float = 0.0
    failed: str | None = None


class BackendTimes(Record):
    """What was measured of each, by name; `torch` among them."""

    seconds: dict[str, BackendTime]

    def for_images(self, images: int) -> list[tuple[float, str]]:
        """Seconds that so many images take by each that answers, the fastest first."""
        found = [
            (each.ready + images / TIMED * each.batch, name) for name, each in self.seconds.items() if not each.failed
        ]
        return sorted(found)


@dataclass(frozen=True)
class Question:
    """What is to be answered: by this `network`, of `task`, so many `images` of one `size`, in a `precision`.

    `plain` answers a batch as torch would, in about `seconds()` an image; `verb` is what asks, for torch answers
    predict and eval in ways of their own.
    """

    network: ResidualNetwork
    task: Any
    size: tuple[int, int, int]
    images: int
    precision: InferencePrecision
    plain: Callable[[Tensor], Any]
    verb: str
    seconds: Callable[[], float]

    @property
    def dtype(self) -> torch.dtype:
        """What OpenVINO computes in."""
        if "bfloat16 with close calls" not in self.task.tools or self.precision == "float32":
            return torch.float32
        fast = self.precision == "bfloat16" or multiplies_bfloat16(torch.device("cpu"))
        return torch.bfloat16 if fast else torch.float32

    def dtype_of(self, backend: Backend) -> torch.dtype:
        """What that runtime computes in.

        Raises:
            InputError: another precision is asked for than it has.
        """
        if backend == "openvino":
            return self.dtype
        if self.precision == "bfloat16" and self.dtype is torch.bfloat16:
            raise InputError(
                "--backend onnxruntime with --precision bfloat16: it computes in float32 on a CPU; leave one out"
            )
        return torch.float32

    @property
    def may_answer(self) -> list[Backend]:
        """Those that are installed and keep what the precision promises."""
        kept = [each for each in OTHERS if each == "openvino" or self.precision != "bfloat16"]
        return [each for each in kept if all(find_spec(library) is not None for library in _NEEDED[each])]


def answering(question: Question, backend: Backend, say: Heard) -> tuple[Backend, Inference] | None:
    """What answers in torch's place, and its name: the one asked for, with "auto" the fastest here; None: torch.

    What was measured is remembered for this machine, its versions, network and precision below `cache_folder()`.

    Raises:
        InputError: the one asked for is not installed, has no such precision, or answers otherwise than torch.
    """
    if backend == "torch":
        return None
    if backend != "auto":
        for library in _NEEDED[backend]:
            need(library, f"--backend {backend}")
        return backend, made(question, backend)
    if not (others := question.may_answer):
        return None
    place = _place(question)
    known, ready = recalled(BackendTimes, place), dict[str, Inference]()
    if known is None:
        if not trying_pays(question.images, question.seconds()):
            return None
        known = _tried(question, others, ready)
        with suppress(OSError, InputError):  # it will be measured again
            place.parent.mkdir(parents=True, exist_ok=True)
            known.save(place)
    ranked = [(seconds, name) for seconds, name in known.for_images(question.images) if name in ("torch", *others)]
    best: Any = ranked[0][1] if ranked else "torch"
    told = ", ".join(f"{name} {seconds:.3g} s" for seconds, name in ranked)
    say(f"answered by {best}: {counted(question.images, 'image')} take {told}; measured once, kept in {place}")
    try:
        return None if best == "torch" else (best, ready.get(best) or made(question, best))
    except InputError as refusal:  # of these weights; those that were measured were others
        say(f"answered by torch: {refusal.message}")
        return None


def made(question: Question, backend: Backend) -> Inference:
    """The network as that runtime answers it, compared with torch on a batch of noise.

    Raises:
        InputError: it answers otherwise.
    """
    dtype = question.dtype_of(backend)
    plain = for_inference(question.network, "cpu", precision="float32", compiled="no", close_calls=False)
    example = torch.zeros(2, *question.size)
    model = traced(_Features(plain.network), example, "features", {0: BATCH}).SerializeToString()
    threads = torch.get_num_threads()
    if backend == "openvino":
        name, run = openvino_network.version(), _openvino(model, threads, dtype)
    else:
        name, run = onnx_session.version(), _onnxruntime(model, threads)
    exact = plain.network if dtype is not torch.float32 and plain.network.num_classes > 1 else None
    forward = _ByRuntime(plain, run, question.size[1:])
    found = Inference(plain.network, torch.device("cpu"), dtype, False, exact, forward, [], runtime=name)
    _require_alike(question, plain, found)
    return found


class InPlace(nn.Module):
    """A runtime in the place of `network`, which goes on telling of itself: images (N, C, H, W) -> outputs."""

    def __init__(self, network: ResidualNetwork, inference: Inference) -> None:
        super().__init__()
        self.asked = (network, inference)  # in a tuple, so that what moves or casts modules moves neither
        self.description, self.num_classes = network.description, network.num_classes
        self.head_names = network.head_names

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return self.asked[1](images.float())

    def __str__(self) -> str:
        return str(self.asked[1])


class _Features(nn.Module):
    """What a network's classifier is given."""

    def __init__(self, network: ResidualNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network.forward_head(self.network.forward_features(images), pre_logits=True)
        return features


class _ByRuntime(nn.Module):
    """Logits and distances from a border, of features that a runtime gives; of images of other sizes torch does."""

    def __init__(self, plain: Inference, features: Callable[[Any], Any], size: tuple[int, ...]) -> None:
        super().__init__()
        self.plain, self.features, self.size = plain, features, size
        self.classifier = classifier_of(plain.network)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if tuple(images.shape[-2:]) != self.size:
            return self.plain.quickly(images)
        return judged(torch.from_numpy(self.features(images.contiguous().numpy())), self.classifier)


def _openvino(model: bytes, threads: int, dtype: torch.dtype) -> Callable[[Any], Any]:
    read = openvino_network.core("--backend openvino").read_model
    precision = "bf16" if dtype is torch.bfloat16 else "f32"
    run = openvino_network.on_cpu(read(model), threads, precision=precision)
    return lambda images: run({IMAGE: images})[0].copy()


def _onnxruntime(model: bytes, threads: int) -> Callable[[Any], Any]:
    run = onnx_session.on_cpu(model, threads)
    return lambda images: run.run(None, {IMAGE: images})[0]


def _require_alike(question: Question, plain: Inference, found: Inference) -> None:
    """Refuse a runtime that answers otherwise than torch."""
    noise = _noise(question, 4)
    wanted, given = (question.task.activated(each(noise)).double() for each in (plain, found))
    scale = 1.0 if question.task.form in ("class", "classes") else 1 + float(wanted.abs().max())
    apart = float((wanted - given).abs().max()) / scale
    if not apart <= FAR[found.dtype]:
        raise InputError(
            f"{question.network.description.name} by {found.runtime}: answers {apart:.2g} away from torch's, which is "
            "more than rounding; wanted --backend torch"
        )


def trying_pays(images: int, seconds: float) -> bool:
    """Whether so many images, at so many seconds each, gain more by others than trying those takes."""
    return images * seconds * (1 - 1 / TIMES) >= TRYING_SECONDS


def _tried(question: Question, others: list[Backend], made_ready: dict[str, Inference]) -> BackendTimes:
    """What each takes; those that answer are put into `made_ready`."""
    batch = _noise(question, TIMED)
    seconds, ready = dict[str, BackendTime](), {"torch": 0.0}
    answers: list[Callable[[Tensor], Any]] = [question.plain]
    for name in others:
        began = perf_counter()
        try:
            with quiet():
                answer = made(question, name)
        except Exception as cause:  # of libraries that are not ours; torch still answers
            seconds[name] = BackendTime(failed=(str(cause).strip().splitlines() or [type(cause).__name__])[0][:200])
        else:
            ready[name], made_ready[name] = perf_counter() - began, answer
            answers.append(answer)
    for (answered, before), taken in zip(ready.items(), in_turns(answers, batch), strict=True):
        seconds[answered] = BackendTime(ready=before, batch=taken)
    return BackendTimes(seconds=seconds)


@torch.inference_mode()
def in_turns(answers: Sequence[Callable[[Tensor], Any]], batch: Tensor) -> list[float]:
    """Seconds of each: the median of three calls after one more, all of them in turns."""
    taken = timed_in_turns([partial(answer, batch) for answer in answers], torch.device("cpu"), calls=4)
    return [median(seconds[1:]) for seconds in taken]


@torch.inference_mode()
def seconds_of(answer: Callable[[Tensor], Any], batch: Tensor) -> float:
    """Of the second call, roughly what each takes."""
    return timed(partial(answer, batch), torch.device("cpu"), 0.0)[1]


def _noise(question: Question, images: int) -> Tensor:
    return torch.randn(images, *question.size, generator=torch.Generator().manual_seed(0))


def _place(question: Question) -> Path:
    versions = [f"{name} {version(name)}" for name in question.may_answer]
    about = ["in turns", hardware(torch.device("cpu")), str(torch.get_num_threads()), torch.__version__, *versions]
    about += [question.verb, question.precision, str(question.dtype), str(question.size)]
    facts = [*about, question.network.description.model_dump_json()]
    return cache_folder() / "backends" / f"{sha256(chr(0).join(facts).encode()).hexdigest()[:24]}.json"
