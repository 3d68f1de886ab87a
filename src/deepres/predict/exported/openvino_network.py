"""A folder with OpenVINO's model.xml and model.bin: read back, asked on the CPU. Nothing is told to anybody."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepres.base.errors import InputError, RunError
from deepres.base.extras import need
from deepres.base.reading import reading, require_small
from deepres.nn.onnx_graph import IMAGE
from deepres.predict.exported.bundle import Bundle, from_texts
from deepres.predict.exported.names import GRAPH, VALUES, openvino_files
from deepres.predict.exported.saturation import bits_of_first, said

ROOM = "deepres"
"""Below which a model's runtime information has ours."""
_WHAT = "OpenVINO"
_WANTED = "a network that deepres export wrote for OpenVINO"
_REMEDY = "copy or export it again"


@dataclass(frozen=True)
class OpenVinoNetwork:
    """Pictures uint8 (N, C, H, W) -> answers float32 (N, K), by OpenVINO on the CPU.

    `note` is what has to be known of its answers on this machine.
    """

    bundle: Bundle
    threads: int
    _run: Any
    _where: str
    note: str | None = None

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
        return f"{version()}, {self.bundle.precision}"


def read(path: Path, threads: int = 0, *, precision: str = "f32") -> OpenVinoNetwork:
    """The folder, or either of its files, ready to be asked; `threads` 0 is what torch uses.

    `precision` "f32" is what the file says; "bf16" is faster where the processor multiplies it, and answers otherwise.

    Raises:
        InputError: a file is absent or broken, or not ours.
    """
    reader = core(f"asking {path}")
    files = openvino_files(path) or (path / GRAPH, path / VALUES)
    where = str(files[0])
    for file in files:
        if not file.is_file():
            one, other = (each.name for each in files)
            raise InputError(f"{file}: no such file; wanted {one} and {other} as deepres export wrote them")
    require_small(files[0], "description of a network")
    with reading(where, _WANTED, _REMEDY):
        model = reader.read_model(*map(str, files))
        texts = {name: model.get_rt_info([ROOM, name]).astype(str) for name in Bundle.model_fields if _has(model, name)}
        note = said(bits_of_first(model))
    bundle = from_texts(texts, where)
    return replace(compiled(model, bundle, where, threads, precision=precision), note=note)


def compiled(model: Any, bundle: Bundle, where: str, threads: int = 0, *, precision: str = "f32") -> OpenVinoNetwork:
    """The same of a model that was read, or just made."""
    count = threads or torch.get_num_threads()
    with reading(where, _WANTED, _REMEDY):
        run = on_cpu(model, count, precision=precision)
        names = [[name for each in side for name in each.get_names()] for side in (run.inputs, run.outputs)]
    if IMAGE not in names[0] or bundle.answers not in names[1]:
        raise InputError(f"{where}: takes {names[0]} and gives {names[1]}; wanted {IMAGE} and {bundle.answers}")
    return OpenVinoNetwork(bundle, count, run, where)


def on_cpu(model: Any, threads: int, *, precision: str = "f32") -> Any:
    """The model compiled for the processor here, one call at a time."""
    config = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    return core().compile_model(model, "CPU", config)


def core(what: str = _WHAT) -> Any:
    """OpenVINO in this process, one to its end; `what` needs it.

    Of two, whichever ends first may free the stack that the other has signals handled on (base/signal_stack.py).
    """
    return _made(need("openvino", what))


@cache
def _made(openvino: Any) -> Any:
    return openvino.Core()


def version() -> str:
    """`OpenVINO 2026.4.0`."""
    return f"OpenVINO {need('openvino', _WHAT).__version__.partition('-')[0]}"


def _has(model: Any, name: str) -> bool:
    return bool(model.has_rt_info([ROOM, name]))
