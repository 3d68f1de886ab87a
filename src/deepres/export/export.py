"""A predictor -> a folder that answers without deepres: made, compared on real pictures, then there or not there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.events import Doing
from deepres.base.files import folder_atomic, read_bytes
from deepres.base.records import Record
from deepres.export import browser, onnx_file, openvino_folder, quantise, timm_folder, torch_program
from deepres.export.facts import bundle_of
from deepres.export.parity import FileAnswers, Parity, compared, require_enough
from deepres.export.parity_boxes import compared_boxes
from deepres.nn.weights.files import WEIGHTS
from deepres.nn.weights.formats import CONFIG
from deepres.predict.exported import onnx_session, openvino_network
from deepres.predict.exported import torch_program as programs
from deepres.predict.exported.bundle import Bundle, FilePrecision, Input
from deepres.predict.exported.names import GRAPH, VALUES
from deepres.predict.pictures import Picture
from deepres.predict.predictor import Predictor

PARITY = "parity.json"
Format = Literal["onnx", "openvino", "pt2", "timm", "browser"]
ONNX, PT2 = "model.onnx", "model.pt2"
OWN = {ONNX, PT2, GRAPH, VALUES, WEIGHTS, CONFIG, PARITY, browser.PAGE, browser.LICENSES}
"""What an export writes into its folder."""

LayerErrors = Sequence[tuple[str, float]]
Calibration = Sequence[Tensor]
"""Fitted pictures, uint8 (C, H, W), whose ranges 8 bits are to hold."""


class ExportConfig(Record):
    """What is written: the `format`, and which pictures the file takes (`Bundle.input`).

    `runtime` is the folder of the package that a page for browsers holds (`browser.runtime`).
    """

    format: Format
    input: Input = "image"
    runtime: Path | None = None


@dataclass(frozen=True)
class Made:
    """A network in a format: `save(folder, bundle)` writes its file and tells which, `ask(file)` answers by it."""

    save: Callable[[Path, Bundle], Path]
    ask: Callable[[Path], FileAnswers]
    eighth: "Eighth | None" = None


@dataclass(frozen=True)
class Eighth:
    """What is asked of a network in 8 bits where it is judged.

    `pair()` answers fitted pictures in float32 and in 8 bits, `layers()` are those that 8 bits have moved, by name, the
    worst first.
    """

    pair: Callable[[], tuple[FileAnswers, FileAnswers]]
    layers: Callable[[], LayerErrors] = tuple


@dataclass(frozen=True)
class Quantising:
    """`calibration` says which values occur; `judge(file, eighth)` refuses what has lost too much, or is slow."""

    calibration: Calibration
    judge: Callable[[Path, Eighth], None]


@dataclass(frozen=True)
class Exported:
    """The file, what it says of itself, and how it compares (None: nobody looked)."""

    file: Path
    bundle: Bundle
    parity: Parity | None

    def __fspath__(self) -> str:
        return str(self.file)

    def __str__(self) -> str:
        told = "unchecked" if self.parity is None else str(self.parity)
        return f"{self.file}: {self.bundle.network}, takes {self.bundle.taken}; {told}"


def _unheard(event: object) -> None:
    pass


def export(
    predictor: Predictor,
    weights: str,
    output: Path,
    config: ExportConfig,
    pictures: Sequence[Picture] | None,
    *,
    int8: Quantising | None = None,
    on_event: Callable[[Any], None] = _unheard,
) -> Exported:
    """Write the folder `output`: the file and `parity.json`, both or neither; one that is there is replaced.

    `weights` is the path or name that the predictor was loaded from; `pictures` are compared, None: nothing is. With
    `int8` the network is in 8 bits, and its `judge`, in place of the limits of float32, says whether that may be.

    Raises:
        InputError: what this network and this format cannot be; too few pictures. RunError: the file answers otherwise.
    """
    precision: FilePrecision = "float32" if int8 is None else "int8"
    require_possible(predictor, weights, config, int8=int8 is not None)
    boxes = predictor.task.form == "boxes"
    runtime = browser.runtime(config.runtime) if config.format == "browser" else None
    given: Input = "fitted" if config.format == "timm" else config.input
    bundle = bundle_of(predictor, weights, input=given, precision=precision)
    if pictures is not None:
        require_enough(len(pictures))
    on_event(Doing(f"writing {config.format}"))
    calibration = () if int8 is None else int8.calibration
    if runtime is None:
        made = _MAKERS[config.format](predictor, bundle, calibration)
    else:
        made = _page(predictor, bundle, calibration, runtime)
    parity = None
    with folder_atomic(output) as folder:
        file = made.save(folder, bundle)
        if pictures is not None:
            asked = made.ask(file)
            count = lambda done, total: on_event(Doing("images compared", done, total))  # noqa: E731
            if boxes:
                parity = compared_boxes(predictor, asked.outputs, pictures, bundle, on_progress=count)  # type: ignore[attr-defined]
            else:
                parity = compared(predictor, asked, pictures, bundle, on_progress=count)
            if int8 is None:
                parity.require_small(f"{config.format} of {weights}")
            else:
                assert made.eighth is not None
                int8.judge(file, made.eighth)
            parity.save(folder / PARITY)
            bundle = bundle.replace(parity=str(parity))
            file = made.save(folder, bundle)
    return Exported(output / file.name, bundle, parity)


def require_possible(predictor: Predictor, weights: str, config: ExportConfig, *, int8: bool) -> None:
    """Refuse what does not go together, before pictures are read and anything is written.

    Raises:
        InputError: what this network and this format cannot be.
    """
    if predictor.task.form == "boxes" and (config.format not in ("onnx", "pt2") or config.input != "fitted" or int8):
        raise InputError(
            f"{weights}: finds boxes, and detectors are exported as onnx or pt2, in float32, of pictures that are "
            "resized before; wanted --format onnx --input fitted"
        )
    if int8 and config.format not in ("onnx", "openvino", "browser"):
        raise InputError(f"--int8 with --format {config.format}: is for onnx, openvino and browser; leave it out")
    if config.runtime is not None and config.format != "browser":
        raise InputError(f"--runtime with --format {config.format}: is for browser; leave it out")
    if config.format == "browser" and config.input == "fitted":
        raise InputError("--input fitted with --format browser: a page gets photos of any size; leave it out")
    if config.format == "timm":
        timm_folder.require_known(predictor)


def require_free(output: Path, *, overwrite: bool) -> None:
    """Refuse a place where something is that no export wrote, or, without `overwrite`, anything.

    Raises:
        InputError: there is.
    """
    if not output.exists() and not output.is_symlink():
        return
    if not overwrite:
        raise InputError(f"--output {output}: is there already; choose another folder, or add --overwrite")
    if not output.is_dir() or output.is_symlink():
        raise InputError(f"--output {output}: is no folder; choose another place")
    strange = sorted({entry.name for entry in output.iterdir()} - OWN)
    if strange:
        raise InputError(f"--output {output}: holds {strange[0]}, which no export wrote; choose another folder")


def _onnx(predictor: Predictor, bundle: Bundle, calibration: Calibration) -> Made:
    whole = onnx_file.fitted(predictor, bundle)
    eighth = quantise.quantised_model(whole, bundle, calibration) if bundle.precision == "int8" else whole
    model = onnx_file.fitting(eighth, predictor.preparation, bundle)

    def save(folder: Path, bundle: Bundle) -> Path:
        onnx_file.write(folder / ONNX, model, bundle)
        return folder / ONNX

    def pair() -> tuple[FileAnswers, FileAnswers]:
        one, other = (onnx_session.session_of(each.SerializeToString(), bundle, ONNX) for each in (whole, eighth))
        return one, other

    return Made(save, onnx_session.session, Eighth(pair, lambda: quantise.layer_errors(whole, eighth, calibration[:8])))


def _openvino(predictor: Predictor, bundle: Bundle, calibration: Calibration) -> Made:
    proto = onnx_file.fitted(predictor, bundle)
    network = openvino_folder.converted(proto)
    if bundle.precision == "int8":
        network = openvino_folder.quantised(network, calibration)

    def pair() -> tuple[FileAnswers, FileAnswers]:
        models = (openvino_folder.converted(proto), network)
        one, other = (openvino_network.compiled(each, bundle, GRAPH) for each in models)
        return one, other

    def save(folder: Path, bundle: Bundle) -> Path:
        model = network
        if bundle.any_size:
            fit = openvino_folder.converted(onnx_file.fit_alone(predictor.preparation, bundle))
            model = openvino_folder.after(fit, network.clone())
        return openvino_folder.write(folder, model, bundle)

    return Made(save, openvino_network.read, Eighth(pair))


def _page(predictor: Predictor, bundle: Bundle, calibration: Calibration, runtime: browser.Runtime) -> Made:
    """The page's network is compared where it stands, by onnxruntime; how the browser's computes is the browser's."""
    made = _onnx(predictor, bundle, calibration)

    def save(folder: Path, bundle: Bundle) -> Path:
        file = made.save(folder, bundle)
        network = read_bytes(file)
        file.unlink()
        return browser.write(folder, network, bundle, runtime)

    return replace(made, save=save, ask=lambda file: browser.session(file))


def _pt2(predictor: Predictor, bundle: Bundle, _: Calibration) -> Made:
    found = torch_program.program(predictor, bundle)

    def save(folder: Path, bundle: Bundle) -> Path:
        torch_program.write(folder / PT2, found, bundle)
        return folder / PT2

    return Made(save, programs.read)


def _timm(predictor: Predictor, _: Bundle, calibration: Calibration) -> Made:
    assert not calibration
    return Made(
        lambda folder, bundle: timm_folder.write(folder, predictor, bundle),
        lambda file: timm_folder.read(file, predictor),
    )


_MAKERS: dict[Format, Callable[[Predictor, Bundle, Calibration], Made]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "pt2": _pt2,
    "timm": _timm,
}
