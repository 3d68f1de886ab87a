"""An exported file read back: a predictor whose network is the file, so that whatever asks networks asks files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepres.base.errors import InputError
from deepres.data.transforms.statistics import Statistics
from deepres.export import onnx_file, openvino_folder, torch_program
from deepres.export.bundle import Bundle
from deepres.predict.predictor import Predictor


@dataclass(frozen=True)
class FileDescription:
    """What a file tells of the network in it."""

    name: str
    input: tuple[int, ...]


class Answerer(nn.Module):
    """Pictures in [0, 1] (N, C, H, W), multiples of 1/255 -> what the task's `activated` turns into the file's answers.

    A `Model` (nn/model.py), and what a predictor has that was made fast.
    """

    exact = None
    head_names = ()

    def __init__(self, asked: Callable[[Tensor], Tensor], bundle: Bundle, task: Any) -> None:
        super().__init__()
        self.asked, self.bundle, self.task = asked, bundle, task
        self.description = FileDescription(bundle.network, bundle.shape)
        self.num_classes = len(bundle.names)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K), float64."""
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

    def __str__(self) -> str:
        return str(self.asked)


def asked_by(path: Path) -> Any:
    """What answers by the file or folder at `path`, a session of its format; errors as `load_exported`."""
    if path.suffix == ".pt2":
        return torch_program.read(path)
    if path.suffix == ".xml" or path.is_dir():
        return openvino_folder.read(path)
    return onnx_file.session(path)


def load_exported(path: str | Path, *, settled: bool = True) -> Predictor:
    """A predictor that answers by the file at `path`, on the CPU; not `settled`: as `Predictor.load`.

    Raises:
        InputError: the file is absent, broken, or none that deepres wrote; the extra that reads it is not installed.
    """
    path = Path(path)
    asked: Any = asked_by(path)
    bundle: Bundle = asked.bundle
    task, preparation = bundle.asked(str(path)), bundle.prepared(str(path))
    network = Answerer(asked, bundle, task).eval()
    as_it_is = {"fit": None} if bundle.any_size else {}
    channels = bundle.shape[0]
    return Predictor(
        network=network,
        classes=bundle.names,
        preparation=preparation.replace(normalise="none", channels=channels, **as_it_is),
        statistics=Statistics(
            mean=torch.zeros(channels),
            std=torch.ones(channels),
            eigenvalues=torch.zeros(channels),
            eigenvectors=torch.eye(channels),
            mean_image=None,
            count=0,
        ),
        device=torch.device("cpu"),
        unnamed=bundle.unnamed,
        ready=network,
        task=task if settled else task.unsettled(),
        any_size=bundle.any_size,
    )
