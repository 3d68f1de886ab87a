"""One network that answers: read from its place, made ready, tried; what it is asked and what is told of it."""

import json
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from deepres.analyze.attribution import class_number
from deepres.base.errors import InputError, RunError
from deepres.base.files import digest
from deepres.base.reading import read_json
from deepres.data.decode import decode_bytes
from deepres.data.images import Batch
from deepres.data.transforms.config import Preparation
from deepres.nn.hardware import find_device
from deepres.nn.inference import InferencePrecision
from deepres.nn.weights.folds import fold_folders, holds_folds
from deepres.predict.exported.answerer import Answerer
from deepres.predict.exported.names import is_exported, openvino_files, require_alone
from deepres.predict.maps import mapped, png
from deepres.predict.pictures import Picture, of_file
from deepres.predict.predictor import Predictor
from deepres.serve.batcher import BatchJob
from deepres.serve.refusal import RefusedError
from deepres.tasks.kinds import AnyTask
from deepres.tasks.task import Answer, require

WEIGHTS = "model.safetensors"
SHOWN_PX = 1024
"""The long side, at most, of a picture that a map is drawn on."""


@dataclass(frozen=True, eq=False)
class Served:
    """`predictor`, called `name`, of what lies at `where`; `since` when; `seconds` weights and first answer took."""

    name: str
    where: str
    predictor: Predictor
    sha256: str
    measured: dict[str, Any] | None
    since: datetime
    seconds: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def load(cls, name: str, where: str, device: str | None, precision: InferencePrecision) -> "Served":
        """The network at `where`, ready, after it has answered its own sample images.

        Raises:
            InputError: nothing there that can be asked. RunError: it does not answer.
        """
        began = perf_counter()
        exported = is_exported(where)
        if exported:
            require_alone(where, {"--precision": None if precision == "auto" else precision})
        on = device if exported else find_device(device)
        before = None
        while before != (now := _digest(where)):  # a file that is exchanged meanwhile is read anew
            before = now
            predictor = Predictor.load_folds(where, on) if holds_folds(where) else Predictor.load(where, on)
        loaded = perf_counter()
        if precision != "float32":  # folded norms alone move a probability of ResNet-50 by 1.04e-6, measured
            predictor = predictor.optimized(1, precision=precision, compiled="no")
        found = cls(name, where, predictor, before or _digest_of_tensors(predictor), None, datetime.now(UTC))
        found.try_out()
        ready = perf_counter()
        return replace(found, measured=_measured(where, found.sha256), seconds=(loaded - began, ready - loaded))

    @property
    def exported(self) -> Answerer | None:
        """The file, where it is one that `deepres export` wrote."""
        network = self.predictor.network
        return network if isinstance(network, Answerer) else None

    @property
    def preparation(self) -> Preparation:
        """What is done to a picture, by us or by the exported file itself."""
        file = self.exported
        return self.predictor.preparation if file is None else file.bundle.prepared(self.where)

    @property
    def task(self) -> AnyTask:
        """What it is asked."""
        return self.predictor.task

    @property
    def precision(self) -> str:
        """How it computes, in words."""
        ready = self.predictor.ready
        return f"float32, as predict, on {self.predictor.device}" if ready is None else str(ready)

    def try_out(self) -> None:
        """Have it answer the images that lie beside it, or a grey one.

        Raises:
            RunError: it cannot.
        """
        beside = Path(self.where) / "samples"
        pictures = [of_file(path) for path in sorted(beside.iterdir())] if beside.is_dir() else []
        if not pictures:
            _, height, width = self.predictor.network.description.input
            grey = torch.full((3, height, width), 128, dtype=torch.uint8)
            pictures = [Picture("a grey image", lambda: grey)]
        for picture in pictures:
            read = self.predictor.read(picture)
            if isinstance(read, str):
                raise RunError(f"{self.where}: its own image cannot be asked ({read})")
            told = self.decoded(self.predictor.ask([read])[0], picture.name)
            json.dumps(told.model_dump(mode="json"), allow_nan=False)
        if self.maps:
            pixels = pictures[0].pixels(self.predictor.preparation.channels, self.predictor.preparation.levels)
            self._drawn(pixels, self.predictor.heat(pixels)[2])

    def job(self, data: bytes, name: str) -> BatchJob:
        """A file's picture as a job: what is answered is for `decoded`."""
        return self._job(Picture(name, lambda: data))

    def job_of_pixels(self, pixels: Tensor, name: str) -> BatchJob:
        """The same for pixels, uint8 (3, H, W)."""
        return self._job(Picture(name, lambda: pixels))

    def _job(self, picture: Picture) -> BatchJob:
        def read() -> tuple[Hashable, Tensor | Batch]:
            found = self.predictor.read(picture)
            if isinstance(found, str):
                raise RefusedError(422, found)
            if self.exported is not None and isinstance(found, Tensor):
                self._require_taken(found, picture.name)
            return (found.shape if isinstance(found, Tensor) else object()), found

        return BatchJob(read, self.ask)

    def _require_taken(self, pictures: Tensor, name: str) -> None:
        """Refuse pictures of another size than the exported file takes."""
        height, width = self.predictor.network.description.input[1:]
        given = tuple(pictures.shape[-2:])
        if not self.predictor.any_size and given != (height, width):
            raise RefusedError(422, f"{name}: {given[1]} x {given[0]} px; this file takes {width} x {height} px alone")

    def ask(self, read: list[Tensor | Batch]) -> Sequence[Any]:
        """What the network says of all of them."""
        found = self.predictor.ask(read)
        return [found[number] for number in range(len(read))]

    def decoded(self, outputs: Any, name: str, top_k: int = 5, task: AnyTask | None = None) -> Answer:
        """The answer in the words of its task, or of one that says less of it."""
        answer: Answer = (task or self.task).decode(outputs, self.predictor.classes, name, top_k)
        return answer

    def unread(self, name: str, problem: str) -> Answer:
        """That there is none."""
        answer: Answer = self.task.unread(name, problem)
        return answer

    @property
    def maps(self) -> bool:
        """Whether it can say where in a picture an answer comes from."""
        return "--cam" in self.task.tools and not self.predictor.others and self.exported is None

    def require_maps(self, label: str | None = None) -> None:
        """Refuse maps where there are none, and those of a class that is not there: InputError."""
        require(self.task, "--cam", self.name)
        if self.exported is not None:
            raise InputError(f"{self.name}: an exported file draws no maps; serve the run that it was exported from")
        if self.predictor.others:
            raise InputError(f"{self.name}: a map needs a single network, and here are several; serve one fold")
        if label is not None:
            class_number(label, self.predictor.network.num_classes, self.predictor.classes)

    def map_job(self, data: bytes, name: str, label: str | None) -> BatchJob:
        """Where a class, by default the likeliest, is seen: answered by (class, probability, function to PNG)."""

        def read() -> tuple[Hashable, Tensor]:
            preparation = self.predictor.preparation
            try:
                return object(), decode_bytes(data, name, preparation.channels, levels=preparation.levels)
            except InputError as cause:
                raise RefusedError(422, cause.message) from cause

        def ask(pixels: list[Tensor]) -> list[tuple[str, float, Callable[[], bytes]]]:
            label_found, chance, heat = self.predictor.heat(pixels[0], label)
            return [(label_found, chance, lambda: self._drawn(pixels[0], heat))]

        return BatchJob(read, ask)

    def _drawn(self, pixels: Tensor, heat: Tensor) -> bytes:
        height, width = pixels.shape[-2:]
        if max(height, width) > SHOWN_PX:
            size = [max(1, round(side * SHOWN_PX / max(height, width))) for side in (height, width)]
            pixels = F.interpolate(pixels[None].float(), size=size, mode="area")[0].round().to(torch.uint8)
        return png(mapped(pixels, heat, self.predictor.preparation))

    def facts(self) -> dict[str, Any]:
        """What is told of it: network, task, classes, preparation, weights, what it was measured at."""
        network, task = self.predictor.network.description, self.task
        file = self.exported
        told = () if file is None else (f"exported, compared with its run: {file.bundle.parity}", file.note)
        return {
            "name": self.name,
            "network": network.name,
            "task": _without_places(task.model_dump(mode="json")),
            "form": task.form,
            "classes": list(self.predictor.classes),
            "classes_have_names": not self.predictor.unnamed,
            "preparation": self.preparation.model_dump(mode="json"),
            "precision": self.precision,
            "maps": self.maps,
            "sha256": self.sha256,
            "since": self.since.isoformat(timespec="seconds"),
            "measured": self.measured,
            "note": "; ".join(part for part in (self.predictor.said, task.settled_text(), *told) if part) or None,
        }


