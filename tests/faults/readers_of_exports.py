"""Readers of exported files: ONNX, torch programs, OpenVINO's folders, and what lies beside them."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from fuzz import Reader

from deepres.export import facts, openvino_folder, torch_program
from deepres.predict.exported import openvino_network
from deepres.predict.exported import torch_program as programs
from deepres.predict.exported.onnx_session import read, session

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
from small_run import SMALL, noise, small_onnx


def readers_of_exports() -> list[Reader]:
    """Each is asked about pictures, too, where it can be read."""
    return [
        Reader("ONNX", lambda folder: small_onnx(folder / "model.onnx"), lambda file: session(file)(noise(2)), 4),
        Reader("torch program", _program, lambda file: programs.read(file)(noise(2)), 20),
        Reader("OpenVINO's graph", _openvino, lambda file: openvino_network.read(file)(noise(2)), 8),
        Reader("licence of weights", _written("config.json", '{"license": "mit"}'), lambda file: facts._license(file)),
    ]


def _written(name: str, text: str) -> Any:
    def write(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return write


class _Small(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.float().mean((2, 3)).softmax(1)


@cache
def _exported() -> Any:
    example = torch.zeros(2, *SMALL.shape, dtype=torch.uint8)
    found = torch.export.export(_Small(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    return torch_program.bare(found)


def _program(folder: Path) -> Path:
    torch_program.write(folder / "model.pt2", _exported(), SMALL)
    return folder / "model.pt2"


def _openvino(folder: Path) -> Path:
    model, _, _ = read(small_onnx(folder / "model.onnx"))
    return openvino_folder.write(folder, openvino_folder.converted(model), SMALL)
