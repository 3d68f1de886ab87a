"""A file that `deepres export` wrote, in the place of a network: whatever asks networks asks files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepres.base.errors import InputError, RunError
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.predict.exported import onnx_session, openvino_network, torch_program
from deepres.predict.exported.bundle import Bundle
from deepres.predict.exported.names import openvino_files


@dataclass(frozen=True)
class FileDescription:
    """What a file tells of the network in it."""

    name: str
    input: tuple[int, ...]


class Answerer(nn.Module):
    """Pictures in [0, 1] (N, C, H, W), multiples of 1/255 -> what the task's `activated` turns into the file's answers.

    A `Model` (nn/model.py), and what a predictor has that was made fast. Pictures are to be prepared as `preparation`
    and `statistics` say; what the file does itself is left out of them.
    """

    exact = None
    head_names = ()

    def __init__(self, asked: Any, where: str) -> None:
        super().__init__()
        self.asked, self.where = asked, where
        self.bundle: Bundle = asked.bundle
        self.task = self.bundle.asked(where)
        self.description = FileDescription(self.bundle.network, self.bundle.shape)
        self.num_classes = len(self.bundle.names)
        channels, as_it_is = self.bundle.shape[0], {"fit": None} if self.bundle.any_size else {}
        prepared: Preparation = self.bundle.prepared(where)
        self.preparation = prepared.replace(normalise="none", channels=channels, **as_it_is)
        self.statistics = Statistics(
            mean=torch.zeros(channels),
            std=torch.ones(channels),
            eigenvalues=torch.zeros(channels),
            eigenvectors=torch.eye(channels),
            mean_image=None,
            count=0,
        )

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Any:
        """(N, C, H, W) -> (N, K), float64; of a detector's file, `sizes` int64 (N, 2), what is found on each."""
        if self.bundle.finds_boxes:
            from deepres.tasks.detection.detector import own_sizes  # of detectors alone

            own, found = own_sizes(images, sizes), dict[int, Any]()
            for size in dict.fromkeys(own):
                alike = [number for number, one in enumerate(own) if one == size]
                found.update(zip(alike, self._found(images[alike], size), strict=True))
            return [found[number] for number in range(len(own))]
        pixels = (images * 255).round_().to(torch.uint8)
        channels, *side = self.bundle.shape
        wanted = [channels, *(pixels.shape[2:] if self.bundle.any_size else side)]
        if list(pixels.shape[1:]) != wanted:
            given = " x ".join(map(str, pixels.shape[1:]))
            raise InputError(
                f"{self.bundle.network}: pictures of {given}; the file takes {' x '.join(map(str, wanted))}"
            )
        answers: Tensor = self.task.deactivated(self.asked(pixels).double())
        return answers

    def _found(self, images: Tensor, size: tuple[int, int]) -> list[Any]:
        """The boxes on pictures (N, C, H, W) of one size, which lie in the corners of their canvases."""
        from deepres.tasks.detection.regions import Found

        pixels = (images[:, :, : size[0], : size[1]] * 255).round().to(torch.uint8)
        corners, classes, scores, counts = self.asked.outputs(pixels)
        number = len(scores)
        alike = corners.shape == (number, 4) and classes.shape == scores.shape == (number,)
        whole = counts.shape == (len(images),) and bool((counts >= 0).all()) and int(counts.sum()) == number
        if not (alike and whole) or not classes.dtype == counts.dtype == torch.int64:
            raise InputError(f"{self.where}: boxes, labels, scores and counts of other shapes; export it again")
        if not bool(corners.isfinite().all() and ((scores >= 0) & (scores <= 1)).all()):
            raise RunError(f"{self.where}: boxes or scores that are none; the weights are broken")
        if number and not 0 <= int(classes.min()) <= int(classes.max()) < self.num_classes:
            raise InputError(f"{self.where}: labels beyond its {self.num_classes} names; export it again")
        parts = (torch.split(each, counts.tolist()) for each in (corners, classes, scores))
        return [Found(*each) for each in zip(*parts, strict=True)]

    @property
    def note(self) -> str | None:
        """What has to be known of its answers on this machine."""
        told: str | None = self.asked.note
        return told

    def __str__(self) -> str:
        return str(self.asked)


def read_exported(path: Path) -> Answerer:
    """The file or folder at `path`, ready to be asked on the CPU.

    Raises:
        InputError: it is absent, broken, or none that deepres wrote; the extra that reads it is not installed.
    """
    read: Callable[[Path], Any] = onnx_session.session
    if path.suffix == ".pt2":
        read = torch_program.read
    elif openvino_files(path) is not None:
        read = openvino_network.read
    return Answerer(read(path), str(path)).eval()
