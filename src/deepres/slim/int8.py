"""Candidates in 8 bits: by each runtime that is installed, beside the same network in float32 there."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.events import Doing
from deepres.base.extras import need
from deepres.base.files import digest, make_folder
from deepres.base.wording import counted
from deepres.data.decode import BadImageError
from deepres.data.images import Images
from deepres.data.transforms.per_image import fit
from deepres.export import onnx_file, openvino_folder, quantise
from deepres.export.facts import bundle_of
from deepres.nn.hardware import multiplies_int8
from deepres.predict.exported import onnx_session, openvino_network
from deepres.predict.predictor import Predictor
from deepres.predict.preprocessing import Prepared
from deepres.runs.evaluate import EvaluationSetup, evaluate_network
from deepres.slim.candidates import timed
from deepres.slim.frontier import Candidate
from deepres.slim.gate import compared
from deepres.slim.speed import speed_of
from deepres.slim.subject import Subject
from deepres.slim.work import Work
from deepres.tasks.result import Evaluation
from deepres.tasks.saved import save_predictions
from deepres.train.precision import choose

FEWEST = 100
"""Training images that calibrate, at least: of fewer the ranges are an accident."""
ONNX, OPENVINO = "int8.onnx", "int8-openvino"
"""What the file, or the folder, of each runtime is called."""
PixelsAnswered = Callable[[Tensor], Tensor]
"""Pictures uint8 (N, C, H, W) -> answers (N, K)."""


@dataclass(frozen=True)
class MadeInt8:
    """What a runtime answers with in 8 bits, `file` in the candidate's folder, and in float32."""

    file: Path
    int8: PixelsAnswered
    float32: PixelsAnswered
    layers: tuple[tuple[str, float], ...] = ()


def require_possible(work: Work) -> None:
    """Refuse 8 bits where nothing can write or ask such a file, or too few images calibrate it.

    Raises:
        InputError: another device than the CPU, neither runtime is installed, or fewer than `FEWEST` training images.
    """
    if work.device.type != "cpu":
        raise InputError(f"--int8 on {work.device}: files in 8 bits are for CPUs; wanted --device cpu")
    need("onnx", "--int8")
    need("onnxruntime", "--int8")
    images = len(work.subject.looked_at.images)
    if images < FEWEST:
        raise InputError(
            f"--int8: {counted(images, 'training image')} to calibrate by, wanted {FEWEST} at least; give more, or "
            "leave --int8 out"
        )


def in_8_bits(work: Work, base: Candidate) -> None:
    """Try the network of a candidate in 8 bits, by each runtime that has not been tried."""
    names = {runtime: f"{base.name}-int8-{runtime}" for runtime in RUNTIMES if is_there(runtime)}
    work.tried.extend(names.values())
    left = {runtime: name for runtime, name in names.items() if work.frontier.named(name) is None}
    if not left:
        return
    folder = work.place(base.dropped)
    predictor, pictures = Predictor.load(folder, work.device), calibration(work.subject)
    layers: tuple[tuple[str, float], ...] = ()
    for runtime, name in left.items():
        work.listen()
        work.on_event(Doing(f"{base.what}: int8 by {runtime}"))
        own = work.folder / name
        shutil.rmtree(own, ignore_errors=True)
        make_folder(own)
        made = RUNTIMES[runtime](own, folder, predictor, pictures)
        layers = made.layers or layers  # rounded alike by the others
        evaluation = answered(work, made.file, work.subject.val, "val")
        save_predictions(own / "answers.npz", evaluation, work.subject.val)
        head = evaluation.result.headline
        what = f"{base.what}, int8 by {runtime}"
        size = predictor.network.description.input
        beside = speed_of(_of_pixels(made.int8), _of_pixels(made.float32), size, work.device, work.progress(what))
        one = Candidate(
            name=name,
            dropped=base.dropped,
            epochs=base.epochs,
            precision="int8",
            runtime=runtime,
            file=str(made.file.relative_to(own)),
            sha256=digest(made.file),
            num_bytes=sum(part.stat().st_size for part in own.rglob("*") if part.name != "answers.npz"),
            speed=timed(work, _of_pixels(made.int8), what),
            figure=head.name,
            value=head.value,
            low=head.low,
            high=head.high,
            lower_is_better=head.lower_is_better,
            told=f"{head.text} ({head.interval})" if head.interval else head.text,
            loss=compared(work.place(()), own / "answers.npz"),
            layers=layers[:10],
            times_float32=beside.times,
        )
        if not multiplies_int8():
            work.on_event(
                f"this processor has neither VNNI nor AMX, which multiply 8 bits: int8 by {runtime} answers "
                f"{beside.times:.2f} times as fast as float32 there"
            )
        work.keep(one)


