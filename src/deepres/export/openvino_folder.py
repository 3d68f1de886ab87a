"""A folder with OpenVINO's model.xml and model.bin: written through ONNX, read back, asked on the CPU; int8 by NNCF.

Nothing is told to anybody: OpenVINO reads ONNX without its converter, and NNCF is told to send no telemetry.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepres.base.errors import InputError, RunError
from deepres.base.reading import reading, require_small
from deepres.export.bundle import Bundle, from_texts
from deepres.export.extras import need, quiet
from deepres.export.onnx_graph import IMAGE

XML, BIN = "model.xml", "model.bin"
_WHAT = "OpenVINO"
_ROOM = "deepres"
_WANTED = "a network that deepres export wrote for OpenVINO"
_REMEDY = "copy or export it again"


def converted(model: Any) -> Any:
    """An ONNX model (a ModelProto) as OpenVINO's."""
    openvino = need("openvino", _WHAT)
    return openvino.Core().read_model(model.SerializeToString())


def write(folder: Path, model: Any, bundle: Bundle) -> Path:
    """Write both files, weights in the precision that they have, and give that of the graph."""
    openvino = need("openvino", _WHAT)
    for key, text in bundle.to_texts().items():
        model.set_rt_info(text, [_ROOM, key])
    openvino.save_model(model, str(folder / XML), compress_to_fp16=False)
    return folder / XML


@dataclass(frozen=True)
class OpenVinoNetwork:
    """Pictures uint8 (N, C, H, W) -> answers float32 (N, K), by OpenVINO on the CPU."""

    bundle: Bundle
    threads: int
    _run: Any
    _where: str

    def __call__(self, images: Tensor) -> Tensor:
        with reading(self._where, "a network that answers these pictures", _REMEDY):
            found = self._run({IMAGE: images.cpu().contiguous().numpy()})[0]
        answers = torch.from_numpy(found.copy())
        if tuple(answers.shape) != (len(images), len(self.bundle.names)):
            raise InputError(f"{self._where}: answers of another shape than {len(self.bundle.names)} names; {_REMEDY}")
        if not bool(answers.isfinite().all()):
            raise RunError(f"{self._where}: answers that are not finite; the weights are broken")
        return answers.float()

    def __str__(self) -> str:
        version = need("openvino", _WHAT).__version__.partition("-")[0]
        return f"OpenVINO {version}, {self.bundle.precision}"


def read(path: Path, threads: int = 0, *, precision: str = "f32") -> OpenVinoNetwork:
    """The folder, or its model.xml, ready to be asked; `threads` 0 is what torch uses.

    `precision` "f32" is what the file says; "bf16" is faster where the processor multiplies it, and answers otherwise.

    Raises:
        InputError: a file is absent or broken, or not ours.
    """
    openvino = need("openvino", f"asking {path}")
    folder = path if path.is_dir() else path.parent
    where, core = str(folder / XML), openvino.Core()
    for name in (XML, BIN):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: no such file; wanted {XML} and {BIN} as deepres export wrote them")
    require_small(folder / XML, "description of a network")
    with reading(where, _WANTED, _REMEDY):
        model = core.read_model(str(folder / XML), str(folder / BIN))
        texts = {
            name: model.get_rt_info([_ROOM, name]).astype(str) for name in Bundle.model_fields if _has(model, name)
        }
    bundle = from_texts(texts, where)
    return compiled(model, bundle, where, threads, precision=precision)


def compiled(model: Any, bundle: Bundle, where: str, threads: int = 0, *, precision: str = "f32") -> OpenVinoNetwork:
    """The same of a model that was read, or just made."""
    openvino = need("openvino", _WHAT)
    count = threads or torch.get_num_threads()
    config = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": count, "NUM_STREAMS": 1}
    with reading(where, _WANTED, _REMEDY):
        run = openvino.Core().compile_model(model, "CPU", config)
        names = [[name for each in side for name in each.get_names()] for side in (run.inputs, run.outputs)]
    if IMAGE not in names[0] or bundle.answers not in names[1]:
        raise InputError(f"{where}: takes {names[0]} and gives {names[1]}; wanted {IMAGE} and {bundle.answers}")
    return OpenVinoNetwork(bundle, count, run, where)


def quantised(model: Any, images: Sequence[Tensor]) -> Any:
    """A float32 model of fitted pictures in 8 bits, per channel, by NNCF; `images` uint8 (C, H, W) calibrate it."""
    os.environ.setdefault("NNCF_CI", "1")  # no telemetry
    nncf = need("nncf", "int8 for OpenVINO")
    if not images:
        raise InputError("calibration: no pictures, so that ranges are not known; give 100 at least")
    dataset = nncf.Dataset(list(images), lambda image: {IMAGE: image[None].numpy()})
    with quiet():
        return nncf.quantize(model, dataset, subset_size=len(images))


def after(first: Any, second: Any) -> Any:
    """One model: what `first` gives is the picture that `second` takes."""
    openvino = need("openvino", _WHAT)
    (taken,) = second.get_parameters()
    (given,) = first.get_results()
    taken.output(0).replace(given.input_value(0))
    return openvino.Model(second.get_results(), first.get_parameters(), "deepres")


def _has(model: Any, name: str) -> bool:
    return bool(model.has_rt_info([_ROOM, name]))
