"""An .onnx file: read as if by an enemy's hand, asked by onnxruntime."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepres.base.errors import InputError, RunError
from deepres.base.extras import need
from deepres.base.files import open_regular
from deepres.base.reading import reading, require_small
from deepres.nn.onnx_graph import IMAGE
from deepres.predict.exported.bundle import Bundle, from_texts
from deepres.predict.exported.saturation import bits_of_onnx, said

MOST_BYTES = 2**31 - 1
"""Of one ONNX message."""
_WHAT = "onnxruntime"
_WANTED = "an ONNX file that deepres export wrote"
_OWN = ("", "ai.onnx")
"""Domains whose operators every reader has."""


def read(path: Path) -> tuple[Any, bytes, Bundle]:
    """The model, its bytes, what it says of itself.

    Raises:
        InputError: no ONNX, not ours, operators of other domains, weights that lie in other files.
    """
    onnx = need("onnx", f"reading {path}")
    require_small(path, "network in ONNX", MOST_BYTES)
    with reading(path, _WANTED, "copy or export it again"), open_regular(path) as file:
        content = file.read()
        model = onnx.ModelProto()
        model.ParseFromString(content)
    where = str(path)
    bundle = from_texts({each.key: each.value for each in model.metadata_props}, where)
    require_plain(model, where)
    with reading(path, _WANTED, "copy or export it again"):
        onnx.checker.check_model(content)
    return model, content, bundle


@dataclass(frozen=True)
class OnnxSession:
    """Pictures uint8 (N, C, H, W) -> answers float32 (N, K), by onnxruntime on the CPU; `outputs` of any file.

    `note` is what has to be known of its answers on this machine.
    """

    bundle: Bundle
    threads: int
    _run: Any
    _where: str
    note: str | None = None

    def __call__(self, images: Tensor) -> Tensor:
        (answers,) = self.outputs(images)
        if answers.dim() != 2 or tuple(answers.shape) != (len(images), len(self.bundle.names)):
            wanted = (len(images), len(self.bundle.names))
            raise InputError(
                f"{self._where}: answers of shape {tuple(answers.shape)}, wanted {wanted}; export it again"
            )
        if not bool(answers.isfinite().all()):
            raise RunError(f"{self._where}: answers that are not finite; the weights are broken")
        return answers.float()

    def outputs(self, images: Tensor) -> list[Tensor]:
        """All that the file gives."""
        with reading(self._where, "a network that answers these pictures", "export it again"):
            found = self._run.run(None, {IMAGE: images.cpu().contiguous().numpy()})
            return [torch.from_numpy(each) for each in found]

    def __str__(self) -> str:
        return f"{version()}, {self.bundle.precision}"


def session(path: Path, threads: int = 0) -> OnnxSession:
    """The file, ready to be asked; `threads` 0 is what torch uses.

    Raises:
        InputError: as `read`; what onnxruntime refuses.
    """
    model, content, bundle = read(path)
    return replace(session_of(content, bundle, str(path), threads), note=said(bits_of_onnx(model)))


def session_of(content: bytes, bundle: Bundle, where: str, threads: int = 0) -> OnnxSession:
    """The same of bytes that were read, or just made."""
    need("onnxruntime", f"asking {where}")
    count = threads or torch.get_num_threads()
    with reading(where, _WANTED, "copy or export it again"):
        run = on_cpu(content, count)
        names = ([each.name for each in run.get_inputs()], [each.name for each in run.get_outputs()])
        kinds = [each.type for each in run.get_inputs()]
    if names != ([IMAGE], list(bundle.outputs)) or kinds != ["tensor(uint8)"]:
        raise InputError(
            f"{where}: takes {', '.join(names[0])} and gives {', '.join(names[1])}, wanted {IMAGE} in uint8 and "
            f"{', '.join(bundle.outputs)}; export it again"
        )
    return OnnxSession(bundle, count, run, where)


def on_cpu(content: bytes, threads: int) -> Any:
    """A session of onnxruntime on the processor here."""
    runtime = need("onnxruntime", _WHAT)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def version() -> str:
    """`onnxruntime 1.32.0`."""
    return f"onnxruntime {need('onnxruntime', _WHAT).__version__}"


def require_plain(model: Any, where: str) -> None:
    """Refuse what needs more than this file and a reader of ONNX: other domains' operators, weights elsewhere."""
    parts = list(_within(model))
    named = [each for each in parts if each.DESCRIPTOR.name in ("NodeProto", "FunctionProto", "OperatorSetIdProto")]
    strange = {each.domain for each in named} - {*_OWN}
    if strange:
        raise InputError(
            f"{where}: operators of {', '.join(sorted(strange))}, which may run anything; wanted ONNX's own alone"
        )
    tensors = [each for each in parts if each.DESCRIPTOR.name == "TensorProto"]
    outside = next((tensor for tensor in tensors if tensor.data_location or tensor.external_data), None)
    if outside is not None:
        place = next((each.value for each in outside.external_data if each.key == "location"), "another file")
        raise InputError(f"{where}: weights that lie in {place[:80]}, outside of it; wanted one file that has all")


def _within(message: Any) -> Iterator[Any]:
    """The message and all in it, wherever a later version of the format keeps them."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if isinstance(value, Sequence) else [value]:
                yield from _within(each)