def answered(work: Work, file: Path, images: Images, split: str) -> Evaluation:
    """What an exported file answers to these images."""
    predictor = Predictor.load(file)
    return evaluate_network(
        predictor.network,
        images,
        Prepared(predictor.preparation, predictor.statistics),
        EvaluationSetup(work.subject.run.data, choose("float32", work.device), task=predictor.task.unsettled()),
        split=split,
        on_progress=work.progress(f"{split} images in 8 bits"),
    )


def _onnxruntime(own: Path, weights: Path, predictor: Predictor, pictures: list[Tensor]) -> MadeInt8:
    bundle = bundle_of(predictor, str(weights))
    whole, file = onnx_file.fitted(predictor, bundle), own / ONNX
    eighth = quantise.quantised_model(whole, bundle, pictures)
    onnx_file.write(file, eighth, bundle.replace(precision="int8"))
    layers = tuple(quantise.layer_errors(whole, eighth, pictures[:8]))
    return MadeInt8(
        file, onnx_session.session(file), onnx_session.session_of(whole.SerializeToString(), bundle, ONNX), layers
    )


def _openvino(own: Path, weights: Path, predictor: Predictor, pictures: list[Tensor]) -> MadeInt8:
    bundle = bundle_of(predictor, str(weights))
    model = openvino_folder.converted(onnx_file.fitted(predictor, bundle))
    whole = openvino_network.compiled(model.clone(), bundle, "float32")
    folder = own / OPENVINO
    make_folder(folder)
    openvino_folder.write(folder, openvino_folder.quantised(model, pictures), bundle.replace(precision="int8"))
    return MadeInt8(folder, openvino_network.read(folder), whole)


RUNTIMES: dict[str, Callable[[Path, Path, Predictor, list[Tensor]], MadeInt8]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def is_there(runtime: str) -> bool:
    """Whether all that the runtime needs is installed."""
    wanted = {"onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "nncf", "onnx")}[runtime]
    return all(find_spec(library) is not None for library in wanted)


def calibration(subject: Subject) -> list[Tensor]:
    """The training images that are looked at, as the network's size has them, uint8 (C, H, W).

    Raises:
        InputError: fewer than `FEWEST` of them can be read.
    """
    images, preparation = subject.looked_at.images, subject.predictor.preparation
    found = []
    for index in range(len(images)):
        try:
            found.append(fit(images.image(index), preparation, images.name(index)))
        except BadImageError:
            continue
    if len(found) < FEWEST:
        raise InputError(
            f"--int8: {counted(len(found), 'training image')} to calibrate by can be read, wanted {FEWEST} at least"
        )
    return found


def _of_pixels(asked: PixelsAnswered) -> Callable[[Tensor], Any]:
    """PixelsAnswered of noise in [0, 1], which is made pixels beforehand."""
    made: dict[tuple[int, ...], Tensor] = {}

    def answer(images: Tensor) -> Tensor:
        shape = tuple(images.shape)
        if shape not in made:
            made[shape] = (images * 255).round().to(torch.uint8)
        return asked(made[shape])

    return answer