def _without_places(value: Any) -> Any:
    """What is told to others names no folder of this machine: of a path that a task holds, its last part."""
    if isinstance(value, dict):
        return {name: _without_places(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_places(each) for each in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def files_of(where: str) -> tuple[Path, ...]:
    """The files that answer: weights, those of all folds, an exported file or folder; none where it goes by a name."""
    path = Path(where)
    with suppress(OSError, ValueError, InputError):
        found = [path / WEIGHTS, *(openvino_files(path) or ())]
        if path.is_file():
            found = [*(openvino_files(path) or (path,))]
        elif holds_folds(where):
            found = [fold / WEIGHTS for fold in fold_folders(where)]
        return tuple(file for file in found if file.is_file())
    return ()


def _digest(where: str) -> str:
    """Of the file, as sha256sum gives it; of several that of their digests in turn; "" where there are none."""
    found = []
    with suppress(OSError):
        found = [digest(file) for file in files_of(where)]
    return found[0] if len(found) == 1 else sha256("".join(found).encode()).hexdigest() if found else ""


def _digest_of_tensors(predictor: Predictor) -> str:
    """Of weights that go by a name: of all tensors in their order."""
    state = sha256()
    for member in predictor.members:
        for tensor in member.network.state_dict().values():
            state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


def _measured(where: str, weights: str) -> dict[str, Any] | None:
    """The figures that the run's summary gives of these very weights: source, split, images, error, …."""
    path = Path(where) / "summary.json"
    try:
        facts = read_json(path, "summary of a run") if path.is_file() else {}
    except InputError:
        return None
    if not isinstance(facts, dict) or facts.get("weights_sha256") != weights or "split" not in facts:
        return None
    names = list(facts)
    kept = ["source", *names[names.index("split") :]]
    return {name: facts[name] for name in kept if name in facts and name != "skipped"}
